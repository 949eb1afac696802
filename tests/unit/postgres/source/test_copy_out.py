"""Rows come out as the server wrote them, wherever the network cuts the stream and whatever else it says meanwhile."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import psycopg2
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from coffre.model.errors import IntegrityError
from coffre.postgres.connection.raw_socket import CLOSED
from coffre.postgres.source import copy_out
from coffre.postgres.source.copy_framing import LIBRARY, CompiledRows, RegexRows, Rows, load
from coffre.postgres.source.copy_out import CopyOut, QueryFailedError

NOTICE = b"SNOTICE\0VNOTICE\0C00000\0Mone\nd\0\0\0\x09more\n\0\0"
STATUS = b"TimeZone\0UTC\0"
FRAME_BYTES = 4096
WAYS: dict[str, Callable[[], Rows]] = {
    "C": lambda: CompiledRows(load(LIBRARY)),
    "regular expression": RegexRows,
}


@pytest.fixture(scope="module", params=list(WAYS), autouse=True)
def way(request: pytest.FixtureRequest, copydata: None) -> Iterator[None]:
    """Everything holds for both ways of taking rows out of messages."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(copy_out, "rows_of_a_stream", WAYS[request.param])
        yield


def message(kind: bytes, body: bytes = b"") -> bytes:
    return kind + (len(body) + 4).to_bytes(4, "big") + body


def answer(rows: list[bytes], between: list[tuple[bytes, bytes]] = []) -> bytes:  # noqa: B006 - never changed
    """What a server sends for a COPY, with other messages after the first rows."""
    sent = [message(b"d", row + b"\n") for row in rows]
    for number, (kind, body) in enumerate(between, 1):
        sent.insert(min(2 * number - 1, len(sent)), message(kind, body))
    head, count = message(b"H", b"\0\0\1\0\0"), b"COPY %d\0" % len(rows)
    return head + b"".join(sent) + message(b"c") + message(b"C", count) + message(b"Z", b"T")


class Recorded:
    """A channel that plays a recorded stream in pieces of given sizes, then the end of the connection."""

    def __init__(self, stream: bytes, sizes: Iterator[int]) -> None:
        self._stream = stream
        self._sizes = sizes
        self.sent: list[bytes] = []
        self.received = 0

    def send(self, data: bytes) -> None:
        self.sent.append(data)

    def receive(self, buffer: bytearray, start: int) -> int:
        count = min(next(self._sizes), len(buffer) - start, len(self._stream) - self.received)
        if not count:
            raise psycopg2.OperationalError(CLOSED)
        buffer[start : start + count] = self._stream[self.received : self.received + count]
        self.received += count
        return count


def read(
    stream: bytes, sizes: list[int], statements: int = 1, frame_bytes: int = FRAME_BYTES
) -> list[tuple[bytes, int]]:
    def endless() -> Iterator[int]:
        while True:
            yield from sizes

    copy = CopyOut(Recorded(stream, endless()), memoryview(bytearray(frame_bytes)))  # type: ignore[arg-type]
    return [(joined(pieces, frame_bytes), copy.rows) for pieces in copy.run(["COPY t TO STDOUT"] * statements)]


def joined(pieces: Iterator[memoryview], frame_bytes: int) -> bytes:
    """Copy pieces as they come, for they are valid until the next one; all but the last have the frame's size."""
    copies = [bytes(piece) for piece in pieces]
    assert {len(copy) for copy in copies[:-1]} <= {frame_bytes}
    assert b"" not in copies
    return b"".join(copies)


@contextmanager
def block_size(size: int) -> Iterator[None]:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(copy_out, "_BLOCK_BYTES", size)
        yield


# Without NUL and line feed, as COPY escapes them; lengths of 5 and 2,554 put line feeds into headers.
ROWS = st.lists(
    st.one_of(
        st.binary(max_size=12).map(lambda row: row.replace(b"\0", b"d").replace(b"\n", b"d")),
        st.sampled_from([b"", b"d", b"x" * 5, b"x" * 261, b"x" * 2554, b"x" * 2600]),
    ),
    max_size=30,
)
OTHERS = st.lists(st.sampled_from([(b"N", NOTICE), (b"S", STATUS), (b"A", b"\0\0\0\1x\0y\0")]), max_size=3)


@given(
    st.lists(st.tuples(ROWS, OTHERS), min_size=1, max_size=4),
    st.lists(st.integers(1, 40), min_size=1),
    st.sampled_from([16, 4096]),
    st.sampled_from([1, 2, 7, 64, FRAME_BYTES]),
)
@example([([b"x" * 5] * 8, [(b"N", NOTICE)])], [5], 16, 1)
@example([([], []), ([b""], [])], [1], 4096, 2)
def test_the_rows_are_those_that_the_server_wrote(
    answers: list[tuple[list[bytes], list[tuple[bytes, bytes]]]], sizes: list[int], block_bytes: int, frame_bytes: int
) -> None:
    stream = b"".join(answer(rows, others) for rows, others in answers)

    with block_size(block_bytes):
        found = read(stream, sizes, len(answers), frame_bytes)

    assert found == [(b"".join(row + b"\n" for row in rows), len(rows)) for rows, _ in answers]


def test_a_row_far_bigger_than_the_buffer_passes_in_pieces() -> None:
    row = b"0123456789" * 1_000_000
    channel = Recorded(answer([row, b"small"]), iter([2**30] * 1000))

    copy = CopyOut(channel, memoryview(bytearray(FRAME_BYTES)))  # type: ignore[arg-type]
    found = [joined(pieces, FRAME_BYTES) for pieces in copy.run(["COPY t TO STDOUT"])]

    assert found == [row + b"\nsmall\n"]
    assert len(copy._buffer) == 256 * 1024


