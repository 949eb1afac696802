"""A bucket in which a drill's copies can be read by that drill alone, and by nothing once it has ended."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterable, Iterator
from typing import TYPE_CHECKING, Any, Final

import pyrage

from coffre.buckets.writer import BucketWriter, ReadBack
from coffre.model.manifest import ObjectFacts
from coffre.model.storage import BegunUpload

if TYPE_CHECKING:
    from mypy_boto3_s3.client import S3Client

_LENGTH_BYTES: Final = 4


class SealedBucket(BucketWriter):
    """Writes objects encrypted with age to a key pair that exists only in this object, and opens them when it reads.

    What it stores is a sequence of age messages, each after its length (4 bytes, big-endian). An object without bytes
    stays one. Attributes and tags are not encrypted: the vault's lists of entries have them too.
    """

    def __init__(self, client: S3Client, name: str, *, is_aws: bool) -> None:
        super().__init__(client, name, is_aws=is_aws)
        self._identity = pyrage.x25519.Identity.generate()

    def put(self, key: str, body: bytes, facts: ObjectFacts, *, sha256: str, if_absent: bool) -> None:
        """Write a small object as `BucketWriter.put` does."""
        del sha256  # Of the plaintext: the drill compares it when it has read the object again.
        sealed = self._seal(body)
        super().put(key, sealed, facts, sha256=hashlib.sha256(sealed).hexdigest(), if_absent=if_absent)

    def upload(
        self, key: str, pieces: Callable[[int], Iterable[bytes]], facts: ObjectFacts, **how: Any
    ) -> BegunUpload | None:
        """Write a large object as `BucketWriter.upload` does, each piece sealed."""
        how.pop("sha256", None)  # as of `put`
        return super().upload(key, lambda start: map(self._seal, pieces(start)), facts, **how)

    def read_back(
        self, key: str, facts: ObjectFacts, opened: Callable[[Iterator[bytes]], Iterator[bytes]] | None = None
    ) -> ReadBack:
        """Read an object as `BucketWriter.read_back` does: size and SHA-256 are those of the plaintext."""
        return super().read_back(key, facts, opened or self._open)

    def _seal(self, piece: bytes) -> bytes:
        if not piece:
            return b""
        message = pyrage.encrypt(piece, [self._identity.to_public()])
        return len(message).to_bytes(_LENGTH_BYTES, "big") + message

    def _open(self, chunks: Iterator[bytes]) -> Iterator[bytes]:
        """Yield the plaintext. What this drill did not write is yielded as it is: it then differs from the backup."""
        waiting = bytearray()
        for chunk in chunks:
            waiting += chunk
            while len(waiting) > _LENGTH_BYTES:
                end = _LENGTH_BYTES + int.from_bytes(waiting[:_LENGTH_BYTES], "big")
                if len(waiting) < end:
                    break
                message = bytes(waiting[_LENGTH_BYTES:end])
                try:
                    plaintext = pyrage.decrypt(message, [self._identity])
                except pyrage.DecryptError:
                    plaintext = bytes(waiting[:end])
                del waiting[:end]
                yield plaintext
        if waiting:
            yield bytes(waiting)
