"""How Google Cloud Storage and Azure Blob Storage are reached, and how each states what has arrived."""

from __future__ import annotations

import base64
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import timedelta
from typing import TYPE_CHECKING, Any, Final
from urllib.parse import quote, urlsplit

import obstore
import urllib3
from obstore.exceptions import BaseError
from obstore.store import AzureStore, GCSStore

from coffre.model.errors import StoreError
from coffre.stores.cloud import Cloud
from coffre.stores.s3_client import RetryLimits

if TYPE_CHECKING:
    from obstore.store import AzureConfig, ClientConfig, GCSConfig, RetryConfig

_LIMITS: Final = RetryLimits()
# One request: 64 MiB at 0.25 MB/s, the slowest line that a function's 15 minutes are of use for.
_REQUEST_SECONDS: Final = 270

_CONNECTIONS: Final = 16

_GOOGLE: Final = {
    "write": "storage.objects.create (to replace: storage.objects.delete)",
    "read": "storage.objects.get",
    "list": "storage.objects.list",
    "delete": "storage.objects.delete",
}
_AZURE: Final = {"write": "Write", "read": "Read", "list": "List", "delete": "Delete"}


@dataclass(frozen=True, slots=True)
class AzureKey:
    """What opens a storage account: its key, or a SAS token (without the question mark); exactly one of them."""

    account_key: str | None = field(default=None, repr=False)
    sas_token: str | None = field(default=None, repr=False)


def google_cloud(
    bucket: str, *, key: str | None = None, endpoint: str | None = None, limits: RetryLimits = _LIMITS
) -> Cloud:
    """Return a bucket of Google Cloud Storage. No request is sent yet.

    Parameters
    ----------
    key
        The JSON key of a service account; None: the credentials that the environment has (application default).
    endpoint
        Of an emulator; None: Google's own.

    Raises
    ------
    StoreError
        `STORE_CREDENTIALS`: the key, or the environment's, cannot be used. It is not repeated.
    """
    config: GCSConfig = {"service_account_key": key} if key else {}
    if endpoint:
        config["base_url"] = endpoint
    try:
        client = GCSStore(bucket, config=config, **client_options(endpoint, limits))
    except BaseError as error:
        raise _unusable(f"gs://{bucket}", error) from None
    where = urlsplit(endpoint).netloc if endpoint else "Google Cloud Storage"
    return Cloud(client, f"gs://{bucket}", where, _GOOGLE, _google_confirms)


def azure_cloud(
    account: str,
    container: str,
    *,
    key: AzureKey | None = None,
    endpoint: str | None = None,
    limits: RetryLimits = _LIMITS,
) -> Cloud:
    """Return a container of Azure Blob Storage. No request is sent yet; raises what `google_cloud` raises.

    Parameters
    ----------
    key
        None: the credentials that the environment has (AZURE_STORAGE_ACCOUNT_KEY, AZURE_STORAGE_SAS_KEY, ...).
    endpoint
        Of an emulator, with the account in its path; None: Azure's own.
    """
    config: AzureConfig = {"account_name": account}
    if key is not None and key.account_key:
        config["account_key"] = key.account_key
    if key is not None and key.sas_token:
        config["sas_key"] = key.sas_token
    if endpoint:
        config["endpoint"] = endpoint
    root = f"azure://{account}/{container}"
    try:
        client = AzureStore(container, config=config, **client_options(endpoint, limits))
    except BaseError as error:
        raise _unusable(root, error) from None
    address = endpoint or f"https://{account}.blob.core.windows.net"
    sas = key.sas_token if key is not None else None
    return Cloud(
        client, root, urlsplit(address).netloc, _AZURE, _AzureConfirms(client, f"{address}/{container}", sas, limits)
    )


def client_options(endpoint: str | None, limits: RetryLimits) -> Mapping[str, Any]:
    """Return how an obstore client waits and tries again; `endpoint` None: the provider's own."""
    client: ClientConfig = {
        "allow_http": bool(endpoint and endpoint.startswith("http://")),
        "connect_timeout": timedelta(seconds=limits.connect_seconds),
        "timeout": timedelta(seconds=min(_REQUEST_SECONDS, limits.read_seconds * 4.5)),
    }
    retry: RetryConfig = {"max_retries": limits.attempts - 1, "retry_timeout": timedelta(seconds=_REQUEST_SECONDS)}
    return {"client_options": client, "retry_config": retry}


def _unusable(root: str, error: BaseError) -> StoreError:
    # What obstore says of a key can quote it: only the kind of error is passed on.
    return StoreError(
        f"The credentials for {root} cannot be used: they are malformed.",
        code="STORE_CREDENTIALS",
        detail=type(error).__name__,
        hint="Check the secret, or the variables that the provider's tools read (docs/destinations.md).",
    )


def _google_confirms(_: str, etag: str, md5: bytes) -> bool | None:
    """Compare the ETag, which is the MD5 of an object that was uploaded in one piece.

    Notes
    -----
    https://cloud.google.com/storage/docs/hashes-etags (2026-11). With an encryption key of one's own the ETag is
    something else: that another value comes says nothing.
    """
    return True if etag.strip('"') == md5.hex() else None


@dataclass(frozen=True, slots=True)
class _AzureConfirms:
    """The property Content-MD5 that Azure computes over each blob that is put in one piece.

    obstore does not pass it on: the blob is asked for it once more, with the key's signature or the SAS token.
    """

    client: AzureStore
    container: str
    sas_token: str | None = field(repr=False)
    limits: RetryLimits
    pool: urllib3.PoolManager = field(default_factory=lambda: urllib3.PoolManager(1, maxsize=_CONNECTIONS))

    def __call__(self, key: str, etag: str, md5: bytes) -> bool | None:
        try:
            url = self._signed(key)
            answer = self.pool.request(
                "HEAD",
                url,
                headers={"If-Match": etag, "x-ms-version": "2023-11-03"},
                timeout=urllib3.Timeout(connect=self.limits.connect_seconds, read=self.limits.read_seconds),
                retries=False,
            )
        except (BaseError, urllib3.exceptions.HTTPError):
            return None
        stated = answer.headers.get("Content-MD5")
        return base64.b64decode(stated) == md5 if answer.status == 200 and stated else None

    def _signed(self, key: str) -> str:
        if self.sas_token:
            return f"{self.container}/{quote(key)}?{self.sas_token}"
        return obstore.sign(self.client, "GET", key, timedelta(minutes=5))  # HEAD is signed for no permission at all
