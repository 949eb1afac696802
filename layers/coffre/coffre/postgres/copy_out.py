"""`COPY ... TO STDOUT` read in large blocks: rows never pass one by one through Python, nor must one fit into memory.

The server sends each row as a message of its own: a header of 5 bytes, then the row, whose one line feed is its last
byte. So after the first header each line feed outside a header is followed by the next header, and a regular expression
removes them all. Where another message follows, that message is read, and then it goes on. Text has no NUL and any
message has one: what is left over gives itself away. In the end the server's count of the rows must be met.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from time import sleep
from typing import Final

import psycopg2

from coffre.model.errors import IntegrityError
from coffre.postgres.channel import Channel

# Small enough for the processor's cache, with the rows cut apart and joined again.
_BLOCK_BYTES: Final = 256 * 1024
_ROW_BORDER: Final = re.compile(rb"(?s)\n(?=d).{5}")
_HEADER_BYTES: Final = 5
# The server sends 8 KiB at a time: a reader that woke up for each would spend more on waking than on reading, so where
# answers are long it lets the socket fill for a moment when it found only little.
_LONG_ANSWER_BYTES: Final = 64 * 1024
_LITTLE_BYTES: Final = 128 * 1024
_FILL_SECONDS: Final = 0.001
# Statements that the server finds when it is done with the one before. Far less than any socket's buffers hold: the
# server would not read them while it waits for us to read rows.
_SENT_AHEAD_BYTES: Final = 8192


class QueryFailedError(Exception):
    """The server's own words about a statement that failed, with the SQLSTATE; values of rows are not in them."""

    def __init__(self, fields: dict[bytes, bytes]) -> None:
        severity, self.sqlstate, message = (
            fields.get(name, b"").decode("utf-8", "replace") for name in (b"V", b"C", b"M")
        )
        super().__init__(f"{severity or 'ERROR'}: {message} (SQLSTATE {self.sqlstate})")


class CopyOut:
    """Runs `COPY` statements one after another over a channel, sending the next ones ahead. Not thread-safe."""

    def __init__(self, channel: Channel) -> None:
        self._channel = channel
        self._buffer = bytearray(_BLOCK_BYTES)
        self._start = self._end = 0
        self._received = self._received_before = self._rows_seen = 0
        self._failure: QueryFailedError | None = None
        self.rows = 0

    def run(self, statements: Iterable[str]) -> Iterator[Iterator[bytes]]:
        """Yield the rows of each statement, in blocks; after a statement's last block `rows` is the server's count.

        Raises
        ------
        QueryFailedError
            What the server said. What came so far is worthless then.
        psycopg2.OperationalError
            When the connection is cut.
        """
        waiting = (_query(statement) for statement in statements)
        following = next(waiting, None)
        sent: list[int] = []
        while following is not None or sent:
            while following is not None and (not sent or sum(sent) + len(following) <= _SENT_AHEAD_BYTES):
                self._channel.send(following)
                sent.append(len(following))
                following = next(waiting, None)
            blocks = self._answer()
            yield blocks
            for _ in blocks:  # what the caller left
                pass
            del sent[0]

    def _answer(self) -> Iterator[bytes]:
        self._received_before, self._received, self._rows_seen = self._received, 0, 0
        while (kind := self._next_kind()) != b"Z":
            if kind == b"d":
                self._start += _HEADER_BYTES
                yield from self._rows()
                continue
            body = self._body()
            if kind == b"E":
                self._failure = QueryFailedError(_fields(body))
            elif kind == b"C":
                self.rows = int(body.rstrip(b"\0").rsplit(b" ", 1)[-1])
        self._body()
        if self._failure is not None:
            raise self._failure
        if self._rows_seen != self.rows:
            raise IntegrityError(
                f"The server sent {self.rows} rows, and {self._rows_seen} were found in what came.",
                code="ROWS_MISCOUNTED",
                hint="Nothing was published. This is a defect of Coffre: please report it.",
            )

    def _rows(self) -> Iterator[bytes]:
        """Yield rows from behind a first header up to where something else than a row follows."""
        while True:
            with memoryview(self._buffer) as view, view[self._start : self._end] as block:
                parts = _ROW_BORDER.split(block)
            borders = len(parts) - 1
            text = b"\n".join(parts)
            is_cut_off = b"\n" not in parts[-1] and b"\0" not in text
            if is_cut_off:
                self._start = self._end = 0
            else:
                borders = next(number for number, part in enumerate(parts) if b"\n" in part)
                last = parts[borders][: parts[borders].index(b"\n") + 1]
                text = b"\n".join((*parts[:borders], last))
                self._start += len(text) + borders * _HEADER_BYTES
            self._received += len(text)
            self._rows_seen += borders + (not is_cut_off)
            if text:
                yield text
            if not is_cut_off:
                return
            self._receive()

    def _next_kind(self) -> bytes:
        """Return the type of the next message; its whole header is there then."""
        self._need(_HEADER_BYTES)
        return bytes(self._buffer[self._start : self._start + 1])

    def _body(self) -> bytes:
        """Return what the next message holds, and pass over it."""
        begin = self._start + _HEADER_BYTES
        length = 1 + int.from_bytes(self._buffer[self._start + 1 : begin], "big")
        shift = self._need(length)
        body = bytes(self._buffer[begin - shift : begin - shift - _HEADER_BYTES + length])
        self._start += length
        return body

    def _need(self, length: int) -> int:
        """Receive until so many bytes are there; return how far what was there moved to the front."""
        shift = 0
        while self._end - self._start < length:
            if self._start:
                shift = self._start
                self._buffer[: self._end - shift] = self._buffer[shift : self._end]
                self._start, self._end = 0, self._end - shift
            if length > len(self._buffer):
                self._buffer.extend(bytes(length - len(self._buffer)))
            self._receive()
        return shift

    def _receive(self) -> None:
        try:
            found = self._channel.receive(self._buffer, self._end)
        except psycopg2.OperationalError as error:
            # What the server said before it closed is the reason.
            raise self._failure or error from error
        if found < _LITTLE_BYTES and self._received_before + self._received > _LONG_ANSWER_BYTES:
            sleep(_FILL_SECONDS)
        self._end += found


def _query(statement: str) -> bytes:
    text = statement.encode() + b"\0"
    return b"Q" + (len(text) + 4).to_bytes(4, "big") + text


def _fields(body: bytes) -> dict[bytes, bytes]:
    return {field[:1]: field[1:] for field in body.split(b"\0") if field}
