"""The copies of the vault, as functions open them."""

from __future__ import annotations

from coffre.model.copies import Destination
from coffre.model.errors import CopyError
from coffre.runtime.bootstrap import Services
from coffre.runtime.copy_destinations import Opening, open_destination
from coffre.stores.request_counts import is_aws
from coffre.stores.s3 import S3Store
from coffre.vault.layout import MANIFEST
from coffre.vault.vault import Vault


def open_copy(services: Services, destination: Destination) -> Vault:
    """Return the vault in a destination, opened with this function's clients; raises what `open_destination` raises.

    Raises
    ------
    CopyError
        `COPY_IS_VAULT`: its rotation would delete what the vault keeps, and nothing would be in two places.
    """
    opening = Opening(tally=services.metering.tally, session=services.session)
    days = services.settings.vault_lock_max_days
    opened = open_destination(destination, services.secret, opening, lock_max_days=days)
    if _is_same_place(opened.store, services.vault.store):
        raise CopyError(
            f"The copy {destination.name} is the vault itself: it has the same bucket and prefix.",
            code="COPY_IS_VAULT",
            hint="Nothing was copied or deleted. Give the copy another bucket or prefix, or remove it: "
            "coffre config edit",
        )
    return opened


def _is_same_place(one: object, other: object) -> bool:
    if not (isinstance(one, S3Store) and isinstance(other, S3Store)):
        return False
    addresses = {store.client.meta.endpoint_url for store in (one, other)}
    is_same_service = len(addresses) == 1 or all(map(is_aws, addresses))  # names of buckets are unique in AWS
    return is_same_service and one.bucket == other.bucket and one.full_key(MANIFEST) == other.full_key(MANIFEST)
