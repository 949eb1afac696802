"""Opens a vault in any store: a destination by its secret, an address by the keys that the environment has."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

from coffre.buckets.client import ANY_REGION, make_bucket_client, parse_credentials, region_of
from coffre.model.addresses import VaultAddress
from coffre.model.bucket_target import ObjectStore
from coffre.model.copies import (
    AzureDestination,
    Destination,
    DirectoryDestination,
    GcsDestination,
    S3Destination,
)
from coffre.model.errors import SecretError, StoreError
from coffre.model.locks import LockMode
from coffre.runtime.copy_destination_secrets import parse_azure_secret, parse_google_key
from coffre.stores.directory import DirectoryStore
from coffre.stores.locking import locking
from coffre.stores.request_counts import Tally
from coffre.stores.s3 import S3Store
from coffre.stores.store import Store
from coffre.vault.locks import VaultLocks
from coffre.vault.vault import Vault

if TYPE_CHECKING:
    import botocore.session
    from mypy_boto3_s3.client import S3Client

# As the template's parameter ObjectLockMaxDays.
LOCK_MAX_DAYS: Final = 400


@dataclass(frozen=True)
class Opening:
    """How stores are opened, whatever they are.

    Parameters
    ----------
    connections
        Kept open to the store: as many as threads use it.
    tally
        Counts the requests, as those to a user's buckets; None: they are not counted.
    session
        Shared with other clients of AWS.
    """

    connections: int = 16
    tally: Tally | None = None
    session: botocore.session.Session | None = None


_ALONE: Final = Opening()


def open_destination(
    destination: Destination,
    secret: Callable[[str], str],
    opening: Opening = _ALONE,
    *,
    lock_max_days: int = LOCK_MAX_DAYS,
) -> Vault:
    """Return the vault in a destination. No request is sent to it yet.

    Parameters
    ----------
    secret
        Returns a secret's text by its name.
    lock_max_days
        The longest lock that may be asked for, where the destination has locks.

    Raises
    ------
    SecretError
        `SECRET_SHAPE`, naming the secret and what is wrong with it; and what `secret` raises.
    """
    store = _store_of(destination, secret, opening)
    if destination.object_lock == "off":
        return Vault(store)
    return Vault(store, VaultLocks(locking(store), LockMode(destination.object_lock), lock_max_days))


def _store_of(destination: Destination, secret: Callable[[str], str], opening: Opening) -> Store:
    match destination.store:
        case DirectoryDestination(path=path):
            return DirectoryStore(path)
        case S3Destination(secret=name) as place:
            credentials = parse_credentials(secret(name), where=name) if name is not None else None
            client = make_bucket_client(place, credentials, session=opening.session, connections=opening.connections)
            return S3Store(
                place.bucket, prefix=place.prefix, client=client, checksum=place.checksum, **_counted(client, opening)
            )
        case GcsDestination() as google:
            return _google(google, secret(google.secret), opening)
        case AzureDestination() as azure:
            return _azure(azure, secret(azure.secret), opening)


def _counted(client: S3Client, opening: Opening) -> Mapping[str, Any]:
    """Count what is sent with a client, and return how a store counts what is sent past it."""
    if opening.tally is None:
        return {}
    opening.tally.watch(client, "source")
    return {"count": opening.tally.counter(client, "source")}


def _google(place: GcsDestination, secret: str, opening: Opening) -> Store:
    # obstore costs the start of a process memory: only what opens such a store imports it.
    from coffre.stores.cloud import CloudStore
    from coffre.stores.cloud_clients import google_cloud

    key = parse_google_key(secret, where=place.secret)
    with _named(place.secret):
        cloud = google_cloud(place.bucket, key=key, endpoint=place.endpoint)
    return CloudStore(cloud, prefix=place.prefix, tally=opening.tally)


def _azure(place: AzureDestination, secret: str, opening: Opening) -> Store:
    from coffre.stores.cloud import CloudStore
    from coffre.stores.cloud_clients import AzureKey, azure_cloud

    given = parse_azure_secret(secret, where=place.secret)
    key = AzureKey(given.account_key, given.sas_token)
    with _named(place.secret):
        cloud = azure_cloud(place.account, place.container, key=key, endpoint=place.endpoint)
    return CloudStore(cloud, prefix=place.prefix, tally=opening.tally)


@contextmanager
def _named(name: str) -> Iterator[None]:
    """Name the secret whose key the library refuses."""
    try:
        yield
    except StoreError as error:
        raise SecretError(
            f"The secret {name} holds a key that cannot be used.", code="SECRET_SHAPE", hint=error.hint
        ) from None


def open_address(
    address: VaultAddress, opening: Opening = _ALONE, *, endpoint_url: str | None = None, region: str | None = None
) -> Store:
    """Return the store at an address, with the credentials that the environment has. No request is sent to it yet.

    Parameters
    ----------
    endpoint_url
        The address of a store that is not the provider's own: an emulator, or with `s3://` any store that speaks S3.
    region
        Where the bucket is, if that is known; None: the endpoint's region, or the environment's.
    """
    if address.type == "directory":
        return DirectoryStore(address.place)
    if address.type != "s3":
        return _open_cloud(address, opening, endpoint_url)
    place = ObjectStore.model_construct(endpoint=endpoint_url, region=region or _own_region(endpoint_url))
    client = make_bucket_client(place, None, session=opening.session, connections=opening.connections)
    return S3Store(address.place, prefix=address.prefix, client=client, **_counted(client, opening))


def _open_cloud(address: VaultAddress, opening: Opening, endpoint_url: str | None) -> Store:
    from coffre.stores.cloud import CloudStore
    from coffre.stores.cloud_clients import azure_cloud, google_cloud

    if address.account is None:
        cloud = google_cloud(address.place, endpoint=endpoint_url)
    else:
        cloud = azure_cloud(address.account, address.place, endpoint=endpoint_url)
    return CloudStore(cloud, prefix=address.prefix, tally=opening.tally)


def _own_region(endpoint_url: str | None) -> str | None:
    """Return the region to sign for: the one in the store's address, else the environment's."""
    own = os.environ.get("AWS_REGION") or os.environ.get("AWS_DEFAULT_REGION")
    if endpoint_url is None:
        return own
    known = region_of(ObjectStore.model_construct(endpoint=endpoint_url))
    return own if own is not None and known == ANY_REGION else known
