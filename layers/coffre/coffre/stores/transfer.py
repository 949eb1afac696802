"""Whole objects from one store into another, with little of the interpreter's time for each.

botocore takes 4 ms of it for an object that is read and written, `S3Wire` 0.7 (benchmarks/copy.py): a copy of many
small packs is bound by that. A large object is written while it is read. Where AWS has both ends, S3 copies by itself.

These ways are short cuts: where one of them fails, the stores do it their own way, which repeats, and explains.
"""

from __future__ import annotations

import base64
import hashlib
import os
import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Any, Final

from botocore.exceptions import BotoCoreError, ClientError
from botocore.httpsession import where
from urllib3.exceptions import HTTPError

from coffre.concurrency.memory_budget import MemoryBudget
from coffre.model.errors import CoffreError
from coffre.stores.body import Flow
from coffre.stores.request_counts import is_aws
from coffre.stores.s3 import S3Store
from coffre.stores.s3_client import S3Credentials
from coffre.stores.s3_errors import Call
from coffre.stores.s3_exchange import Answer
from coffre.stores.s3_locks import headers_of
from coffre.stores.s3_put import headers_of_fields
from coffre.stores.s3_wire import Endpoint, S3Wire
from coffre.stores.store import MAX_OBJECT_BYTES, Store, put_new

# Few: what fails on a short cut is tried again by the store itself.
_ATTEMPTS: Final = 2
_WORTH_A_SHORT_CUT: Final = 8
_SAYS_NOTHING_OF_THE_NEXT: Final = frozenset(
    {
        "OBJECT_EXISTS",
        "OBJECT_MISSING",
        "STORE_CONFLICT",
        "STORE_THROTTLED",
        "STORE_UNAVAILABLE",
        "UPLOAD_CORRUPTED",
    }
)
# Below this, what the interpreter does for a request counts more than bytes: reading and writing costs less than the
# two requests of a server's copy by botocore.
_SMALL_BYTES: Final = 1024 * 1024
# Of objects that are held whole: small ones, and those that are not read while they are written.
_MEMORY_BYTES: Final = 96 * 1024 * 1024


class _DiffersError(Exception):
    """The source has other bytes than it should have."""


class _BrokenError(Exception):
    """The source could not be read to its end."""


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
        self._memory = MemoryBudget(_MEMORY_BYTES)
        self._server = _ServerCopy.between(source, destination)
        are_many = objects >= _WORTH_A_SHORT_CUT
        self._reads = _ShortCut.to(source) if are_many else None
        self._writes = _ShortCut.to(destination) if are_many else None

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
        if self._reads is not None and self._writes is not None and size >= _SMALL_BYTES:
            done = self._writes.put_from(self._reads, key, size, sha256)
            if done is not None:
                return done
        taken = self._memory.take(size)
        try:
            return self._move_whole(key, size, sha256)
        finally:
            self._memory.give_back(taken)

    def _move_whole(self, key: str, size: int, sha256: str) -> bool:
        body = self._reads.get(key) if self._reads is not None else None
        if body is None:
            body = self._source.get(key)
        if len(body) != size or hashlib.sha256(body).hexdigest() != sha256:
            return False
        if self._writes is None or not self._writes.put(key, body, sha256):
            put_new(self._destination, key, body, sha256)
        return True

    def close(self) -> None:
        """Close what it has opened."""
        for way in (self._reads, self._writes):
            if way is not None:
                way.close()


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
    """Reads and writes whole objects of a bucket past botocore, until that fails where it should not."""

    store: S3Store
    wire: S3Wire
    works: bool = field(default=True)

    @classmethod
    def to(cls, store: Store) -> _ShortCut | None:
        """Return the short cut to a bucket; None: only the store itself reaches it."""
        if not isinstance(store, S3Store):
            return None
        wire = _opened(store)
        return cls(store, wire) if wire is not None else None

    def get(self, key: str) -> bytes | None:
        """Return an object; None: ask the store itself."""
        call = self._call("s3:GetObject", key)
        answer = self._tried(lambda: self.wire.get(call, "GetObject", limit_bytes=MAX_OBJECT_BYTES))
        if answer is None:
            return None
        self.store.count("GetObject", 0, len(answer.body))
        return answer.body

    def put(self, key: str, body: bytes | Flow, sha256: str) -> bool:
        """Write an object where none is; False: leave it to the store itself."""
        if not self.store.knows_conditions:
            return False
        call = self._call("s3:PutObject", key)
        # Of a flow there are no bytes to look at; with SHA-256 nothing looks at them.
        known = b"" if isinstance(body, Flow) else body
        size = body.size if isinstance(body, Flow) else len(body)
        headers = headers_of_fields({**self.store.fields_of_put(key, known, sha256), "IfNoneMatch": "*"})

        def send() -> Answer:
            self.store.count("PutObject", size, 0)
            return self.wire.put_object(call, "PutObject", body=body, sha256=sha256, headers=headers)

        return self._tried(send) is not None

    def put_from(self, source: _ShortCut, key: str, size: int, sha256: str) -> bool | None:
        """Write an object where none is while another bucket's short cut reads it.

        Returns
        -------
        bool | None
            False: the source has other bytes, and nothing was written. None: leave it to the stores themselves.
        """
        if not (source.works and self.works and self.store.checksum == "sha256" and self.store.knows_conditions):
            return None
        call = source._call("s3:GetObject", key)

        def read() -> Iterator[memoryview]:
            """Hold the last piece back until the whole is known to be right: without it nothing is stored."""
            digest, left = hashlib.sha256(), size
            source.store.count("GetObject", 0, size)
            try:
                for piece in source.wire.pieces(call, "GetObject", size=size):
                    digest.update(piece)
                    left -= len(piece)
                    if not left and digest.hexdigest() != sha256:
                        raise _DiffersError
                    yield piece
            except (HTTPError, CoffreError) as error:
                raise _BrokenError from error

        try:
            return self.put(key, Flow(size, read), sha256) or None
        except _DiffersError:
            return False
        except _BrokenError:
            return None

    def close(self) -> None:
        """Close every connection."""
        self.wire.close()

    def _call(self, action: str, key: str) -> Call:
        return Call(action, self.store.bucket, self.store.full_key(key), self.wire.endpoint.url)

    def _tried(self, send: Callable[[], Answer]) -> Answer | None:
        if not self.works:
            return None
        try:
            return send()
        except CoffreError as error:
            self.works = error.code in _SAYS_NOTHING_OF_THE_NEXT
            return None


def _opened(store: S3Store) -> S3Wire | None:
    client: Any = store.client
    credentials = client._request_signer._credentials  # no public way leads to what a client signs with
    if credentials is None or ":" in store.bucket:  # an access point, whose address botocore knows
        return None

    def key() -> S3Credentials:
        frozen = credentials.get_frozen_credentials()
        return S3Credentials(frozen.access_key, frozen.secret_key, frozen.token)

    url: str = client.meta.endpoint_url
    style = (client.meta.config.s3 or {}).get("addressing_style", "auto")
    by_path = style == "path" or (style == "auto" and (not is_aws(url) or "." in store.bucket))
    return S3Wire(
        Endpoint(url, client.meta.region_name, by_path),
        key,
        threading.Event(),
        ca_bundle=os.environ.get("AWS_CA_BUNDLE") or where(),
        attempts=_ATTEMPTS,
    )
