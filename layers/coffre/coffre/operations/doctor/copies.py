"""What can be seen of the copies: each is opened and listed, and (by the function that copies) written to."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import replace
from datetime import datetime
from typing import Final

from coffre.model.copies import Destination, DirectoryDestination, S3Destination
from coffre.model.errors import CoffreError
from coffre.operations.doctor.aws_calls import ask
from coffre.operations.doctor.vault_access import attempt, trouble, try_writing
from coffre.operations.doctor.vault_settings import versioning_of
from coffre.policy.checks.answers import Answer, Refused
from coffre.policy.checks.copies_facts import CopiesFacts, CopyPlace
from coffre.stores.request_counts import is_aws
from coffre.stores.s3 import S3Store
from coffre.vault.layout import BACKUPS
from coffre.vault.vault import Vault

# What S3 says of the caller's own credentials, where the destination has no secret.
_OF_THE_CALLER: Final = frozenset({"STORE_DENIED", "STORE_CREDENTIALS", "CREDENTIALS_EXPIRED"})


def read_copies(
    destinations: Iterable[Destination],
    open_copy: Callable[[Destination], Vault],
    *,
    vault_bucket: str,
    vault_region: str | None,
) -> CopiesFacts:
    """Return what can be seen of each destination.

    Parameters
    ----------
    open_copy
        Returns the vault in a destination.
    """
    first: dict[str, str] = {}
    found = []
    for one in destinations:
        twin = first.setdefault(one.place, one.name)
        place = _place(one, open_copy, _near(one, vault_bucket, vault_region))
        found.append(replace(place, twin=twin if twin != one.name else None))
    return CopiesFacts(tuple(found))


def try_copies(
    destinations: Iterable[Destination],
    open_copy: Callable[[Destination], Vault],
    newest: Callable[[Destination], str | None],
    now: datetime,
    *,
    probe: bool,
) -> tuple[CopyPlace, ...]:
    """Return what the function that copies can do with each destination: no other role would do better.

    Parameters
    ----------
    newest
        Returns the key of a manifest that is complete there, if any is.
    probe
        Store a pack of a few bytes where no manifest can be sent again. Rotation sweeps it.
    """
    found = []
    for one in destinations:
        place = _place(one, open_copy, None)
        if place.trouble is None and one.copied_by == "coffre":
            _, written, _ = try_writing(open_copy(one), newest(one), now, probe=probe)
            place = replace(place, written=written)
        found.append(replace(place, is_certain=True, locks=None, versioning=None))
    return tuple(found)


def as_tried(facts: CopiesFacts, tried: Iterable[CopyPlace]) -> CopiesFacts:
    """Return the facts with what the function found of the places that it can reach.

    The command's own look stays for locks and versioning, and for what is near the vault.
    """
    known = {place.name: place for place in tried}
    return CopiesFacts(
        tuple(
            replace(
                known[place.name],
                locks=place.locks,
                near=place.near,
                twin=place.twin,
                bucket=place.bucket,
                versioning=place.versioning,
            )
            if place.name in known
            else place
            for place in facts.places
        )
    )


def _place(destination: Destination, open_copy: Callable[[Destination], Vault], near: str | None) -> CopyPlace:
    try:
        vault = open_copy(destination)
        next(vault.store.list(BACKUPS), None)
    except CoffreError as error:
        found = trouble(error)
        # The function may reach what this look does not: then the check has to know that it was not asked.
        unknown = Refused("s3:ListBucket", str(found)) if _bucket(destination) else None
        certain = _is_certain(destination, error.code)
        return CopyPlace(destination.name, found, certain, near=near, bucket=_bucket(destination), versioning=unknown)
    locks = None if vault.locks is None else attempt(vault.locks.store.require_locking)
    asked = _versioning(vault)
    return CopyPlace(destination.name, locks=locks, near=near, bucket=_bucket(destination), versioning=asked)


def _bucket(destination: Destination) -> str | None:
    place = destination.store
    return place.bucket if isinstance(place, S3Destination) and place.endpoint is None else None


def _versioning(vault: Vault) -> Answer[str] | None:
    store = vault.store
    if not isinstance(store, S3Store) or not is_aws(store.client.meta.endpoint_url):
        return None
    return ask("s3:GetBucketVersioning", lambda: versioning_of(store.client, store.bucket))


def _is_certain(destination: Destination, code: str) -> bool:
    """Return whether the function would meet the same trouble: it has another role, and other file systems."""
    place = destination.store
    if isinstance(place, DirectoryDestination) or code == "SECRET_DENIED":
        return False
    return place.secret is not None or code not in _OF_THE_CALLER


def _near(destination: Destination, bucket: str, region: str | None) -> str | None:
    place = destination.store
    if not isinstance(place, S3Destination) or place.endpoint is not None:
        return None
    if place.bucket == bucket:
        return "the same bucket"
    return "the same region" if place.region in (None, region) else None
