"""Sending an object at the speed of the machine: nothing is copied, and nothing hashed a second time."""

from __future__ import annotations

import base64
import io
from collections.abc import Mapping
from datetime import UTC, datetime
from itertools import accumulate
from typing import TYPE_CHECKING, Any, Final

from botocore.auth import AUTH_TYPE_MAPS, S3SigV4Auth

from coffre.stores.body import Body, pieces_of

if TYPE_CHECKING:
    from botocore.awsrequest import AWSRequest
    from botocore.client import BaseClient

# urllib3 asks for 16 KiB at a time, each a round through the interpreter. Even a slow link sends a block of this size
# before the connection times out.
_BLOCK_BYTES: Final = 256 * 1024
_SIGNER: Final = "coffre-s3v4"


# The fields of a `put_object` that S3Store fills, by the headers that they become.
_HEADERS: Final = {
    "ChecksumAlgorithm": "x-amz-sdk-checksum-algorithm",
    "ChecksumSHA256": "x-amz-checksum-sha256",
    "ContentMD5": "content-md5",
    "IfNoneMatch": "if-none-match",
    "ObjectLockLegalHoldStatus": "x-amz-object-lock-legal-hold",
    "ObjectLockMode": "x-amz-object-lock-mode",
    "ObjectLockRetainUntilDate": "x-amz-object-lock-retain-until-date",
}


def headers_of_fields(fields: Mapping[str, Any]) -> dict[str, str]:
    """Return the headers that botocore makes of these fields of a `put_object`, for who sends it without botocore."""
    metadata = {f"x-amz-meta-{name}": value for name, value in fields.get("Metadata", {}).items()}
    plain = {_HEADERS[name]: value for name, value in fields.items() if name != "Metadata"}
    return metadata | {
        name: value.astimezone(UTC).isoformat().replace("+00:00", "Z") if isinstance(value, datetime) else value
        for name, value in plain.items()
    }


class BodyFile(io.RawIOBase):
    """The bytes of an object as a file. It gives out views, and more than is asked for: at least `_BLOCK_BYTES`."""

    def __init__(self, body: Body) -> None:
        self._pieces = [memoryview(piece) for piece in pieces_of(body) if piece]
        self._ends = list(accumulate(map(len, self._pieces)))
        self._position = 0

    def readable(self) -> bool:
        return True

    def seekable(self) -> bool:
        return True

    def read(self, size: int | None = -1, /) -> bytes:
        if size is None or size < 0:
            rest, self._position = self._rest(), self._end
            return rest
        for piece, end in zip(self._pieces, self._ends, strict=True):
            if self._position < end:
                start = self._position - (end - len(piece))
                block = piece[start : start + max(size, _BLOCK_BYTES)]
                self._position += len(block)
                return block  # type: ignore[return-value]  # as good as bytes for sockets and hashes
        return b""

    def seek(self, offset: int, whence: int = io.SEEK_SET, /) -> int:
        start = {io.SEEK_SET: 0, io.SEEK_CUR: self._position, io.SEEK_END: self._end}[whence]
        self._position = start + offset
        return self._position

    def tell(self) -> int:
        return self._position

    def _rest(self) -> bytes:
        return b"".join(self._pieces)[self._position :]

    @property
    def _end(self) -> int:
        return self._ends[-1] if self._ends else 0


class SignerWithDigest(S3SigV4Auth):
    """Signature version 4 with the SHA-256 that is sent along: the store compares both with what arrives."""

    def payload(self, request: AWSRequest) -> str:
        known = request.headers.get("x-amz-checksum-sha256")
        return base64.b64decode(known).hex() if known else str(super().payload(request))


def sign_by_digest(client: BaseClient) -> None:
    """Let a client that signs bodies take the SHA-256 that the caller computed, where it sends that one with a put."""
    AUTH_TYPE_MAPS[_SIGNER] = SignerWithDigest
    client.meta.events.register("choose-signer.s3.PutObject", _choose)  # type: ignore[arg-type]  # the first answer counts


def _choose(**_: object) -> str:
    return _SIGNER
