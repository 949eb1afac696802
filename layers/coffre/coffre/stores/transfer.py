"""Whole objects from one store into another, with little of the interpreter's time for each.

botocore takes 4 ms of it for an object that is read and written, obstore 0.6 (benchmarks/copy.py): a copy of many small
packs is bound by that. Where AWS has both ends, S3 copies by itself.

These ways are short cuts: where one of them fails, the stores do it their own way, which repeats, and explains.
"""

from __future__ import annotations

import base64
import hashlib
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any, Final, cast
from urllib.parse import urlsplit

from botocore.exceptions import BotoCoreError, ClientError

from coffre.model.errors import CoffreError
from coffre.stores.body import Body
from coffre.stores.s3 import RetryLimits, S3Store
from coffre.stores.s3_locks import headers_of
from coffre.stores.store import Store, put_new
from coffre.stores.tally import is_aws

if TYPE_CHECKING:
    from mypy_boto3_s3.client import S3Client
    from obstore import Bytes
    from obstore.store import S3Config
    from obstore.store import S3Store as FastStore

# Few: what fails on a short cut is tried again by the store itself.
_LIMITS: Final = RetryLimits(attempts=2)
_WORTH_A_SHORT_CUT: Final = 8
# Below this, what the interpreter does for a request counts more than bytes: reading and writing by obstore costs less
# than the two requests of a server's copy by botocore. Above it, obstore would hash what is hashed already.
_SMALL_BYTES: Final = 1024 * 1024
_ASK_FOR_KEY_AFTER: Final = timedelta(minutes=5)


class Transfer:
    """Moves objects that are written once between two stores, under the same keys. Safe to use from several threads.

    Parameters
    ----------
    objects
        How many there are about: opening a short cut takes as long as moving some.
    """

    def __init__(self, source: Store, destination: Store, *, objects: int) -> None:
        self._source = source
        self._destination = destination
        self._server = _ServerCopy.between(source, destination)
        are_many = objects >= _WORTH_A_SHORT_CUT
        self._reads = _ShortCut.to(source) if are_many else None
        self._writes = _ShortCut.to(destination) if are_many and _takes_plain_objects(destination) else None

    def move(self, key: str, *, size: int, sha256: str) -> bool:
        """Copy an object whose size and SHA-256 are known. One that exists with these bytes is fine.

        Returns
        -------
        bool
            False: the source has other bytes. Nothing was written.

        Raises
        ------
        CoffreError
            What `Store.get` and `put_new` raise.
        """
        if self._server is not None and self._server.copy(key, size, sha256):
            return True
        body: bytes | Bytes | None = self._reads.get(key) if self._reads is not None else None
        if body is None:
            body = self._source.get(key)
        if len(body) != size or hashlib.sha256(body).hexdigest() != sha256:
            return False
        if self._writes is None or size >= _SMALL_BYTES or not self._writes.put(key, body):
            # As a view: what obstore has read is not copied.
            put_new(self._destination, key, cast("Body", (memoryview(body),)), sha256)
        return True


@dataclass
class _ServerCopy:
    """Copies within AWS: S3 reads the object and compares its checksum, and no byte of it comes here.

    Notes
    -----
    Facts (Amazon S3 API, CopyObject, read 2026-11): `x-amz-copy-source-if-match` and, at the destination,
    `If-None-Match: *` are conditions of one request; the copy has the checksum of the source. S3 wrote that one when
    the object arrived, and checks what it has stored against it. Other stores that speak S3 copy the header without
    looking at the bytes: there each object is read and hashed here.
    """

    source: S3Store
    destination: S3Store
    works: bool = True

    @classmethod
    def between(cls, source: Store, destination: Store) -> _ServerCopy | None:
        """Return the way between two buckets of AWS that keep a SHA-256; None: there is none."""
        ends = (source, destination)
        if all(
            isinstance(end, S3Store) and end.checksum == "sha256" and is_aws(end.client.meta.endpoint_url)
            for end in ends
        ):
            return cls(source, destination)  # type: ignore[arg-type]  # both are, as `all` has found
        return None

    def copy(self, key: str, size: int, sha256: str) -> bool:
        """Copy an object. False: it is small, not the expected one, exists, or may not be copied: not done here."""
        if not self.works or size < _SMALL_BYTES:
            return False
        try:
            found = self.source.head(key)
            if (found.size, found.sha256) != (size, sha256) or found.etag is None:
                return False
            answer = self.destination.client.copy_object(
                Bucket=self.destination.bucket,
                Key=self.destination.full_key(key),
                CopySource={"Bucket": self.source.bucket, "Key": self.source.full_key(key)},
                CopySourceIfMatch=f'"{found.etag}"',
                IfNoneMatch="*",
                ChecksumAlgorithm="SHA256",
                **headers_of(self.destination.lock),
            )
        except ClientError as error:
            self.works = error.response["ResponseMetadata"]["HTTPStatusCode"] == 412
            return False
        except (BotoCoreError, CoffreError):
            self.works = False
            return False
        kept = answer["CopyObjectResult"].get("ChecksumSHA256")
        return base64.b64decode(kept).hex() == sha256 if kept else self._has(key, sha256)

    def _has(self, key: str, sha256: str) -> bool:
        """Ask for the checksum of a copy whose answer did not have it."""
        try:
            return self.destination.head(key).sha256 == sha256
        except CoffreError:
            return False


