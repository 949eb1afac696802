"""Loading rows into a destination by `COPY`, and what goes with them: sequences, materialized views, counts."""

from __future__ import annotations

import contextlib
import re
from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import Final

import psycopg2
import psycopg2.extensions
from psycopg2 import sql

from coffre.model.errors import RestoreError
from coffre.model.manifest import SequenceValue, TableContent
from coffre.model.names import TableName, shown
from coffre.postgres.connection.address import Connection
from coffre.postgres.connection.connect import one_line
from coffre.postgres.connection.connect_errors import CONNECTION_LOST
from coffre.postgres.connection.libpq import flush

# A message that stays in the cache of the server's processor while it is taken apart: 1 MiB costs it 5 % more time.
_COPY_BLOCK_BYTES: Final = 128 * 1024


@contextlib.contextmanager
def translated(connection: Connection) -> Iterator[None]:
    """Turn what a session at the destination raises, and nothing has explained yet, into an error that says what to do.

    Raises
    ------
    RestoreError
        `CONNECTION_LOST`, or `RESTORE_FAILED` with the server's words.
    """
    try:
        yield
    except psycopg2.Error as error:
        detail = one_line(error)
        if re.search(CONNECTION_LOST, detail):
            raise connection_lost(connection, detail) from error
        raise RestoreError(
            f"The server of {connection} refused a step of the restore.",
            detail=detail,
            hint="The restore stopped here. The server's own words are above.",
        ) from error


# What says nothing about a table: the connection, a read-only server, no room, a cancelled statement, a broken disk.
_NO_REFUSALS: Final = ("08", "25", "53", "57", "58")
_NOT_LOCKED: Final = "55P03"


def is_refusal(error: psycopg2.Error) -> bool:
    """Whether the server refused a statement for what it says or for the rows in it, so that others may still work."""
    code = error.pgcode
    return code is not None and code[:2] not in _NO_REFUSALS and code != _NOT_LOCKED


def connection_lost(connection: Connection, detail: str) -> RestoreError:
    """Return the error for a connection that was cut."""
    return RestoreError(
        f"The connection to {connection} was cut during the restore.",
        code="CONNECTION_LOST",
        detail=detail,
        hint="Run the restore again; if it happens again, look at the server's log and its idle limits.",
    )


def truncate(session: psycopg2.extensions.connection, table: TableName, our_rows: int = 0) -> None:
    """Begin a transaction that may freeze what it loads into a table that has no rows but ours.

    Raises
    ------
    RestoreError
        Code `TABLE_NOT_EMPTY`: another session has put rows into it.
    """
    with session.cursor() as cursor:
        cursor.execute(sql.SQL("LOCK TABLE ONLY {} IN ACCESS EXCLUSIVE MODE").format(sql.Identifier(*table)))
        if has_rows(session, table) if our_rows == 0 else _count(cursor, table) != our_rows:
            raise _rows_of_others(table)
        cursor.execute(sql.SQL("TRUNCATE ONLY {}").format(sql.Identifier(*table)))


def delete_ours(session: psycopg2.extensions.connection, table: TableName, our_rows: int) -> None:
    """Begin a transaction that empties a table whose keys and triggers exist already, of no rows but ours.

    Raises
    ------
    RestoreError
        Code `TABLE_NOT_EMPTY`: another session has put rows into it.
    """
    with session.cursor() as cursor:
        cursor.execute(sql.SQL("LOCK TABLE ONLY {} IN SHARE ROW EXCLUSIVE MODE").format(sql.Identifier(*table)))
        if _count(cursor, table) != our_rows:
            raise _rows_of_others(table)
        cursor.execute(sql.SQL("DELETE FROM ONLY {}").format(sql.Identifier(*table)))


def refuse_rows_of_others(session: psycopg2.extensions.connection, tables: Sequence[TableName]) -> None:
    """Begin a transaction in which no other session writes to some tables, and make sure that they are empty.

    Raises
    ------
    RestoreError
        Code `TABLE_NOT_EMPTY`: another session has put rows into one.
    """
    names = [sql.Identifier(*table) for table in tables]
    listed = sql.SQL(", ").join(sql.SQL("ONLY {}").format(name) for name in names)
    found = sql.SQL(" UNION ALL ").join(
        sql.SQL("SELECT {} WHERE EXISTS (SELECT FROM ONLY {})").format(sql.Literal(number), name)
        for number, name in enumerate(names)
    )
    with session.cursor() as cursor:
        # Others may read: a check of one table may look into another that is loaded at the same time.
        cursor.execute(sql.SQL("LOCK TABLE {} IN SHARE ROW EXCLUSIVE MODE").format(listed))
        cursor.execute(found)
        for (number,) in cursor.fetchall():
            raise _rows_of_others(tables[number])


def _rows_of_others(table: TableName) -> RestoreError:
    return RestoreError(
        f"Another session has put rows into {shown(*table)} while it is being restored.",
        code="TABLE_NOT_EMPTY",
        hint="Stop what writes to it until the restore has ended. These rows were not touched.",
    )


