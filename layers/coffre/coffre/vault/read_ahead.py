"""Entries read one after another, their frames fetched before the consumer asks for them."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Generator, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import closing
from dataclasses import dataclass
from typing import Final

from coffre.concurrency.generator_pool import GeneratorPool
from coffre.concurrency.memory_budget import MemoryBudget
from coffre.concurrency.prefetch import prefetch
from coffre.model.manifest import Entry, Frame
from coffre.vault.codec import FrameDecoder
from coffre.vault.vault import Vault, check_entry

_FRAME_BYTES: Final = 2 * 1024 * 1024
# Eight frames ahead, and the one that the consumer works on. With their compressed forms, and with what the threads are
# working on, this is some 70 MiB of memory.
_AHEAD_BYTES: Final = 9 * _FRAME_BYTES
_THREADS: Final = 4

type _Opened = tuple[bytes, bytes | None]


@dataclass(frozen=True)
class Piece:
    """Bytes of an entry, in order; `compressed` is one zstd frame of exactly these bytes, if the vault has one."""

    plaintext: bytes | memoryview
    compressed: bytes | None = None


def read_ahead(vault: Vault, decoder: FrameDecoder, entries: Iterable[Entry]) -> Generator[tuple[Entry, Piece]]:
    """Yield the pieces of all entries in order, each with its entry; an empty entry has one empty piece.

    A frame that neighbours share is fetched once. Close the generator to stop before its end.

    Raises
    ------
    IntegrityError
        What `Vault.read_entry` raises, when the damaged piece's turn comes. The last piece of an entry comes only if
        the SHA-256 of the whole entry is the recorded one.
    """
    return _pieces(lambda frame: vault.read_frame(frame, decoder), entries)


def plaintext_ahead(vault: Vault, decoder: FrameDecoder, entry: Entry, *, start: int = 0) -> Generator[bytes]:
    """Yield the plaintext of one entry from `start`; raises what `read_ahead` raises.

    Compressed frames do not stay in memory. What does not begin at 0 is checked by the SHA-256 of each frame alone.
    """

    def opened(frame: Frame) -> _Opened:
        return vault.read_frame(frame, decoder)[0], None

    skipped, first = 0, 0
    while start - skipped and start - skipped >= entry.frames[first].size:
        skipped, first = skipped + entry.frames[first].size, first + 1
    with closing(_pieces(opened, [entry], first)) as pieces:
        for _, piece in pieces:
            if plaintext := piece.plaintext[start - skipped :]:
                yield bytes(plaintext)
            skipped = start


def _pieces(
    opened: Callable[[Frame], _Opened], entries: Iterable[Entry], first: int = 0
) -> Generator[tuple[Entry, Piece]]:
    """Yield the pieces of entries, of each from its frame number `first`."""
    check = _Check()

    def ahead(pool: ThreadPoolExecutor) -> Generator[tuple[_Step, Future[_Opened]]]:
        return prefetch(
            (step for step in _steps(entries) if step.number >= first),
            _Start(pool, opened),
            cost_of=lambda step: max(_FRAME_BYTES, step.frame.size if step.frame else 0),
            budget=MemoryBudget(_AHEAD_BYTES),
        )

    with GeneratorPool(_THREADS, "read-ahead") as pool, closing(ahead(pool)) as steps:
        for step, future in steps:
            yield check.piece(step, future)


@dataclass(frozen=True)
class _Step:
    """One frame of an entry; an empty entry has none."""

    entry: Entry
    number: int = 0
    frame: Frame | None = None


def _steps(entries: Iterable[Entry]) -> Iterator[_Step]:
    for entry in entries:
        if not entry.frames:
            yield _Step(entry)
        for number, frame in enumerate(entry.frames):
            yield _Step(entry, number, frame)


class _Start:
    """Starts fetching the frame of a step, or shares the fetch of the step before."""

    def __init__(self, pool: ThreadPoolExecutor, opened: Callable[[Frame], _Opened]) -> None:
        self._pool = pool
        self._opened = opened
        self._last: tuple[Frame, Future[_Opened]] | None = None

    def __call__(self, step: _Step) -> Future[_Opened]:
        if step.frame is None:
            nothing: Future[_Opened] = Future()
            nothing.set_result((b"", None))
            return nothing
        if self._last is None or self._last[0] != step.frame:
            self._last = step.frame, self._pool.submit(self._opened, step.frame)
        return self._last[1]


class _Check:
    """Cuts entries out of their frames, and compares the SHA-256 of each that has several."""

    def __init__(self) -> None:
        self._whole = hashlib.sha256()
        self._is_whole = False

    def piece(self, step: _Step, future: Future[_Opened]) -> tuple[Entry, Piece]:
        entry, (plaintext, compressed) = step.entry, future.result()
        if not entry.frames:
            check_entry(entry, hashlib.sha256().hexdigest())
            return entry, Piece(b"")
        if len(entry.frames) == 1 and len(plaintext) != entry.size:
            part = memoryview(plaintext)[entry.start : entry.start + entry.size]
            check_entry(entry, hashlib.sha256(part).hexdigest())
            return entry, Piece(part)
        if len(entry.frames) == 1:
            check_entry(entry, entry.frames[0].sha256)
            return entry, Piece(plaintext, compressed)
        if step.number == 0:
            self._whole, self._is_whole = hashlib.sha256(), True
        self._whole.update(plaintext)
        if step.number == len(entry.frames) - 1 and self._is_whole:
            check_entry(entry, self._whole.hexdigest())
        return entry, Piece(plaintext, compressed)