def error(severity: bytes, code: bytes, text: bytes) -> bytes:
    fields = {b"S": severity, b"V": severity, b"C": code, b"M": text, b"D": b"Key (email)=(ada@example.com)"}
    return message(b"E", b"".join(name + value + b"\0" for name, value in fields.items()) + b"\0")


def test_a_session_continues_after_a_statement_that_failed() -> None:
    """What was sent behind it is refused by the server, and answered before anything else is."""
    failed = error(b"ERROR", b"57014", b"canceling statement due to user request") + message(b"Z", b"E")
    refused = error(b"ERROR", b"25P02", b"current transaction is aborted") + message(b"Z", b"E")
    rows = message(b"H", b"\0\0\1\0\0") + message(b"d", b"lost\n")
    back = message(b"C", b"ROLLBACK\0") + message(b"C", b"RELEASE\0") + message(b"Z", b"T")
    several = message(b"C", b"SAVEPOINT\0") + message(b"C", b"LOCK TABLE\0") + answer([b"x", b"y"])
    channel = Recorded(rows + failed + refused * 2 + back + several, iter([7] * 10_000))
    copy = CopyOut(channel, memoryview(bytearray(FRAME_BYTES)))  # type: ignore[arg-type]

    with pytest.raises(QueryFailedError, match="57014"):
        joined(next(copy.run(["COPY t TO STDOUT"] * 3)), FRAME_BYTES)
    copy.settle()

    assert [joined(pieces, FRAME_BYTES) for pieces in copy.run(["ROLLBACK"])] == [b""]
    assert copy.rows == 0
    assert [joined(pieces, FRAME_BYTES) for pieces in copy.run(["SAVEPOINT"])] == [b"x\ny\n"]
    assert copy.rows == 2


def test_what_the_server_says_in_the_middle_is_raised_without_values_of_rows() -> None:
    begun = message(b"H", b"\0\0\1\0\0") + message(b"d", b"row\n")
    stream = begun + error(b"ERROR", b"22P02", b"bad luck") + message(b"Z", b"E")

    copy = CopyOut(Recorded(stream, itertools.repeat(7)), memoryview(bytearray(FRAME_BYTES)))  # type: ignore[arg-type]
    pieces = next(copy.run(["COPY t TO STDOUT"]))
    assert bytes(next(pieces)) == b"row\n"  # what came before it
    with pytest.raises(QueryFailedError) as caught:
        next(pieces)

    assert str(caught.value) == "ERROR: bad luck (SQLSTATE 22P02)"


def test_the_servers_last_words_are_the_reason_of_a_connection_that_ends() -> None:
    stream = error(b"FATAL", b"57P01", b"terminating connection due to administrator command")

    with pytest.raises(QueryFailedError, match="administrator command"):
        read(stream, [7])


@pytest.mark.parametrize("cut", [1, 12, 20, 33, 50])
def test_a_stream_that_ends_early_is_an_error(cut: int) -> None:
    whole = answer([b"one", b"two", b"three"])

    with pytest.raises(psycopg2.OperationalError, match="closed the connection"):
        read(whole[:-cut], [1000])


def test_another_count_than_the_servers_is_an_error() -> None:
    stream = answer([b"one", b"two"]).replace(b"COPY 2", b"COPY 3")

    with pytest.raises(IntegrityError) as caught:
        read(stream, [1000])

    assert caught.value.code == "ROWS_MISCOUNTED"


@pytest.mark.parametrize("length", [0, 1, 3])
@pytest.mark.parametrize("kind", [b"d", b"C", b"S"])
def test_a_message_shorter_than_its_own_length_is_an_error(kind: bytes, length: int) -> None:
    stream = message(b"H", b"\0\0\1\0\0") + kind + length.to_bytes(4, "big") + answer([b"one"])

    with pytest.raises(IntegrityError) as caught:
        read(stream, [1000])

    assert caught.value.code == "PROTOCOL_VIOLATED"


def test_a_message_of_gigabytes_is_an_error_before_memory_is_taken_for_it() -> None:
    stream = message(b"H", b"\0\0\1\0\0") + b"N" + (2**31 - 1).to_bytes(4, "big") + answer([b"one"])

    with pytest.raises(IntegrityError) as caught:
        read(stream, [1000])

    assert caught.value.code == "PROTOCOL_VIOLATED"


def test_a_row_of_gigabytes_that_never_comes_is_a_connection_that_ends() -> None:
    stream = message(b"H", b"\0\0\1\0\0") + b"d" + (2**32 - 1).to_bytes(4, "big") + b"x" * 10_000

    with pytest.raises(psycopg2.OperationalError, match="closed the connection"):
        read(stream, [1000])


def test_a_long_message_between_rows_is_read_whole() -> None:
    notice = b"SNOTICE\0M" + b"x" * 1_000_000 + b"\0\0"

    assert read(answer([b"one", b"two"], [(b"N", notice)]), [100_000]) == [(b"one\ntwo\n", 2)]


@pytest.mark.parametrize(("length", "ahead"), [(100, 77), (5000, 1), (100_000, 1)])
def test_statements_are_sent_ahead_as_far_as_any_socket_takes_them(length: int, ahead: int) -> None:
    """The server reads no statement while it waits for somebody to take its rows: more could never end."""
    statements = ["x" * length] * 200
    channel = Recorded(answer([b"row"]) * 200, iter([2**20] * 1000))
    copy = CopyOut(channel, memoryview(bytearray(FRAME_BYTES)))  # type: ignore[arg-type]

    for number, pieces in enumerate(copy.run(statements)):
        assert len(channel.sent) == min(number + ahead, 200)
        assert joined(pieces, FRAME_BYTES) == b"row\n"

    assert channel.sent == [copy_out._query(text) for text in statements]
