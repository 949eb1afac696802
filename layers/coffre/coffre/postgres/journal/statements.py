# ruff: noqa: S608 - names are quoted and values are literals, both here
"""Changes as statements for a restored database.

A session that runs them has the settings of `connect`. Every value is a string literal, in the text that the source
printed, and the column's own type reads it. Every name has its schema, so that a statement says the same under any
`search_path` (`search_path.py`).
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import suppress
from typing import Final, NamedTuple

from coffre.model.errors import JournalError
from coffre.model.names import TableName, qualified, quoted, shown
from coffre.postgres.journal.changes import Row, Truncate, Unchanged, Value
from coffre.postgres.journal.column_types import EQUAL, ColumnTypes
from coffre.postgres.journal.definitions import Table

type Values = Sequence[Value]

_BOOLEAN: Final = "pg_catalog.bool"
_NO_VALUE_HAS: Final = "\0"


class Statement(NamedTuple):
    """A statement, and the number of rows that it has to change; None when that is not known.

    Parameters
    ----------
    data
        What a `COPY` reads.
    one_by_one
        Makes the statements that do the same row by row, where these, in their order, may be possible alone.
    """

    sql: str
    rows: int | None
    table: TableName
    data: str | None = None
    one_by_one: Callable[[], list[Statement]] | None = None


def insert(table: Table, names: Sequence[str], rows: Sequence[Values]) -> list[Statement]:
    """Return the statements that add rows, of which all have these columns."""
    if not names:
        return [Statement(f"INSERT INTO {qualified(*table.name)} DEFAULT VALUES", 1, table.name)] * len(rows)
    columns = ", ".join(map(quoted, names))
    copy = f"COPY {qualified(*table.name)} ({columns}) FROM STDIN (FORMAT csv, QUOTE '''', NULL 'NULL')"
    return [Statement(copy, len(rows), table.name, "".join(_copied(rows, len(names))))]


def update(table: Table, names: Sequence[str], rows: Sequence[Values], types: ColumnTypes) -> Statement:
    """Return the statement that sets columns of rows with different keys; each has its values, then its key.

    The order matters where another column is unique too: a row may take the value that the one before it has left.
    """
    given = _given(table, [*names, *table.key], rows, types)
    sets = ", ".join(f"{quoted(name)} = v.c{place}" for place, name in enumerate(names))
    where = _where_given(table, len(names), types)
    return Statement(
        f"UPDATE ONLY {qualified(*table.name)} AS t SET {sets} FROM {given} WHERE {where}",
        len(rows),
        table.name,
        one_by_one=(lambda: [update(table, names, [row], types) for row in rows])
        if table.has_further_keys and len(rows) > 1
        else None,
    )


def delete(table: Table, keys: Sequence[Values], types: ColumnTypes) -> Statement:
    """Return the statement that removes the rows with these keys."""
    given = _given(table, table.key, keys, types)
    where = _where_given(table, 0, types)
    return Statement(
        f"DELETE FROM ONLY {qualified(*table.name)} AS t USING {given} WHERE {where}", len(keys), table.name
    )


def update_one(table: Table, old: Row, new: Row, types: ColumnTypes) -> Statement:
    """Return the statement that changes one row, its key too if that is another one."""
    name = qualified(*table.name)
    always = {column.name for column in table.columns if column.is_always_identity}
    given = [(name, value) for name, value in _stored(table, new) if value is not Unchanged.TOAST]
    if any(_is_changed(old, name, value) for name, value in given if name in always):
        return _replaced(table, old, new, types)
    sets = ", ".join(f"{quoted(name)} = {_literal(value)}" for name, value in given if name not in always)
    if not sets:
        return Statement(f"SELECT FROM ONLY {name} WHERE {_where(table, old, types)}", 1, table.name)
    return Statement(f"UPDATE ONLY {name} SET {sets} WHERE {_where(table, old, types)}", 1, table.name)


def delete_one(table: Table, old: Row, types: ColumnTypes) -> Statement:
    """Return the statement that removes one row; of several equal ones, any."""
    return Statement(f"DELETE FROM ONLY {qualified(*table.name)} WHERE {_where(table, old, types)}", 1, table.name)


def truncate(change: Truncate, tables: Sequence[Table], *, may_cascade: bool) -> Statement | None:
    """Return the statement that empties tables; None for partitioned ones alone, whose partitions are named too.

    A stream names each table that a CASCADE has emptied.

    The values of sequences are not part of a stream: it restarts none.
    """
    names = [f"ONLY {qualified(*table.name)}" for table in tables if not table.is_partitioned]
    if not names:
        return None
    cascade = " CASCADE" if change.cascade and may_cascade else ""
    return Statement(f"TRUNCATE {', '.join(names)}{cascade}", None, tables[0].name)


def _replaced(table: Table, old: Row, new: Row, types: ColumnTypes) -> Statement:
    """Remove the row and add it again: an UPDATE cannot set the column, and an INSERT can."""
    name = qualified(*table.name)
    values = _stored(table, new)
    columns = ", ".join(quoted(name) for name, _ in values)
    names = {column.name: column.type_name for column in table.columns}
    selected = ", ".join(
        f"gone.{quoted(name)}" if value is Unchanged.TOAST else f"{_literal(value)}::{names[name]}"
        for name, value in values
    )
    return Statement(
        f"WITH gone AS (DELETE FROM ONLY {name} WHERE {_where(table, old, types)} RETURNING *) "
        f"INSERT INTO {name} ({columns}) OVERRIDING SYSTEM VALUE SELECT {selected} FROM gone",
        1,
        table.name,
    )


def _stored(table: Table, row: Row) -> list[tuple[str, Value]]:
    """Return the columns of a row that can be written."""
    generated = {column.name for column in table.columns if column.generated}
    return [(name, value) for name, value in zip(row.names, row.values, strict=True) if name not in generated]


def _is_changed(old: Row, name: str, value: Value) -> bool:
    """Whether a column may have been changed: what identifies the row need not have it."""
    return name not in old.names or old.values[old.names.index(name)] != value


def _where(table: Table, old: Row, types: ColumnTypes) -> str:
    known = dict(zip(old.names, old.values, strict=True))
    if table.key:
        names = {column.name: column.type_name for column in table.columns}
        return " AND ".join(
            f"{quoted(name)} {types.equal(names[name])} {_literal(known.get(name))}::{names[name]}"
            for name in table.key
        )
    same = " AND ".join(
        _same(column.name, column.type_name, known.get(column.name)) for column in table.columns if not column.generated
    )
    return f"ctid {EQUAL} (SELECT ctid FROM ONLY {qualified(*table.name)} WHERE {same or 'true'} LIMIT 1)"


def _same(name: str, type_name: str, value: Value) -> str:
    """Compare by the printed text: not every type can be compared, and equal numbers need not be the same."""
    if value is None:
        return f"pg_catalog.num_nulls({quoted(name)}) {EQUAL} 1"  # a composite value of NULLs alone `IS NULL` as well
    if type_name == _BOOLEAN:  # printed as t and f here, as true and false in the stream
        return f"{quoted(name)} {EQUAL} {_literal(value)}"
    same = f"pg_catalog.format('%s', {quoted(name)}) {EQUAL} {_literal(value)} COLLATE pg_catalog.\"C\""
    return same if value else f"{same} AND pg_catalog.num_nulls({quoted(name)}) {EQUAL} 0"


def _given(table: Table, names: Sequence[str], rows: Sequence[Values], types: ColumnTypes) -> str:
    """Return rows as a table: of arrays, where the types of all columns have them, because these are read faster."""
    typed = {column.name: column.type_name for column in table.columns}
    columns = ", ".join(f"c{place}" for place in range(len(names)))
    if len(rows) > 1 and all(typed[name] in types.arrays for name in names):
        given = (
            f"pg_catalog.unnest({_array(column)}::{typed[name]}[])"
            for name, column in zip(names, zip(*rows, strict=True), strict=True)
        )
        return f"ROWS FROM ({', '.join(given)}) AS v ({columns})"
    # The types of the first row are those of all.
    first = ", ".join(f"{_literal(value)}::{typed[name]}" for name, value in zip(names, rows[0], strict=True))
    further = [f"({_literals(row)})" for row in rows[1:]]
    return f"(VALUES {', '.join([f'({first})', *further])}) AS v ({columns})"


def _array(values: Values) -> str:
    with suppress(TypeError):  # a value that is no text
        joined = _NO_VALUE_HAS.join(values)  # type: ignore[arg-type]
        if joined.count(_NO_VALUE_HAS) == len(values) - 1:
            return f"'{{{_element(joined).replace(_NO_VALUE_HAS, '","')}}}'"
    elements = [_element(value) if isinstance(value, str) else _literal(value) for value in values]
    return f"'{{{','.join(elements)}}}'"


def _element(value: str) -> str:
    quoted = value.replace("\\", "\\\\").replace('"', '\\"').replace("'", "''")
    return f'"{quoted}"'


def _where_given(table: Table, first: int, types: ColumnTypes) -> str:
    typed = {column.name: column.type_name for column in table.columns}
    return " AND ".join(
        f"t.{quoted(name)} {types.equal(typed[name])} v.c{first + place}" for place, name in enumerate(table.key)
    )


def _copied(rows: Sequence[Values], columns: int) -> Iterator[str]:
    """Yield the lines of a `COPY` whose quotes are SQL's."""
    between = 2 * (columns - 1)
    for row in rows:
        try:
            joined = "','".join(row)  # type: ignore[arg-type]
        except TypeError:  # one of them is no text
            yield f"{_literals(row)}\n"
            continue
        yield f"'{joined}'\n" if joined.count("'") == between else f"{_literals(row)}\n"


def _literals(values: Values) -> str:
    """Return values as a part of SQL, and as a line of a `COPY` whose quotes are SQL's."""
    return ",".join(
        [f"'{value.replace("'", "''")}'" if isinstance(value, str) else _literal(value) for value in values]
    )


def _literal(value: Value) -> str:
    if value is None:
        return "NULL"
    if value is Unchanged.TOAST:
        raise JournalError(
            "The journal leaves out a value that is needed: the text of a large value that did not change.",
            code="JOURNAL_UNREADABLE",
            hint="Only an UPDATE can leave values out, and never those of its key. Report this.",
        )
    return "'" + value.replace("'", "''") + "'"


def not_identified(table: TableName, what: str) -> JournalError:
    """Return the error of a change of a row that cannot be found."""
    return JournalError(
        f"The journal has {what} of the table {shown(*table)}, and not of which row.",
        code="JOURNAL_NO_IDENTITY",
        hint="Choose a moment before it, or a later backup. For the future give the table a primary key, or run:"
        f" ALTER TABLE {qualified(*table)} REPLICA IDENTITY FULL;",
    )
