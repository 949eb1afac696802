"""The text of a COPY becomes the stored form of lines, wherever it is cut and however long a line is."""

from __future__ import annotations

import re
from collections.abc import Iterator

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from coffre.model.errors import JournalError
from coffre.model.journal_lines import pieces_of
from coffre.postgres.archive import sql_ascii
from coffre.postgres.journal import slot_changes

# What PostgreSQL writes for these in a COPY; any other character comes as it is.
LETTERS = {"\\": "\\\\", "\b": "\\b", "\f": "\\f", "\n": "\\n", "\r": "\\r", "\t": "\\t", "\v": "\\v"}
TEXTS = st.lists(st.sampled_from(["\\", "v", '"', ",", "é", "🙂", "x" * 9, *LETTERS, "\x01", "\x1f", "\x7f"])).map(
    "".join
)
LINES = st.lists(st.tuples(st.integers(0, 1 << 62), st.integers(0, (1 << 32) - 1), TEXTS), max_size=6)


def copied(lines: list[tuple[int, int, str]]) -> bytes:
    escaped = [(lsn, xid, "".join(LETTERS.get(character, character) for character in text)) for lsn, xid, text in lines]
    return "".join(f"{lsn}\t,\t{xid}\t{text}\n" for lsn, xid, text in escaped).encode()


def stored(text: bytes, sizes: list[int], encoding: str = "utf_8") -> list[bytes]:
    found, start, number = list[bytes](), 0, 0
    made = slot_changes._Text(encoding)
    while start < len(text):
        end = start + sizes[number % len(sizes)]
        found += made.pieces(memoryview(text[start:end]))
        start, number = end, number + 1
    made.end()
    return found


@given(LINES, st.lists(st.integers(1, 60), min_size=1, max_size=5), st.sampled_from([40, 1000]))
@example([(1, 2, "\\" * 50 + "\v")], [1], 40)
@example([(1, 2, "é" * 50 + "\\v\v"), (3, 4, "")], [7], 40)
def test_the_text_of_a_copy_becomes_that_of_the_vault(
    lines: list[tuple[int, int, str]], sizes: list[int], long: int
) -> None:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(slot_changes, "LONG_LINE_BYTES", long)
        pieces = stored(copied(lines), sizes)
    expected = b"".join(pieces_of(lines))
    assert b"".join(pieces) == expected
    assert b"" not in pieces
    assert list(slot_changes.whole_lines(pieces)) == expected.split(b"\n")[:-1]
    begins = True
    for piece in pieces:  # several pieces are of one long line; the others have whole lines
        if not begins or not piece.endswith(b"\n"):
            assert piece.count(b"\n") == piece.endswith(b"\n")
            assert not begins or len(piece) >= long - 2
        begins = piece.endswith(b"\n")
    if long == 1000 and all(len(text) < 100 for _, _, text in lines):
        assert all(piece.endswith(b"\n") for piece in pieces)


def test_bytes_that_are_no_text_are_refused_or_written_in_another_way() -> None:
    sql_ascii.register()
    for damaged in (b"1\t,\t2\tx\xff\n", b"1\t,\t2\tx\xc3\n", b"1\t,\t2\t\xed\xa0\x80\n", b"1\t,\t2\tx\xc3"):
        with pytest.raises(UnicodeDecodeError):
            stored(damaged, [3])
    text = b'1\t,\t2\t\xc3\xa9 \xff "\\\\ \x02\n'
    [piece] = stored(text, [4], sql_ascii.CODEC)
    assert piece == b"".join(pieces_of([(1, 2, 'é \uefff "\\ \x02')]))
    assert re.search("\uefff", piece.decode())


@pytest.mark.parametrize("size", [1, 7, 12, 1000])
@pytest.mark.parametrize("wrong", [b"\xff", b"\xc3("])
def test_lines_before_one_that_is_no_text_are_given_out(wrong: bytes, size: int) -> None:
    lines = [(1, 2, "é"), (3, 4, "x\\y"), (5, 6, "")]
    text, found = copied(lines) + b"7\t,\t8\tx" + wrong + b"\n" + copied(lines), list[bytes]()
    made = slot_changes._Text("utf_8")
    rows = (memoryview(text[start : start + size]) for start in range(0, len(text), size))
    pieces = (piece for part in rows for piece in made.pieces(part))
    with pytest.raises(UnicodeDecodeError):
        found.extend(pieces)
    assert b"".join(found) == b"".join(pieces_of(lines))


def test_lines_before_one_that_cannot_be_read_are_given_out() -> None:
    def lines() -> Iterator[tuple[int, int, str]]:
        yield 1, 2, "x"
        raise JournalError("no text", code="JOURNAL_UNREADABLE")

    found = pieces_of(lines())
    assert next(found) == b'[1,2,"x"]\n'
    with pytest.raises(JournalError, match="no text"):
        next(found)
