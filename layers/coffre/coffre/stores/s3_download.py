"""Reading an object, or a range of one, over connections that may break in the middle.

botocore retries a request until the answer's head has arrived; what breaks later, while the body is read, is left to
the caller. Here that is continued from the byte reached, and never in another object than the one that was begun.
"""

from __future__ import annotations

import io
import time
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Final

from botocore.exceptions import HTTPClientError, IncompleteReadError
from urllib3.exceptions import HTTPError

from coffre.model.errors import StoreError
from coffre.stores.checks import too_large, truncated
from coffre.stores.s3_errors import Call, translated

if TYPE_CHECKING:
    from mypy_boto3_s3.client import S3Client
    from mypy_boto3_s3.type_defs import GetObjectOutputTypeDef

# A reset connection loses what was asked for in one read and not yet given: small enough to lose little, large enough
# to cost nothing (64 KiB to 1 MiB made no difference in throughput against SeaweedFS 4.48).
_CHUNK_BYTES: Final = 256 * 1024

# Connections in a row that break before they have brought one new byte. Any progress starts the count again.
_FRUITLESS_CONNECTIONS: Final = 5
_FIRST_PAUSE_SECONDS: Final = 0.05  # doubled after each of them

_BROKEN = (HTTPClientError, IncompleteReadError, HTTPError)


@dataclass
class Download:
    """One object being read into memory. Used once, by one thread.

    Parameters
    ----------
    client
        Of S3.
    call
        What is read, for errors.
    offset
        First byte wanted.
    length
        Bytes wanted; None for the whole object.
    limit_bytes
        Most bytes that a whole object may have.
    """

    client: S3Client
    call: Call
    offset: int = 0
    length: int | None = None
    limit_bytes: int = 0
    _received: io.BytesIO = field(default_factory=io.BytesIO)
    _etag: str | None = None

    def read(self) -> bytes:
        """Return the bytes, all of them (the errors are those of `Store.get` and `Store.get_range`)."""
        fruitless = 0
        with translated(self.call):
            while not self._is_complete():
                reached = self._received.tell()
                answer = self._ask()
                try:
                    self._take(answer)
                except _BROKEN:
                    fruitless = 0 if self._received.tell() > reached else fruitless + 1
                    if fruitless == _FRUITLESS_CONNECTIONS:
                        raise
                    time.sleep(_FIRST_PAUSE_SECONDS * 2**fruitless)
        return self._received.getvalue()

    def _is_complete(self) -> bool:
        return self._received.tell() == self.length

    def _take(self, answer: GetObjectOutputTypeDef) -> None:
        body = answer["Body"]
        try:
            self._check(answer)
            self._etag = answer.get("ETag")
            while chunk := body.read(_CHUNK_BYTES):
                self._received.write(chunk)
        finally:
            body.close()
        if not self._is_complete():
            raise IncompleteReadError(actual_bytes=self._received.tell(), expected_bytes=self.length or 0)

    def _ask(self) -> GetObjectOutputTypeDef:
        wanted: dict[str, Any] = {"Bucket": self.call.bucket, "Key": self.call.key}
        start = self.offset + self._received.tell()
        if self.length is not None:
            wanted["Range"] = f"bytes={start}-{self.offset + self.length - 1}"
        if self._etag is not None:
            wanted["IfMatch"] = self._etag
        return self.client.get_object(**wanted)

    def _check(self, answer: GetObjectOutputTypeDef) -> None:
        """Accept an answer that brings exactly the missing bytes. Learn the length of a whole object from its first."""
        size = answer.get("ContentLength")
        if size is None:
            raise self._unusable("did not say how many bytes it sends of")
        if self.length is None:
            if size > self.limit_bytes:
                raise too_large(self.call.place, size, self.limit_bytes)
            self.length = size
            return
        start, end = self.offset + self._received.tell(), self.offset + self.length
        if not answer.get("ContentRange", "").startswith(f"bytes {start}-"):
            raise self._unusable("sent another part than it was asked for of")
        if start + size > end:
            raise self._unusable("sent more than it was asked for of")
        if start + size < end:
            raise truncated(self.call.place, start + size, end)

    def _unusable(self, what: str) -> StoreError:
        return StoreError(
            f"The store at {self.call.host} {what} {self.call.place}.",
            code="RANGE_UNSUPPORTED",
            hint="Use a store that serves byte ranges, or look for a proxy in between that does not.",
        )
