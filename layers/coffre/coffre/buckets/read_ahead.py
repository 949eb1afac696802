"""Pieces of objects, fetched by many threads before they are stored, in bounded memory."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import closing
from dataclasses import dataclass
from typing import Final

from coffre.buckets.changes import SourceObject
from coffre.buckets.reader import PIECE_BYTES, Piece
from coffre.buckets.source import ObjectSource
from coffre.concurrency.memory_budget import MemoryBudget
from coffre.concurrency.prefetch import prefetch

# What the answer, the headers and the future of a small object take besides its bytes.
_LEAST_BYTES: Final = 16 * 1024


@dataclass(frozen=True, slots=True)
class Wanted:
    """One piece of an object. `etag` is the one that it must have; None when it is not known yet."""

    found: SourceObject
    offset: int
    etag: str | None

    @property
    def size(self) -> int:
        """How many bytes it will have, as far as the listing knows."""
        return max(_LEAST_BYTES, min(PIECE_BYTES, self.found.listed.size - self.offset))


def pieces_of(found: SourceObject, *, as_listed: bool = False, start: int = 0) -> list[Wanted]:
    """Return the pieces of an object, of a large one from `start`. A small one has one, even if it has changed since it
    was listed: unless it is wanted as it was listed, and not otherwise.
    """
    size = found.listed.size
    if size <= PIECE_BYTES:
        return [Wanted(found, 0, found.listed.etag if as_listed else None)]
    return [Wanted(found, offset, found.listed.etag) for offset in range(start, size, PIECE_BYTES)]


@dataclass(frozen=True)
class ReadAhead:
    """Fetches pieces in order.

    Parameters
    ----------
    pool
        Its threads fetch.
    budget
        For the pieces of all parts that are fetched or wait to be stored.
    """

    reader: ObjectSource
    pool: ThreadPoolExecutor
    budget: MemoryBudget

    def fetch(self, wanted: Iterable[Wanted]) -> Iterator[Future[Piece]]:
        """Yield each piece in order; its memory counts as used until the next one is asked for."""
        pieces = prefetch(wanted, self._start, cost_of=lambda one: one.size, budget=self.budget)
        with closing(pieces):
            for _, future in pieces:
                yield future

    def _start(self, wanted: Wanted) -> Future[Piece]:
        return self.pool.submit(self._piece, wanted)

    def _piece(self, wanted: Wanted) -> Piece:
        found = wanted.found
        return self.reader.piece(found.bucket, found.listed, wanted.offset, etag=wanted.etag)