def copy_in(
    session: psycopg2.extensions.connection,
    table: TableContent,
    chunks: Iterator[bytes],
    encoding: str,
    into: TableName,
    *,
    where: sql.Composable | None = None,
    freeze: bool = False,
) -> int:
    """Load the bytes of one slice and return the number of rows that the server took. The caller commits.

    Parameters
    ----------
    into
        The table that takes them, which has the columns of `table`.
    where
        An expression over its columns: only rows for which it is true are taken.
    freeze
        Write rows as they are after a vacuum: only into a table that this transaction created or truncated.

    Raises
    ------
    RestoreError
        Code `COPY_FAILED`, with the server's words.
    """
    columns = sql.SQL(", ").join(sql.Identifier(column) for column in table.columns)
    listed = sql.SQL(" ({})").format(columns) if table.columns else sql.SQL("")
    options = sql.SQL("(ENCODING {}{})").format(sql.Literal(encoding), sql.SQL(", FREEZE" if freeze else ""))
    if where is not None:
        options += sql.SQL(" WHERE ") + where
    target = sql.SQL("COPY {}{} FROM STDIN ").format(sql.Identifier(*into), listed) + options
    stream = _Chunks(chunks, at_end=lambda: flush(session))
    try:
        with session.cursor() as cursor:
            cursor.copy_expert(target, stream, size=_COPY_BLOCK_BYTES)  # type: ignore[arg-type]  # any object with read()
            return int(cursor.rowcount)
    except psycopg2.Error as error:
        if stream.error is not None:
            raise stream.error from error  # the vault's own error, which psycopg2 hides behind "aborted by client"
        if session.closed:
            raise
        raise RestoreError(
            f"Rows of {shown(table.schema_name, table.table_name)} could not be loaded.",
            code="COPY_FAILED",
            detail=one_line(error),
            hint="The restore stopped here. The server's own words are above.",
        ) from error


class _Chunks:
    """A file-like view of an iterator of bytes, for psycopg2's COPY: blocks, never rows."""

    def __init__(self, chunks: Iterator[bytes], *, at_end: Callable[[], None] = lambda: None) -> None:
        self._chunks = chunks
        self._at_end = at_end
        self._current = memoryview(b"")
        self.error: Exception | None = None

    def read(self, size: int) -> bytes:
        try:
            while not self._current:
                self._current = memoryview(next(self._chunks))
        except StopIteration:
            self._at_end()
            return b""
        except Exception as error:
            self.error = error
            self._at_end()
            raise
        block, self._current = self._current[:size], self._current[size:]
        return bytes(block)


def set_sequences(session: psycopg2.extensions.connection, sequences: Iterable[SequenceValue]) -> list[str]:
    """Set every sequence to the value that the dump read, and return those that do not exist. The caller commits."""
    missing = []
    with session.cursor() as cursor:
        for value in sequences:
            name = sql.Identifier(value.schema_name, value.sequence_name).as_string(cursor)
            cursor.execute("SELECT to_regclass(%s)", (name,))
            if cursor.fetchall() == [(None,)]:
                missing.append(shown(value.schema_name, value.sequence_name))
            else:
                cursor.execute("SELECT setval(%s::regclass, %s, %s)", (name, value.last_value, value.is_called))
    return missing


def key_levels(session: psycopg2.extensions.connection, tables: Iterable[TableName]) -> dict[TableName, int]:
    """Return a number for each table that is higher than those of the tables at which its foreign keys point.

    Tables in a circle of keys get the same number, with all that depend on them.
    """
    needs: dict[TableName, set[TableName]] = {table: set() for table in tables}
    with session.cursor() as cursor:
        cursor.execute(_FOREIGN_KEYS)
        for schema, name, needed_schema, needed_name in cursor.fetchall():
            if (schema, name) in needs and (needed_schema, needed_name) in needs:
                needs[schema, name].add((needed_schema, needed_name))
    session.commit()
    levels: dict[TableName, int] = {}
    number = 0
    while waiting := needs.keys() - levels.keys():
        ready = {table for table in waiting if needs[table] <= levels.keys()} or waiting
        levels |= dict.fromkeys(ready, number)
        number += 1
    return levels


def has_rows(session: psycopg2.extensions.connection, table: TableName) -> bool:
    """Return whether a table has any row."""
    with session.cursor() as cursor:
        cursor.execute(sql.SQL("SELECT FROM ONLY {} LIMIT 1").format(sql.Identifier(*table)))
        return cursor.fetchone() is not None


def count_rows(session: psycopg2.extensions.connection, tables: Sequence[TableContent]) -> list[int]:
    """Return how many rows each of the tables has at the destination."""
    counts = sql.SQL(" UNION ALL ").join(
        sql.SQL("SELECT {}, count(*) FROM ONLY {}").format(
            sql.Literal(number), sql.Identifier(table.schema_name, table.table_name)
        )
        for number, table in enumerate(tables)
    )
    with session.cursor() as cursor:
        cursor.execute(counts)
        return [int(rows) for _, rows in sorted(cursor.fetchall())]


def count_rows_below(session: psycopg2.extensions.connection, root: TableName) -> int:
    """Return how many rows all partitions of a table have together."""
    with session.cursor() as cursor:
        cursor.execute(sql.SQL("SELECT count(*) FROM {}").format(sql.Identifier(*root)))
        ((count,),) = cursor.fetchall()
        return int(count)


def _count(cursor: psycopg2.extensions.cursor, table: TableName) -> int:
    cursor.execute(sql.SQL("SELECT count(*) FROM ONLY {}").format(sql.Identifier(*table)))
    ((rows,),) = cursor.fetchall()
    return int(rows)


_FOREIGN_KEYS: Final = """
SELECT n.nspname, c.relname, pn.nspname, p.relname FROM pg_constraint k
JOIN pg_class c ON c.oid = k.conrelid JOIN pg_namespace n ON n.oid = c.relnamespace
JOIN pg_class p ON p.oid = k.confrelid JOIN pg_namespace pn ON pn.oid = p.relnamespace
WHERE k.contype = 'f' AND k.conrelid <> k.confrelid
"""
