"""The plaintext of an entry as a readable file."""

from __future__ import annotations

import io
from collections.abc import Buffer, Iterable, Iterator
from typing import BinaryIO, Final, cast

_READ_BYTES: Final = 1024 * 1024


def open_chunks(chunks: Iterable[bytes | memoryview], start: int = 0) -> BinaryIO:
    """Return a readable file with these bytes, which are read from the iterable as needed; the first is at `start`."""
    return cast(BinaryIO, io.BufferedReader(_Chunks(iter(chunks), start), _READ_BYTES))


class _Chunks(io.RawIOBase):
    def __init__(self, chunks: Iterator[bytes | memoryview], position: int) -> None:
        self._chunks = chunks
        self._position = position
        self._current = memoryview(b"")

    def readable(self) -> bool:
        return True

    def tell(self) -> int:
        return self._position

    def readinto(self, buffer: Buffer, /) -> int:
        while not self._current:
            following = next(self._chunks, None)
            if following is None:
                return 0
            self._current = memoryview(following)
        target = memoryview(buffer)
        count = min(len(target), len(self._current))
        target[:count] = self._current[:count]
        self._current = self._current[count:]
        self._position += count
        return count
