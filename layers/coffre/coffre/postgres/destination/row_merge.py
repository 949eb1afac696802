"""A table and its staged version from the backup: comparing them by key, and merging rows."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

import psycopg2.extensions
from psycopg2 import sql

from coffre.model.names import TableName
from coffre.model.row_filter import RowFilter
from coffre.postgres.destination.live_tables import KeyColumn, LiveTable
from coffre.postgres.destination.owners_code import as_the_owner_has_it, owners_path
from coffre.postgres.destination.row_filter import condition


@dataclass(frozen=True)
class Pair:
    """A live table and its version from the backup.

    Parameters
    ----------
    side, before
        Where the backup's rows are, in columns with the names of the backup, and where live rows that change are kept.
    columns
        Those that both have and that rows can say.
    rows
        Which rows of the live table are compared; None: all.
    """

    live: LiveTable
    side: TableName
    before: TableName
    columns: tuple[str, ...]
    rows: RowFilter | None = None

    @property
    def key(self) -> tuple[KeyColumn, ...]:
        """What tells rows apart: the live table's key, empty when it has none or the backup lacks a column of it."""
        return self.live.key if all(column.name in self.columns for column in self.live.key) else ()

    def statement(self, template: str, **more: sql.Composable) -> sql.Composed:
        """Fill a statement in which the live table, which has a key, is `l` and the other one is `s`."""
        only = "ONLY {}" if self.live.kind == "r" else "{}"
        return sql.SQL(template).format(
            table=self.live.identifier,
            live=sql.SQL(only).format(self.live.identifier),
            key=sql.Identifier(self.live.key[0].name),
            side=sql.Identifier(*self.side),
            columns=_listed(self.columns),
            side_columns=_listed(self.columns, "s"),
            same_key=sql.SQL(" AND ").join(
                sql.SQL("l.{0} OPERATOR({1}.=) s.{0}").format(
                    sql.Identifier(column.name), sql.Identifier(column.operator_schema)
                )
                for column in self.live.key
            ),
            # Images of rows: every type has one, not every type has an equality, and 1.0 is not 1.00.
            differ=sql.SQL("ROW({})::pg_catalog.record OPERATOR(pg_catalog.*<>) ROW({})::pg_catalog.record").format(
                _listed(self.columns, "s"), _listed(self.columns, "l")
            ),
            scope=condition(self.rows) if self.rows else sql.SQL("true"),
            **more,
        )


@dataclass(frozen=True)
class MergeCounts:
    """How the two versions differ, in rows: `missing` are in the backup only, `extra` in the live table only."""

    missing: int
    changed: int
    same: int
    extra: int


def compare(cursor: psycopg2.extensions.cursor, pair: Pair) -> MergeCounts:
    """Count the differences."""
    with owners_path(cursor):
        cursor.execute(pair.statement(_COMPARE))
        missing, changed, same = cursor.fetchall()[0]
        cursor.execute(pair.statement(_EXTRA))
        ((extra,),) = cursor.fetchall()
    return MergeCounts(int(missing), int(changed), int(same), int(extra))


def differing_columns(cursor: psycopg2.extensions.cursor, pair: Pair) -> tuple[str, ...]:
    """Return the columns in which any two rows with the same key differ."""
    tests = sql.SQL(", ").join(
        sql.SQL(
            "pg_catalog.bool_or(ROW(s.{0})::pg_catalog.record OPERATOR(pg_catalog.*<>) ROW(l.{0})::pg_catalog.record)"
        ).format(sql.Identifier(name))
        for name in pair.columns
    )
    with owners_path(cursor):
        cursor.execute(pair.statement(_DIFFERING, tests=tests))
        (found,) = cursor.fetchall()
    return tuple(column for column, differs in zip(pair.columns, found, strict=True) if differs)


def lock(cursor: psycopg2.extensions.cursor, pair: Pair) -> None:
    """Keep the live table as it is until the end of the transaction; reading it stays possible."""
    cursor.execute(pair.statement("LOCK TABLE {table} IN SHARE ROW EXCLUSIVE MODE"))


