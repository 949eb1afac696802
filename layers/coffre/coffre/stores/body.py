"""What is put into a store: the bytes of an object in one piece, or in several one after another."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence

Body = bytes | Sequence[bytes]


def pieces_of(body: Body) -> Sequence[bytes]:
    """Return the pieces, in order."""
    return (body,) if isinstance(body, bytes) else body


def size_of(body: Body) -> int:
    """Return how many bytes it has."""
    return sum(map(len, pieces_of(body)))


def sha256_of(body: Body) -> str:
    """Return the SHA-256 of its bytes in lower-case hex."""
    digest = hashlib.sha256()
    for piece in pieces_of(body):
        digest.update(piece)
    return digest.hexdigest()
