"""Messages of pgoutput are the lines that test_decoding prints, and what is not understood is refused."""

import struct
from datetime import UTC, datetime

import pytest

from coffre.model.errors import JournalError
from coffre.postgres.journal.changes import Commit, Delete, Insert, Row, Truncate, Unchanged, Update
from coffre.postgres.journal.pgoutput import Message, lines_of
from coffre.postgres.journal.test_decoding import decode

_BEGIN = b"B" + struct.pack(">QqI", 50, 0, 7)
_COMMIT = b"C" + struct.pack(">BQQq", 0, 50, 60, 1_500_000)
_BOOLEAN, _TEXT = 16, 25


def relation(oid: int, schema: bytes, name: bytes, *columns: tuple[bytes, int]) -> bytes:
    listed = b"".join(b"\1" + column + b"\0" + struct.pack(">Ii", kind, -1) for column, kind in columns)
    return b"R" + struct.pack(">I", oid) + schema + b"\0" + name + b"\0d" + struct.pack(">H", len(columns)) + listed


def row(letter: bytes, *values: bytes | None) -> bytes:
    """A tuple; None is NULL, and `u` a large value that did not change."""

    def sent(value: bytes | None) -> bytes:
        if value is None or value == b"u":
            return value or b"n"
        return b"t" + struct.pack(">I", len(value)) + value

    return letter + struct.pack(">H", len(values)) + b"".join(map(sent, values))


TABLE = relation(9, b"public", b"t", (b"id", 23), (b"Odd \"n'", _TEXT), (b"ok", _BOOLEAN))
OTHER = relation(10, b"", b"select")
ON_TABLE = struct.pack(">I", 9)
CHANGES = (
    b"I" + ON_TABLE + row(b"N", b"1", "it's é".encode(), b"t"),
    b"U" + ON_TABLE + row(b"N", b"1", b"u", b"f"),
    b"U" + ON_TABLE + row(b"K", b"1", None, None) + row(b"N", b"2", b"", None),
    b"D" + ON_TABLE + row(b"O", b"2", None, b"f"),
    b"T" + struct.pack(">IBII", 2, 3, 9, 10),
)


def messages(*data: bytes) -> list[Message]:
    return [Message(number, 0, one) for number, one in enumerate(data, start=30)]


def test_changes_are_those_that_test_decoding_would_say() -> None:
    lines = list(lines_of(messages(_BEGIN, b"Oorigin", TABLE, OTHER, *CHANGES, _COMMIT), "utf-8"))

    names = ("id", "Odd \"n'", "ok")
    table = ("public", "t")
    assert {line.xid for line in lines} == {7}
    assert list(decode(lines))[1:] == [
        Insert(table, Row(names, ("1", "it's é", "true"))),
        Update(table, None, Row(names, ("1", Unchanged.TOAST, "false"))),
        Update(table, Row(("id",), ("1",)), Row(names, ("2", "", None))),
        Delete(table, Row(("id", "ok"), ("2", "false"))),
        Truncate((table, ("pg_catalog", "select")), cascade=True, restarts_sequences=True),
        Commit(7, 60, datetime(2000, 1, 1, 0, 0, 1, 500_000, tzinfo=UTC)),
    ]


def test_a_transaction_without_a_change_is_none() -> None:
    assert list(lines_of(messages(_BEGIN, TABLE, b"Mmessage", _COMMIT), "utf-8")) == []


def test_what_is_not_understood_is_refused_without_its_values() -> None:
    cut = [change[:length] for change in CHANGES for length in range(1, len(change))]
    for wrong in (b"", b"S\0", TABLE[:9], b"I" + struct.pack(">I", 8), *cut):
        with pytest.raises(JournalError) as caught:
            list(lines_of(messages(_BEGIN, TABLE, OTHER, wrong, _COMMIT), "utf-8"))
        assert caught.value.code == "JOURNAL_UNREADABLE"
        assert "it's" not in str(caught.value)