def keep_before(cursor: psycopg2.extensions.cursor, pair: Pair, *, with_extra: bool) -> int:
    """Copy the live rows that are about to be changed (and deleted) to a new table, and return how many they are."""
    more = "OR s.{} IS NOT DISTINCT FROM NULL" if with_extra else ""
    statement = pair.statement(
        _BEFORE,
        before=sql.Identifier(*pair.before),
        more=sql.SQL(more).format(sql.Identifier(pair.live.key[0].name)),
    )
    with owners_path(cursor):
        cursor.execute(statement)
        return cursor.rowcount


def insert_missing(cursor: psycopg2.extensions.cursor, pair: Pair) -> int:
    """Insert the rows that only the backup has."""
    return _change(cursor, pair.statement(_INSERT))


def update_changed(cursor: psycopg2.extensions.cursor, pair: Pair) -> int:
    """Set the rows that differ back to the backup's version."""
    key = {column.name for column in pair.live.key}
    fixed = {column.name for column in pair.live.columns if column.is_always_identity}
    settable = [column for column in pair.columns if column not in key and column not in fixed]
    if not settable:
        return 0
    return _change(cursor, pair.statement(_UPDATE, assigned=_listed(settable), values=_listed(settable, "s")))


def delete_extra(cursor: psycopg2.extensions.cursor, pair: Pair) -> int:
    """Delete the rows that the backup does not have."""
    return _change(cursor, pair.statement(_DELETE))


def _change(cursor: psycopg2.extensions.cursor, statement: sql.Composed) -> int:
    with as_the_owner_has_it(cursor):
        cursor.execute(statement)
        return cursor.rowcount


def check_constraints(cursor: psycopg2.extensions.cursor) -> None:
    """Check what was put off, and fire what is to fire at the end of the transaction."""
    with as_the_owner_has_it(cursor):
        cursor.execute("SET CONSTRAINTS ALL IMMEDIATE")


def replace_rows(cursor: psycopg2.extensions.cursor, pair: Pair) -> tuple[int, int]:
    """Delete the rows that differ, and insert them and the missing ones as the backup has them, in one statement.

    So all unique values are free before the first of them is taken, and foreign keys are checked when all rows are
    back. What the backup does not have of a row stays as it is. Returns the numbers of missing and of differing rows.
    """
    own = [column.name for column in pair.live.columns if not column.is_generated]
    statement = pair.statement(
        _REPLACE,
        own=_listed(own),
        values=sql.SQL(", ").join(sql.Identifier("s" if name in pair.columns else "l", name) for name in own),
    )
    with as_the_owner_has_it(cursor):
        cursor.execute(statement)
        ((inserted, updated),) = cursor.fetchall()
    return int(inserted), int(updated)


def advance_sequences(cursor: psycopg2.extensions.cursor, pair: Pair) -> None:
    """Let the sequences of the table's columns stand beyond the backup's rows. They never go back."""
    cursor.execute(_SEQUENCES, (pair.live.identifier.as_string(cursor),))
    for column, schema, sequence, is_rising, end in cursor.fetchall():
        if column in pair.columns:
            name = sql.Identifier(schema, sequence)
            cursor.execute(
                pair.statement(
                    _ADVANCE,
                    column=sql.Identifier(column),
                    sequence=name,
                    name=sql.Literal(name.as_string(cursor)),
                    furthest=sql.SQL("max" if is_rising else "min"),
                    between=sql.SQL("q.last_value AND {}" if is_rising else "{} AND q.last_value").format(
                        sql.Literal(end)
                    ),
                )
            )


def _listed(columns: tuple[str, ...] | list[str], alias: str | None = None) -> sql.Composable:
    return sql.SQL(", ").join(sql.Identifier(*filter(None, (alias, column))) for column in columns)


