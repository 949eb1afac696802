"""Reading many entries one after another, fetching frames ahead of whoever consumes them."""

from __future__ import annotations

import hashlib
from collections import deque
from collections.abc import Generator, Iterable
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from typing import Final

from coffre.model.manifest import Entry, Frame
from coffre.vault.codec import FrameDecoder
from coffre.vault.vault import Vault, check_entry

# Frames are about 2 MiB, open and compressed: with what the threads are working on, this is some 70 MiB of memory.
_FRAMES_AHEAD: Final = 8
_THREADS: Final = 4

type _Opened = Future[tuple[bytes, bytes]]


@dataclass(frozen=True)
class Piece:
    """Bytes of an entry, in order; `compressed` is one zstd frame with exactly these, where the vault has it so."""

    plaintext: bytes | memoryview
    compressed: bytes | None = None


def read_ahead(vault: Vault, decoder: FrameDecoder, entries: Iterable[Entry]) -> Generator[tuple[Entry, Piece]]:
    """Yield the pieces of all entries in order, each with its entry; an empty entry has one empty piece.

    A frame that neighbours share is fetched once. Close the generator to stop before its end.

    Raises
    ------
    IntegrityError
        What `Vault.read_entry` raises, when the damaged piece's turn comes; a wrong SHA-256 of a whole entry after its
        last piece.
    """
    pool = ThreadPoolExecutor(_THREADS, thread_name_prefix="read-ahead")
    waiting: deque[tuple[Entry, int, _Opened | None]] = deque()
    check = _Check()
    last: tuple[Frame, _Opened] | None = None
    try:
        for entry in entries:
            if not entry.frames:
                waiting.append((entry, 0, None))
            for number, frame in enumerate(entry.frames):
                if last is None or last[0] != frame:
                    last = frame, pool.submit(vault.read_frame, frame, decoder)
                waiting.append((entry, number, last[1]))
                while len(waiting) > _FRAMES_AHEAD:
                    yield check.piece(*waiting.popleft())
        last = None
        while waiting:
            yield check.piece(*waiting.popleft())
    finally:
        pool.shutdown(cancel_futures=True)


class _Check:
    """Cuts entries out of their frames, and compares the SHA-256 of each that has several."""

    def __init__(self) -> None:
        self._whole = hashlib.sha256()

    def piece(self, entry: Entry, number: int, opened: _Opened | None) -> tuple[Entry, Piece]:
        if opened is None:
            check_entry(entry, hashlib.sha256().hexdigest())
            return entry, Piece(b"")
        plaintext, compressed = opened.result()
        if len(entry.frames) == 1 and len(plaintext) != entry.size:
            part = memoryview(plaintext)[entry.start : entry.start + entry.size]
            check_entry(entry, hashlib.sha256(part).hexdigest())
            return entry, Piece(part)
        if len(entry.frames) == 1:
            check_entry(entry, entry.frames[0].sha256)
            return entry, Piece(plaintext, compressed)
        if number == 0:
            self._whole = hashlib.sha256()
        self._whole.update(plaintext)
        if number == len(entry.frames) - 1:
            check_entry(entry, self._whole.hexdigest())
        return entry, Piece(plaintext, compressed)