@dataclass
class _ShortCut:
    """Reads and writes whole objects of a bucket by obstore, until it fails where it should not."""

    store: S3Store
    fast: FastStore
    works: bool = field(default=True)

    @classmethod
    def to(cls, store: Store) -> _ShortCut | None:
        """Return the short cut to a bucket; None: only the store itself reaches it."""
        if not isinstance(store, S3Store):
            return None
        fast = _opened(store)
        return cls(store, fast) if fast is not None else None

    def get(self, key: str) -> Bytes | None:
        """Return an object; None: ask the store itself."""
        import obstore

        if not self.works:
            return None
        try:
            body = obstore.get(self.fast, self.store.full_key(key)).bytes()
        except FileNotFoundError:
            return None
        except obstore.exceptions.BaseError:
            self.works = False
            return None
        self.store.count("GetObject", 0, len(body))
        return body

    def put(self, key: str, body: bytes | Bytes) -> bool:
        """Write an object where none is, with its SHA-256; False: leave it to the store itself."""
        import obstore

        if not self.works:
            return False
        self.store.count("PutObject", len(body), 0)
        try:
            obstore.put(self.fast, self.store.full_key(key), body, mode="create", use_multipart=False)
        except obstore.exceptions.AlreadyExistsError:
            return False
        except obstore.exceptions.BaseError:
            self.works = False
            return False
        return True


def _takes_plain_objects(store: Store) -> bool:
    """Return whether objects need no more than a SHA-256: no lock, and no digest in their metadata."""
    return isinstance(store, S3Store) and store.lock is None and store.checksum == "sha256"


def _opened(store: S3Store) -> FastStore | None:
    # It costs the start of a process memory: only what moves objects imports it.
    from obstore.store import S3Store as FastStore

    from coffre.stores.cloud_clients import client_options

    client = store.client
    address, region = urlsplit(client.meta.endpoint_url), client.meta.region_name
    options: Any = client.meta.config  # its types do not know `s3`
    style = (options.s3 or {}).get("addressing_style", "auto")
    config: S3Config = {"region": region, "checksum_algorithm": "SHA256"}
    if not is_aws(client.meta.endpoint_url):
        if style == "virtual":
            return None
        config["endpoint"] = client.meta.endpoint_url
    elif address.hostname not in (f"s3.{region}.amazonaws.com", "s3.amazonaws.com"):
        return None  # of FIPS, of a VPC, of another partition: botocore knows them
    else:
        config["virtual_hosted_style_request"] = "." not in store.bucket
    waits = client_options(config.get("endpoint"), _LIMITS)
    return FastStore(store.bucket, config=config, credential_provider=_keys_of(client), **waits)


def _keys_of(client: S3Client) -> Any:
    signer = client._request_signer  # type: ignore[attr-defined]  # no public way leads to what a client signs with

    def current() -> dict[str, Any]:
        key = signer._credentials.get_frozen_credentials()
        return {
            "access_key_id": key.access_key,
            "secret_access_key": key.secret_key,
            "token": key.token,
            "expires_at": datetime.now(UTC) + _ASK_FOR_KEY_AFTER,
        }

    return current
