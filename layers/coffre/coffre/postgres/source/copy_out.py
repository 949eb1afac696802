"""`COPY ... TO STDOUT` read in large blocks: rows never pass one by one through Python, nor must one fit into memory.

The server sends each row as a message of its own. Whole blocks of them are moved into the caller's frame without
their headers (`copy_framing.py`). Where another message follows, that message is read, and then the
rows continue. In the end the server's count of the rows must be met.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable, Iterator
from contextlib import suppress
from time import sleep
from typing import Final

import psycopg2

from coffre.model.errors import IntegrityError
from coffre.postgres.connection.raw_socket import Channel
from coffre.postgres.source.copy_framing import HEADER_BYTES, not_understood, rows_of_a_stream

# Small enough for the processor's cache, where rows are moved from.
_BLOCK_BYTES: Final = 256 * 1024
_LENGTH_BYTES: Final = 4
# What the server says between rows has some hundred bytes, and must fit into memory.
_LONGEST_MESSAGE_BYTES: Final = 16 * 1024 * 1024
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
    """Runs `COPY` statements one after another over a channel, sending the next ones ahead. Not thread-safe.

    A statement may be several, in a transaction that was begun before.

    Parameters
    ----------
    channel
        Of a session with no statement under way.
    frame
        Where rows are put together: the pieces that `run` yields are of its size.
    """

    def __init__(self, channel: Channel, frame: memoryview) -> None:
        self._channel = channel
        self._frame = frame
        self._messages = rows_of_a_stream()
        self._buffer = bytearray(_BLOCK_BYTES)
        self._start = self._end = 0
        self._received = self._received_before = 0
        self._failure: QueryFailedError | None = None
        self._sent: deque[int] = deque()
        self.rows = 0

    def run(self, statements: Iterable[str]) -> Iterator[Iterator[memoryview]]:
        """Yield the rows of each statement, in pieces that are valid until the next one is asked for.

        All but the last piece have the frame's size. After a statement's last one `rows` is the server's count.

        Raises
        ------
        QueryFailedError
            What the server said, after the rows that came before it: they are not all that there are.
        psycopg2.OperationalError
            When the connection is cut.
        """
        waiting = (_query(statement) for statement in statements)
        following = next(waiting, None)
        while following is not None or self._sent:
            while following is not None and (not self._sent or sum(self._sent) + len(following) <= _SENT_AHEAD_BYTES):
                self._channel.send(following)
                self._sent.append(len(following))
                following = next(waiting, None)
            pieces = self._answer()
            yield pieces
            for _ in pieces:  # what the caller left
                pass

    def settle(self) -> None:
        """Pass over the answers to what was sent ahead of a statement that failed: others can be run then."""
        self._failure = None
        while self._sent:
            with suppress(QueryFailedError):
                for _ in self._answer():
                    pass
            self._failure = None

    def _answer(self) -> Iterator[memoryview]:
        self._received_before, self._received = self._received, 0
        self.rows = 0
        ended, filled = self._messages.ended, 0
        while (kind := self._next_kind()) != b"Z":
            if kind != b"d":
                self._note(kind, self._body())
                continue
            while count := self._take_rows(self._frame[filled:]):
                filled += count
                if filled == len(self._frame):
                    yield self._frame
                    filled = 0
        self._body()
        self._sent.popleft()
        if filled:
            yield self._frame[:filled]
        self._require_whole(self._messages.ended - ended)

    def _take_rows(self, room: memoryview) -> int:
        """Move rows into `room`, and return how many bytes; 0 where something else than a whole header follows."""
        given = 0
        taken = 1
        while taken and not given:
            if self._start == self._end:
                self._start = self._end = 0
                self._receive()
            taken, given = self._messages.take(self._buffer, self._start, self._end, room)
            self._start += taken
        self._received += given
        return given

    def _note(self, kind: bytes, body: bytes) -> None:
        if kind == b"E":
            self._failure = QueryFailedError(_fields(body))
        elif kind == b"C" and body.startswith(b"COPY"):
            self.rows += int(body.rstrip(b"\0").rsplit(b" ", 1)[-1])

    def _require_whole(self, rows_seen: int) -> None:
        if self._failure is not None:
            raise self._failure
        if rows_seen != self.rows:
            raise IntegrityError(
                f"The server sent {self.rows} rows, and {rows_seen} were found in what came.",
                code="ROWS_MISCOUNTED",
                hint="Nothing was published. This is a defect of Coffre: please report it.",
            )

    def _next_kind(self) -> bytes:
        """Return the type of the next message; its whole header is in the buffer then."""
        self._need(HEADER_BYTES)
        kind, length = bytes(self._buffer[self._start : self._start + 1]), self._length()
        if length < _LENGTH_BYTES or (kind != b"d" and length > _LONGEST_MESSAGE_BYTES):
            raise not_understood(f"a message of type {kind!r} with a length of {length} bytes")
        return kind

    def _length(self) -> int:
        return int.from_bytes(self._buffer[self._start + 1 : self._start + HEADER_BYTES], "big")

    def _body(self) -> bytes:
        """Return what the next message holds, and pass over it."""
        length = 1 + self._length()
        self._need(length)
        body = bytes(self._buffer[self._start + HEADER_BYTES : self._start + length])
        self._start += length
        return body

    def _need(self, length: int) -> None:
        """Receive until that many bytes are in the buffer; those already in it may move to the front."""
        while self._end - self._start < length:
            if self._start:
                rest = self._end - self._start
                self._buffer[:rest] = self._buffer[self._start : self._end]
                self._start, self._end = 0, rest
            if length > len(self._buffer):
                self._buffer.extend(bytes(length - len(self._buffer)))
            self._receive()

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
    text = statement.encode("utf-8", "surrogateescape") + b"\0"
    return b"Q" + (len(text) + 4).to_bytes(4, "big") + text


def _fields(body: bytes) -> dict[bytes, bytes]:
    return {field[:1]: field[1:] for field in body.split(b"\0") if field}
