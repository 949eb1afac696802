"""The text of the output plugin `test_decoding`, which every PostgreSQL has.

The session that reads it has the settings of `connect`, and asks for the times of commits (`include-timestamp`).
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Final, NamedTuple

from coffre.model.errors import JournalError
from coffre.model.names import TableName
from coffre.postgres.journal.changes import (
    Begin,
    Change,
    Commit,
    Delete,
    Insert,
    Line,
    Row,
    RowChange,
    Truncate,
    Unchanged,
    Update,
    Value,
    lsn_text,
)

PLUGIN: Final = "test_decoding"

# Quoted by PostgreSQL's quote_identifier: what is not quoted is plain ASCII.
_NAME: Final = r'(?:[a-z_][a-z0-9_]*+|"[^"]*+(?:""[^"]*+)*+")'
_TABLE: Final = rf"({_NAME})\.({_NAME})"
_HEAD: Final = re.compile(rf"table {_TABLE}: (INSERT|UPDATE|DELETE):")
_TRUNCATE: Final = re.compile(rf"table ({_NAME}\.{_NAME}(?:, {_NAME}\.{_NAME})*+): TRUNCATE:( [a-z_() -]+)")
_TABLES: Final = re.compile(_TABLE)
# The name of a type may need quotes too, and ends with [] for an array.
_TYPE: Final = r'(?:[^"\[\]]|"[^"]*+(?:""[^"]*+)*+"|\[\])*+'
_VALUE: Final = r"('[^']*+(?:''[^']*+)*+'|B'[01]*+'|[^ ']++)"
_COLUMN: Final = re.compile(rf" ({_NAME})\[({_TYPE})\]:{_VALUE}")
# What a column of a type looks like: the group is the value, and takes no part where that is NULL. A value that was not
# logged again fits none of them.
_NUMBER: Final = r"(?:null|((?!u)[^ ']++))"
_BITS: Final = r"(?:null|B'([01]*+)')"
_QUOTED: Final = r"(?:null|'([^']*+(?:''[^']*+)*+)')"
_BARE_TYPES: Final = dict.fromkeys(
    ("smallint", "integer", "bigint", "oid", "real", "double precision", "numeric", "boolean"), _NUMBER
) | {"bit": _BITS, "bit varying": _BITS}
_BEGIN: Final = re.compile(r"BEGIN (\d+)")
_COMMIT: Final = re.compile(r"COMMIT (\d+) \(at (\d{4,}-\d\d-\d\d \d\d:\d\d:\d\d(?:\.\d{1,6})?)\+00\)")
_COLON: Final = ": "
_KIND_LENGTH: Final = len(": INSERT:")
_OLD_KEY: Final = " old-key:"
_NEW_TUPLE: Final = " new-tuple:"
_NO_DATA: Final = " (no-tuple-data)"
_MESSAGE: Final = "message: "
_SHOWN: Final = 60
# Forms of rows that are remembered; a stream with more of them is read correctly, and slower.
_MOST_FORMS: Final = 4096
# A named tuple's own constructor is a function in Python, and takes as long as half a line.
_new: Final = tuple.__new__


class _Form(NamedTuple):
    """What lines that begin in the same way look like: one expression for all columns, a group for each."""

    fullmatch: Callable[[str, int], re.Match[str] | None]
    names: tuple[str, ...]


def decode(lines: Iterable[Line], *, is_wanted: Callable[[Begin], bool] = lambda _: True) -> Iterator[Change]:
    """Yield the changes of transactions in the order of their commits; no more than one line is held.

    Parameters
    ----------
    is_wanted
        Asked of each transaction; the others are passed over without a look at their rows.

    Raises
    ------
    JournalError
        `JOURNAL_UNREADABLE`: a line is not understood, or stands where it cannot.
    """
    change = _Reader().change
    begun: Begin | None = None
    wanted = False
    for line in lines:
        data = line.data
        if data.startswith("table "):
            if begun is None:
                raise unreadable(line, "a change stands outside of a transaction")
            if wanted:
                yield change(line)
        elif data.startswith("BEGIN"):
            if begun is not None:
                raise unreadable(line, f"the transaction {begun.xid} has not ended")
            begun = begin_of(line)
            wanted = is_wanted(begun)
            if wanted:
                yield begun
        elif data.startswith("COMMIT "):
            commit = commit_of(line)
            if begun is None or begun.xid != commit.xid:
                raise unreadable(line, f"the transaction {commit.xid} has not begun")
            if wanted:
                yield commit
            begun = None
        elif not data.startswith(_MESSAGE):
            raise unreadable(line, "no line of this kind is known")
    if begun is not None:
        raise JournalError(
            f"The journal ends within the transaction {begun.xid}, which began at {lsn_text(begun.lsn)}.",
            code="JOURNAL_UNREADABLE",
            hint="The segment is incomplete: read it again from the vault or from a copy.",
        )


def begin_of(line: Line) -> Begin:
    """Return a line that begins a transaction.

    Raises
    ------
    JournalError
        `JOURNAL_UNREADABLE`
    """
    found = _BEGIN.fullmatch(line.data)
    if found is None:
        raise unreadable(line, "the line lacks the transaction's number")
    return Begin(int(found[1]), line.lsn)


def commit_of(line: Line) -> Commit:
    """Return a line that ends a transaction.

    Raises
    ------
    JournalError
        `JOURNAL_UNREADABLE`: a prepared transaction of a slot with `two_phase`, or a time that is not in UTC.
    """
    found = _COMMIT.fullmatch(line.data)
    if found is None:
        raise unreadable(line, "the line lacks the transaction's number, or its time in UTC")
    return Commit(int(found[1]), line.lsn, datetime.fromisoformat(found[2]).replace(tzinfo=UTC))


def head_of(line: Line) -> tuple[int, tuple[TableName, ...]]:
    """Return the tables that a line with a change is about, and where the kind of the change follows, after `: `.

    Raises
    ------
    JournalError
        `JOURNAL_UNREADABLE`
    """
    if found := _HEAD.match(line.data):
        return found.end(2), ((_unquoted(found[1]), _unquoted(found[2])),)
    if found := _TRUNCATE.fullmatch(line.data):
        return found.end(1), tuple((_unquoted(schema), _unquoted(name)) for schema, name in _TABLES.findall(found[1]))
    raise unreadable(line, "neither a table nor a kind of change is recognized")


def unreadable(line: Line, why: str) -> JournalError:
    """Return the error of a line, without its values: what it says up to the first of them at most."""
    shown = line.data.split("[", 1)[0][:_SHOWN] if line.data.startswith("table ") else line.data.split(" ", 1)[0]
    where = f"at {lsn_text(line.lsn)}" if line.lsn else f"in the transaction {line.xid}"
    return JournalError(
        f'The journal is not understood {where} ("{shown[:_SHOWN]}"): {why}.',
        code="JOURNAL_UNREADABLE",
        hint="Report it; the next base is not affected.",
    )


@dataclass(slots=True)
class _Head:
    """How lines of a table and kind begin.

    Parameters
    ----------
    form
        What one of the last lines looked like, as far as there were two with the same columns.
    names
        The columns of the last line that had another form.
    """

    text: str
    table: TableName
    kind: str
    form: _Form | None = None
    names: tuple[str, ...] = ()


class _Reader:
    """Reads lines with changes, by the beginnings and the forms that it has seen."""

    def __init__(self) -> None:
        self._heads: dict[str, _Head] = {}
        # An expression costs as much as hundreds of rows.
        self._made: dict[tuple[str, tuple[str, ...]], _Form] = {}

    def change(self, line: Line) -> RowChange | Truncate:
        data = line.data
        # As long as a head whose names need no quotes. What is kept under it is the whole head, never a part of one.
        end = data.find(_COLON) + _KIND_LENGTH
        head = self._heads.get(data[:end])
        if head is None:
            found = _HEAD.match(data)
            if found is None:
                return self._truncate(line)
            end = found.end()
            head = self._head(found)
        if head.kind == "INSERT":
            new = self._row(line, head, end)
            if new is None:
                raise unreadable(line, "the new row is missing")
            return _new(Insert, (head.table, new))
        if head.kind == "DELETE":
            return _new(Delete, (head.table, self._row(line, head, end)))
        if not data.startswith(_OLD_KEY, end):
            return _new(Update, (head.table, None, self._row(line, head, end)))
        old, end = self._columns(line, end + len(_OLD_KEY))
        if not data.startswith(_NEW_TUPLE, end):
            raise unreadable(line, "the new row is missing")
        return Update(head.table, old, self._row(line, head, end + len(_NEW_TUPLE)))

    def _head(self, found: re.Match[str]) -> _Head:
        if len(self._heads) >= _MOST_FORMS:
            self._heads.clear()
        head = _Head(found[0], (_unquoted(found[1]), _unquoted(found[2])), found[3])
        return self._heads.setdefault(head.text, head)

    def _truncate(self, line: Line) -> Truncate:
        found = _TRUNCATE.fullmatch(line.data)
        if found is None:
            raise unreadable(line, "neither a table nor a kind of change is recognized")
        words = found[2].split()
        tables = tuple((_unquoted(schema), _unquoted(name)) for schema, name in _TABLES.findall(found[1]))
        return Truncate(tables, "cascade" in words, "restart_seqs" in words)

    def _row(self, line: Line, head: _Head, start: int) -> Row | None:
        """Read the columns up to the end of the line; None when the server logged none."""
        data = line.data
        form = head.form
        if form is not None and (found := form.fullmatch(data, start)) is not None:
            values = found.groups()
            if "''" in data:
                values = tuple([value and value.replace("''", "'") for value in values])
            return _new(Row, (form.names, values))
        if data.startswith(_NO_DATA, start) and start + len(_NO_DATA) == len(data):
            return None
        row, end = self._columns(line, start)
        if end != len(data):
            raise unreadable(line, "a column is not understood")
        if form is not None and form.names == row.names:
            return Row(form.names, row.values)
        return Row(self._names(head, row.names, data, start), row.values)

    def _names(self, head: _Head, names: tuple[str, ...], data: str, start: int) -> tuple[str, ...]:
        """Return names to share, and expect further lines with these columns after the second one in succession."""
        if head.names != names:
            head.names = names
            return names
        head.form = self._made.get((head.text, names))
        if head.form is None:
            if len(self._made) >= _MOST_FORMS:
                self._made.clear()
            head.form = self._made[head.text, names] = _form_of(data, start, head.names)
        return head.form.names

    def _columns(self, line: Line, start: int) -> tuple[Row, int]:
        names, values = list[str](), list[Value]()
        while (found := _COLUMN.match(line.data, start)) is not None:
            names.append(_unquoted(found[1]))
            values.append(_value(found[3]))
            start = found.end()
        return Row(tuple(names), tuple(values)), start


def _form_of(data: str, start: int, names: tuple[str, ...]) -> _Form:
    parts = list[str]()
    while (found := _COLUMN.match(data, start)) is not None:
        parts.append(re.escape(data[found.start() : found.start(3)]) + _BARE_TYPES.get(found[2], _QUOTED))
        start = found.end()
    return _Form(re.compile("".join(parts)).fullmatch, names)


def _unquoted(name: str) -> str:
    return name[1:-1].replace('""', '"') if name.startswith('"') else name


def _value(raw: str) -> Value:
    if raw[0] == "'":
        return raw[1:-1].replace("''", "'")
    if raw == "null":
        return None
    if raw == "unchanged-toast-datum":
        return Unchanged.TOAST
    return raw[2:-1] if raw[0] == "B" else raw
