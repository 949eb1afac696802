"""Takes rows out of the messages that they come in: the innermost loop of a backup, twice.

The server sends each row of a `COPY` as a message of its own: a header of 5 bytes, then the row, whose one line feed
is its last byte. The layer has a loop in C for it (`layers/coffre/copydata`); where that was not built, a regular
expression does the same at a fraction of the speed.
"""

from __future__ import annotations

import ctypes
import re
from pathlib import Path
from typing import Any, Final, Protocol

from coffre.model.errors import IntegrityError

HEADER_BYTES: Final = 5
LIBRARY: Final = Path(__file__).with_name("libcopydata.so")
_ROW: Final = ord("d")
_ROW_BORDER: Final = re.compile(rb"(?s)\n(?=d).{5}")


class Rows(Protocol):
    """Takes the rows of one stream out of its messages. Not thread-safe.

    Attributes
    ----------
    ended
        How many rows came to their end so far.
    """

    ended: int

    def take(self, source: bytearray, start: int, end: int, room: memoryview) -> tuple[int, int]:
        """Move rows from `source[start:end]` into `room`, and return how many bytes were taken and how many given.

        A row may begin in one call and end in another. Neither is 0 but where something else than a whole header of a
        row follows; the length in a header must be one that a row can have.
        """


class CompiledRows:
    """By the loop in C, which goes from header to header by the lengths in them, without Python's lock."""

    def __init__(self, library: Any) -> None:
        self._take_rows = library.coffre_take_rows
        self._progress = _Progress()
        self._progress_at = ctypes.byref(self._progress)
        self.ended = 0

    def take(self, source: bytearray, start: int, end: int, room: memoryview) -> tuple[int, int]:
        """Move rows from `source[start:end]` into `room`."""
        first, free = ctypes.c_char.from_buffer(source, start), ctypes.c_char.from_buffer(room)
        self._take_rows(ctypes.byref(first), end - start, ctypes.byref(free), len(room), self._progress_at)
        self.ended += self._progress.ended
        return self._progress.taken, self._progress.given


class _Progress(ctypes.Structure):
    _fields_ = [(name, ctypes.c_uint64) for name in ("taken", "given", "ended", "left")]


class RegexRows:
    """By a regular expression, with Python alone.

    After a first header each line feed outside a header is followed by the next header, so that they can all be removed
    in one step. Text has no NUL and any other message has one: what is left over gives itself away.
    """

    def __init__(self) -> None:
        self._is_inside = False
        self.ended = 0

    def take(self, source: bytearray, start: int, end: int, room: memoryview) -> tuple[int, int]:
        """Move rows from `source[start:end]` into `room`."""
        begin = start
        if not self._is_inside:
            if end - start < HEADER_BYTES or source[start] != _ROW:
                return 0, 0
            self._is_inside = True
            start += HEADER_BYTES
        with memoryview(source) as view, view[start : min(end, start + len(room))] as block:
            parts = _ROW_BORDER.split(block)
        text = b"\n".join(parts)
        if b"\n" in parts[-1] or b"\0" in text:
            self._is_inside = False
            parts = _up_to_the_last_row(parts)
            text = b"\n".join(parts)
        headers = len(parts) - 1
        self.ended += headers + (not self._is_inside)
        room[: len(text)] = text
        return start - begin + len(text) + headers * HEADER_BYTES, len(text)


def _up_to_the_last_row(parts: list[bytes]) -> list[bytes]:
    for number, part in enumerate(parts):
        text, line_feed, _ = part.partition(b"\n")
        if line_feed:
            return [*parts[:number], text + line_feed]
    raise not_understood("a row has a NUL in it")


def not_understood(detail: str) -> IntegrityError:
    """Return the error for bytes that no PostgreSQL server sends."""
    return IntegrityError(
        "What came over the connection is not PostgreSQL's protocol.",
        code="PROTOCOL_VIOLATED",
        detail=detail,
        hint="Nothing was published. Run the backup again; if it stays so, look at what is between it and the server.",
    )


def rows_of_a_stream() -> Rows:
    """Return the fastest way that there is here."""
    library = load(LIBRARY)
    return RegexRows() if library is None else CompiledRows(library)


def load(path: Path) -> Any:
    """Return the library with the loop in C, or None where it was not built, or for another machine."""
    try:
        library = ctypes.CDLL(str(path))
    except OSError:
        return None
    address, size = ctypes.c_void_p, ctypes.c_uint64
    library.coffre_take_rows.argtypes = [address, size, address, size, address]
    library.coffre_take_rows.restype = None
    return library
