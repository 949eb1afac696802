"""Both ways of taking rows out of messages: the same bytes and counts, and not a byte outside of the room."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from coffre.model.errors import IntegrityError
from coffre.postgres.source.copy_framing import LIBRARY, CompiledRows, RegexRows, Rows, load, rows_of_a_stream

CANARY = 0xA5
pytestmark = pytest.mark.usefixtures("copydata")


def compiled() -> CompiledRows:
    return CompiledRows(load(LIBRARY))


WAYS: list[Callable[[], Rows]] = [compiled, RegexRows]


def message(row: bytes) -> bytes:
    return b"d" + (len(row) + 4).to_bytes(4, "big") + row


def take_all(rows: Rows, stream: bytes, block_bytes: int, room_bytes: int) -> tuple[bytes, int, bytes]:
    """Return the text, the number of rows, and what was left over; canaries around the room must survive."""
    text, start = b"", 0
    source = bytearray(stream)
    while start < len(source):
        surrounded = bytearray([CANARY]) * (room_bytes + 32)
        end = min(start + block_bytes, len(source))
        taken, given = rows.take(source, start, end, memoryview(surrounded)[16 : 16 + room_bytes])
        if not taken:
            if end == len(source):
                break
            block_bytes += 1  # a header that was cut: the caller has more by then
            continue
        assert (taken, given) <= (end - start, room_bytes)
        assert set(surrounded[:16] + surrounded[16 + given :]) == {CANARY}
        text += surrounded[16 : 16 + given]
        start += taken
    assert source == stream
    return text, rows.ended, bytes(source[start:])


ROWS = st.lists(st.binary(max_size=20).map(lambda row: row.translate(None, b"\0\n") + b"\n"), max_size=20)
SIZES = st.integers(5, 60), st.integers(1, 60)


@given(ROWS, *SIZES)
@example([b"x" * 5 + b"\n"] * 3, 5, 1)
@example([b"x" * 2553 + b"\n"] * 3, 5000, 5000)
def test_both_give_the_same_bytes_and_the_same_number_of_rows(rows: list[bytes], block: int, room: int) -> None:
    stream = b"".join(map(message, rows)) + b"c\0\0\0\4"

    found = [take_all(way(), stream, block, room) for way in WAYS]

    assert found == [(b"".join(rows), len(rows), b"c\0\0\0\4")] * 2


@given(st.binary(max_size=200), *SIZES)
@example(b"d\xff\xff\xff\xff" + b"x" * 100, 60, 10)
@example(b"d\0\0\0\4" * 9 + b"d\0\0\0\5\n", 5, 1)
def test_whatever_a_server_sends_no_byte_is_written_outside_of_the_room(noise: bytes, block: int, room: int) -> None:
    stream = b"d\0\0\0\x06x\n" + noise.replace(b"\xaa", b"d\0\0\0")

    text, ended, _ = take_all(compiled(), stream, block, room)

    assert ended <= 1 + text.count(b"\n")


@pytest.mark.parametrize("length", [0, 1, 2, 3])
def test_a_length_that_no_message_can_have_is_left_to_the_caller(length: int) -> None:
    noise = b"d" + length.to_bytes(4, "big") + b"x\n"

    assert take_all(compiled(), message(b"a\n") + noise, 100, 100) == (b"a\n", 1, noise)


def test_a_row_that_does_not_end_with_a_line_feed_is_none() -> None:
    stream = message(b"a\n") + message(b"b") + message(b"") + message(b"c\n")

    assert take_all(compiled(), stream, 100, 100) == (b"a\nbc\n", 2, b"")


def test_a_nul_in_a_row_is_an_error_where_line_feeds_are_what_is_looked_for() -> None:
    with pytest.raises(IntegrityError) as caught:
        take_all(RegexRows(), message(b"a\0") + message(b"b"), 100, 100)

    assert caught.value.code == "PROTOCOL_VIOLATED"


def test_the_library_is_taken_where_it_is_and_the_expression_where_it_is_not(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    damaged = tmp_path / "damaged.so"
    damaged.write_bytes(b"\x7fELF")

    assert isinstance(rows_of_a_stream(), CompiledRows)
    for path in (tmp_path / "nothing.so", damaged):
        monkeypatch.setattr("coffre.postgres.source.copy_framing.LIBRARY", path)
        assert isinstance(rows_of_a_stream(), RegexRows)
