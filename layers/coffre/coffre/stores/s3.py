"""Objects in S3, or in a store that speaks its protocol."""

from __future__ import annotations

import base64
import hashlib
from collections.abc import Iterator
from typing import IO, TYPE_CHECKING, Any, Final, Literal, cast

from botocore.exceptions import ClientError

from coffre.model.errors import CoffreError, ObjectMissingError, StoreError, StoreTransientError
from coffre.model.locks import Lock
from coffre.stores.body import Body, pieces_of, size_of
from coffre.stores.checks import check_body, check_range, check_size, digest_of
from coffre.stores.request_counts import Count
from coffre.stores.s3_download import Download
from coffre.stores.s3_errors import Call, bucket_missing, object_exists, translated, was_retried
from coffre.stores.s3_listing import Listing
from coffre.stores.s3_locks import LocksOfBucket, headers_of, state_of
from coffre.stores.s3_put import BodyFile
from coffre.stores.store import MAX_OBJECT_BYTES, ObjectInfo, Store, check_key, check_prefix

if TYPE_CHECKING:
    from mypy_boto3_s3.client import S3Client
    from mypy_boto3_s3.type_defs import HeadObjectOutputTypeDef

Checksum = Literal["sha256", "md5"]

# Uploads whose bytes changed on the way, or that met another one, are sent again this often in all. botocore retries
# neither, because a wrong digest is usually the caller's mistake; ours was computed over these very bytes.
_UPLOAD_ATTEMPTS: Final = 3
_SEND_AGAIN = frozenset({"UPLOAD_CORRUPTED", "STORE_CONFLICT"})

# What a store that does not know `If-None-Match` answers. Some name no header: it may be another one that they refuse.
_MAY_NOT_KNOW_CONDITIONS: Final = frozenset({"STORE_UNSUPPORTED", "CHECKSUM_UNSUPPORTED"})

# Stores that do not keep a SHA-256 of their own keep ours as user metadata.
_METADATA_SHA256: Final = "coffre-sha256"


