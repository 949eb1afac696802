"""What is put into a store: the bytes of an object in one piece, in several one after another, or as they come."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass

Body = bytes | Sequence[bytes]


@dataclass(frozen=True)
class Flow:
    """An object that is read while it is sent.

    Parameters
    ----------
    size
        The number of bytes in all.
    read
        Reads it from its start; a piece lasts until the next.
    """

    size: int
    read: Callable[[], Iterable[bytes | memoryview]]


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
