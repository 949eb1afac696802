"""Pieces of objects, fetched by many threads ahead of whoever stores them, in bounded memory."""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from typing import Final

from coffre.buckets.changes import SourceObject
from coffre.buckets.reader import PIECE_BYTES, BucketReader, Piece

# What a small object's answer, its headers and its future take besides its bytes.
_LEAST_BYTES: Final = 16 * 1024


class ReadRoom:
    """How many bytes of pieces may be on their way or waiting, over all parts. Safe to use from several threads."""

    def __init__(self, limit_bytes: int) -> None:
        self._free = limit_bytes
        self._lock = threading.Lock()

    def take(self, size: int, *, always: bool) -> bool:
        """Take room if there is any, or `always`: a part that has nothing on its way must not wait for others."""
        with self._lock:
            if size > self._free and not always:
                return False
            self._free -= size
            return True

    def give_back(self, size: int) -> None:
        """Make room."""
        with self._lock:
            self._free += size


@dataclass(frozen=True, slots=True)
class Wanted:
    """One piece of an object: `etag` is the one that it must have; None when it is to be learned."""

    found: SourceObject
    offset: int
    etag: str | None

    @property
    def size(self) -> int:
        """How many bytes it will have, as far as the listing knows."""
        return max(_LEAST_BYTES, min(PIECE_BYTES, self.found.listed.size - self.offset))


def pieces_of(found: SourceObject) -> list[Wanted]:
    """Return the pieces of an object: of a small one the only one, whatever it has become since it was listed."""
    size = found.listed.size
    if size <= PIECE_BYTES:
        return [Wanted(found, 0, None)]
    return [Wanted(found, offset, found.listed.etag) for offset in range(0, size, PIECE_BYTES)]


@dataclass(frozen=True)
class ReadAhead:
    """Fetches pieces in order.

    Parameters
    ----------
    pool
        Its threads fetch.
    """

    reader: BucketReader
    pool: ThreadPoolExecutor
    room: ReadRoom

    def fetch(self, wanted: Iterable[Wanted]) -> Iterator[Future[Piece]]:
        """Yield each piece in order; it counts as used up when the next one is asked for."""
        waiting: deque[tuple[Future[Piece], int]] = deque()
        taken = 0
        try:
            for one in wanted:
                while not self.room.take(one.size, always=not waiting):
                    future, taken = waiting.popleft()
                    yield future
                    self.room.give_back(taken)
                    taken = 0
                waiting.append((self.pool.submit(self._piece, one), one.size))
            while waiting:
                future, taken = waiting.popleft()
                yield future
                self.room.give_back(taken)
                taken = 0
        finally:
            self.room.give_back(taken)
            for future, size in waiting:
                future.cancel()
                self.room.give_back(size)

    def _piece(self, wanted: Wanted) -> Piece:
        found = wanted.found
        return self.reader.piece(found.bucket, found.listed, wanted.offset, etag=wanted.etag)