class S3Store(LocksOfBucket):
    """The objects of one bucket below one prefix.

    Parameters
    ----------
    bucket
        Its name. It exists; this class neither makes nor deletes buckets.
    prefix
        Every key is below it (`backups` or `backups/`) and written without it; empty for the whole bucket.
    client
        From `make_client`.
    checksum
        What the store checks an object with when it arrives. "sha256": S3 also keeps it, and `head` returns it. "md5":
        for stores that refuse the newer checksums (R2, B2, older MinIO); the SHA-256 is kept as user metadata.
    page_size
        Keys asked for in one request of a listing; 1,000 at most.
    lock
        Every `put` locks what it stores.
    held
        Every `put` sets the legal hold of what it stores.
    count
        Counts requests that are sent past `client` (`transfer`).

    Attributes
    ----------
    knows_conditions
        Whether the store is thought to know `If-None-Match`.

    Notes
    -----
    IAM: `put` needs s3:PutObject, `get`, `get_range` and `head` s3:GetObject, `list` s3:ListBucket, `delete`
    s3:DeleteObject; `head` of an object under SSE-KMS also needs kms:Decrypt, because its checksum is encrypted.
    After a lost answer, `put(if_absent=True)` looks whether the object is its own: with s3:GetObject by its SHA-256,
    with s3:ListBucket alone by its size; with neither it reports OBJECT_EXISTS.

    `If-None-Match: *` is known to S3 (2024-08), MinIO, Ceph, R2, Scaleway, OVHcloud and SeaweedFS (2026-11). A store
    that refuses it is asked whether the object exists, and then gets the object without a condition: of two writers
    at the same time both may win there. A store that ignores the header replaces what exists.
    """

    def __init__(
        self,
        bucket: str,
        *,
        prefix: str = "",
        client: S3Client,
        checksum: Checksum = "sha256",
        page_size: int = 1000,
        lock: Lock | None = None,
        held: bool = False,
        count: Count = lambda *_: None,
    ) -> None:
        folder = prefix.removesuffix("/")
        self._prefix = check_key(folder) + "/" if folder else ""
        self.bucket = bucket
        self._client = client
        self.checksum = checksum
        self._page_size = page_size
        self.lock = lock
        self.held = held
        self.count = count
        self.knows_conditions = True

    def put(self, key: str, body: Body, *, sha256: str, if_absent: bool = False) -> None:
        call = self._call("s3:PutObject", check_key(key))
        check_size(key, size_of(body))
        request = {"Bucket": self.bucket, "Key": call.key, **self.fields_of_put(key, body, sha256)}
        if if_absent and self.knows_conditions:
            try:
                return self._send(call, key, body, sha256, {**request, "IfNoneMatch": "*"})
            except StoreError as error:
                if error.code not in _MAY_NOT_KNOW_CONDITIONS:
                    raise
        if if_absent and self._listed(key) is not None:
            raise object_exists(call)
        self._send(call, key, body, sha256, request)
        if if_absent:
            self.knows_conditions = False  # the same request without the condition was right
        return None

    def _send(self, call: Call, key: str, body: Body, sha256: str, request: dict[str, Any]) -> None:
        for attempt in range(1, _UPLOAD_ATTEMPTS + 1):
            try:
                with translated(call):
                    self._client.put_object(Body=cast("IO[bytes]", BodyFile(body)), **request)
                return
            except StoreTransientError as error:
                if error.code not in _SEND_AGAIN or attempt == _UPLOAD_ATTEMPTS:
                    raise
            except StoreError as error:
                sent_before = attempt > 1 or was_retried(error)
                if error.code == "OBJECT_EXISTS" and sent_before and self._holds(key, size_of(body), sha256):
                    return
                raise

    def get(self, key: str, *, limit_bytes: int = MAX_OBJECT_BYTES) -> bytes:
        call = self._call("s3:GetObject", check_key(key))
        return Download(self._client, call, limit_bytes=limit_bytes).read()

    def get_range(self, key: str, offset: int, length: int) -> bytes:
        check_range(offset, length)
        call = self._call("s3:GetObject", check_key(key))
        return Download(self._client, call, offset=offset, length=length).read()

    def head(self, key: str) -> ObjectInfo:
        call = self._call("s3:GetObject", check_key(key))
        request: dict[str, Any] = {"Bucket": self.bucket, "Key": call.key}
        if self.checksum == "sha256":
            request["ChecksumMode"] = "ENABLED"
        try:
            with translated(call):
                answer = self._client.head_object(**request)
        except ObjectMissingError:
            self._require_bucket(call)
            raise
        return ObjectInfo(
            key=key,
            size=answer["ContentLength"],
            sha256=_sha256_of(answer),
            etag=answer["ETag"].strip('"') if "ETag" in answer else None,
            last_modified=answer.get("LastModified"),
            locked=state_of(answer),
        )

    def list(self, prefix: str = "") -> Iterator[ObjectInfo]:
        call = self._call("s3:ListBucket", check_prefix(prefix))
        return Listing(self._client, call, base=self._prefix, page_size=self._page_size).in_order()

    def delete(self, key: str) -> None:
        call = self._call("s3:DeleteObject", check_key(key))
        with translated(call):
            self._client.delete_object(Bucket=self.bucket, Key=call.key)

    def with_lock(self, lock: Lock | None, *, held: bool = False) -> Store:
        return S3Store(
            self.bucket,
            prefix=self._prefix,
            client=self._client,
            checksum=self.checksum,
            page_size=self._page_size,
            lock=lock,
            held=held,
            count=self.count,
        )

    @property
    def client(self) -> S3Client:
        """What requests are sent with."""
        return self._client

    def full_key(self, key: str) -> str:
        """Return a key as the bucket has it."""
        return self._prefix + check_key(key)

    def fields_of_put(self, key: str, body: Body, sha256: str) -> dict[str, Any]:
        """Return the fields of a `put_object`, besides the place and the body, that check an object and lock it."""
        locked = headers_of(self.lock, held=self.held)
        digest = digest_of(sha256)
        if self.checksum == "sha256":
            # The algorithm's name is redundant for S3 itself, but some emulators keep the checksum only with it.
            return {"ChecksumAlgorithm": "SHA256", "ChecksumSHA256": _base64(digest), **locked}
        check_body(key, body, sha256)
        md5 = hashlib.md5(usedforsecurity=False)
        for piece in pieces_of(body):
            md5.update(piece)
        return {"ContentMD5": _base64(md5.digest()), "Metadata": {_METADATA_SHA256: sha256}, **locked}

    def _call(self, action: str, key: str) -> Call:
        return Call(action, self.bucket, self._prefix + key, self._client.meta.endpoint_url)

    def _holds(self, key: str, size: int, sha256: str) -> bool:
        """Return whether an object is the one that was sent, as far as these credentials let one see it."""
        try:
            found = self.head(key)
            return (found.size, found.sha256) == (size, sha256)
        except CoffreError as error:
            if error.code != "STORE_DENIED":
                return False
        try:  # a writer that may not read: nothing else makes up its keys, so that the size is enough
            listed = self._listed(key)
        except CoffreError:
            return False
        return listed is not None and listed.size == size

    def _listed(self, key: str) -> ObjectInfo | None:
        """Return what a listing says about one object. It comes first: every other key with this start is longer."""
        first = next(self.list(key), None)
        return first if first is not None and first.key == key else None

    def _require_bucket(self, call: Call) -> None:
        """Distinguish a missing bucket from a missing object: the answer to HEAD has no body with a code."""
        try:
            self._client.head_bucket(Bucket=self.bucket)
        except ClientError as error:
            if error.response["ResponseMetadata"]["HTTPStatusCode"] == 404:
                raise bucket_missing(call) from error


def _base64(digest: bytes) -> str:
    return base64.b64encode(digest).decode()


def _sha256_of(answer: HeadObjectOutputTypeDef) -> str | None:
    """Return the SHA-256 of the whole object; a composite of parts (`...-3`) is none."""
    kept = answer.get("ChecksumSHA256", "")
    if kept and "-" not in kept:
        return base64.b64decode(kept).hex()
    return answer.get("Metadata", {}).get(_METADATA_SHA256)
