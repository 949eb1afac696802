"""The plaintext of an entry as a readable file."""

from __future__ import annotations

import io
from collections.abc import Buffer, Iterable, Iterator
from typing import BinaryIO, Final, cast

_READ_BYTES: Final = 1024 * 1024


def open_chunks(chunks: Iterable[bytes | memoryview]) -> BinaryIO:
    """Return a readable file with these bytes, which are read from the iterable as needed."""
    return cast(BinaryIO, io.BufferedReader(_Chunks(iter(chunks)), _READ_BYTES))


class _Chunks(io.RawIOBase):
    def __init__(self, chunks: Iterator[bytes | memoryview]) -> None:
        self._chunks = chunks
        self._current = memoryview(b"")

    def readable(self) -> bool:
        return True

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
        return count