# These are executed under the database's own path (owners_code.py): every name has its schema. `IS DISTINCT FROM NULL`
# looks for no operator, unlike any other `IS DISTINCT FROM`.
# A key column is never NULL, so it tells whether there is a row on the other side. `IS NULL` would also be true of a
# composite value of which all fields are.
_COMPARE: Final = """
SELECT pg_catalog.count(*) FILTER (WHERE l.{key} IS NOT DISTINCT FROM NULL),
       pg_catalog.count(*) FILTER (WHERE l.{key} IS DISTINCT FROM NULL AND {differ}),
       pg_catalog.count(*) FILTER (WHERE l.{key} IS DISTINCT FROM NULL AND NOT {differ})
FROM {side} s LEFT JOIN {live} l ON {same_key}
"""
_EXTRA: Final = """
SELECT pg_catalog.count(*) FROM {live} l WHERE {scope} AND NOT EXISTS (SELECT FROM {side} s WHERE {same_key})
"""
_DIFFERING: Final = "SELECT {tests} FROM {side} s JOIN {live} l ON {same_key} WHERE {differ}"
_BEFORE: Final = """
CREATE TABLE {before} AS
SELECT l.* FROM {live} l LEFT JOIN {side} s ON {same_key} WHERE s.{key} IS DISTINCT FROM NULL AND {differ} {more}
"""
_INSERT: Final = """
INSERT INTO {table} ({columns}) OVERRIDING SYSTEM VALUE
SELECT {side_columns} FROM {side} s WHERE NOT EXISTS (SELECT FROM {live} l WHERE {same_key})
"""
_UPDATE: Final = """
UPDATE {live} l SET ({assigned}) = ROW({values}) FROM {side} s WHERE {same_key} AND {differ}
"""
# The count of the deleted rows is no condition but an order: it is known when all of them are deleted.
_REPLACE: Final = """
WITH gone AS (DELETE FROM {live} l USING {side} s WHERE {same_key} AND {differ} RETURNING l.*),
again AS (
    INSERT INTO {table} ({own}) OVERRIDING SYSTEM VALUE SELECT {values} FROM gone l JOIN {side} s ON {same_key}
    WHERE (SELECT pg_catalog.count(*) FROM gone) OPERATOR(pg_catalog.>=) 0 RETURNING 1),
more AS (
    INSERT INTO {table} ({columns}) OVERRIDING SYSTEM VALUE SELECT {side_columns} FROM {side} s
    WHERE (SELECT pg_catalog.count(*) FROM gone) OPERATOR(pg_catalog.>=) 0
      AND NOT EXISTS (SELECT FROM {live} l WHERE {same_key}) RETURNING 1)
SELECT (SELECT pg_catalog.count(*) FROM more), (SELECT pg_catalog.count(*) FROM again)
"""
_DELETE: Final = "DELETE FROM {live} l WHERE NOT EXISTS (SELECT FROM {side} s WHERE {same_key})"
_ADVANCE: Final = """
SELECT setval({name}::regclass, newest.value)
FROM (SELECT {furthest}({column}) AS value FROM {side} s) AS newest, {sequence} AS q
WHERE newest.value BETWEEN {between}
"""
# Sequences of a column of integers: whether each counts upwards, and how far it can.
_SEQUENCES: Final = """
SELECT a.attname, n.nspname, c.relname, s.seqincrement > 0, CASE WHEN s.seqincrement > 0 THEN s.seqmax ELSE s.seqmin END
FROM pg_depend d
JOIN pg_sequence s ON s.seqrelid = d.objid
JOIN pg_class c ON c.oid = s.seqrelid JOIN pg_namespace n ON n.oid = c.relnamespace
JOIN pg_attribute a ON a.attrelid = d.refobjid AND a.attnum = d.refobjsubid
WHERE d.classid = 'pg_class'::regclass AND d.refclassid = 'pg_class'::regclass AND d.deptype IN ('a', 'i')
  AND d.refobjid = %s::regclass
  AND a.atttypid IN ('smallint'::regtype, 'integer'::regtype, 'bigint'::regtype)
"""
