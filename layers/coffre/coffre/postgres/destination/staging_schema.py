"""The staging schema: tables with a backup's rows, apart from those that are in use."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from types import MappingProxyType
from typing import Final

import psycopg2
import psycopg2.errors
import psycopg2.extensions
from psycopg2 import sql

from coffre.model.errors import RestoreError
from coffre.model.names import TableName
from coffre.postgres.connection.connect import one_line
from coffre.postgres.destination.live_tables import LiveTable
from coffre.postgres.destination.owners_code import OURS_AGAIN, OWNERS_PATH_LOCAL

_LONGEST_NAME_BYTES: Final = 63
_APPLIED: Final = "Applied: "


@dataclass(frozen=True)
class StagedTable:
    """Where a table's rows go in the staging schema: the backup's, and those that existed before."""

    restored: TableName
    before: TableName


def staging_names(schema: str, tables: Iterable[TableName]) -> dict[TableName, StagedTable]:
    """Return places in the side schema for each table: named as it is, or `schema.table` where two have the same."""
    tables = list(tables)
    counted: dict[str, int] = {}
    for _, name in tables:
        counted[name] = counted.get(name, 0) + 1
    taken: set[str] = set()

    def free(name: str, end: str = "") -> TableName:
        found, number = shortened(name, end), 2
        while found in taken:
            found, number = shortened(name, f"{end}_{number}"), number + 1
        taken.add(found)
        return schema, found

    wanted = {table: table[1] if counted[table[1]] == 1 else f"{table[0]}.{table[1]}" for table in tables}
    restored = {table: free(name) for table, name in wanted.items()}
    return {table: StagedTable(place, free(place[1], "_before")) for table, place in restored.items()}


def shortened(name: str, end: str = "") -> str:
    """Return a name with this end that PostgreSQL does not cut: at most 63 bytes."""
    room = _LONGEST_NAME_BYTES - len(end.encode())
    return name.encode()[:room].decode("utf-8", "ignore") + end


def create_staging_schema(cursor: psycopg2.extensions.cursor, schema: str, comment: str) -> None:
    """Create the side schema, with a comment that says where it comes from."""
    cursor.execute(sql.SQL("CREATE SCHEMA {}").format(sql.Identifier(schema)))
    cursor.execute(sql.SQL("COMMENT ON SCHEMA {} IS {}").format(sql.Identifier(schema), sql.Literal(comment)))


def mark_applied(cursor: psycopg2.extensions.cursor, schema: str, comment: str) -> None:
    """Say in the transaction that changes tables in use that it did: the schema has what they were before."""
    cursor.execute(
        sql.SQL("COMMENT ON SCHEMA {} IS {}").format(sql.Identifier(schema), sql.Literal(f"{_APPLIED}{comment}"))
    )


def is_applied(cursor: psycopg2.extensions.cursor, schema: str) -> bool:
    """Return whether the transaction that changes tables in use was committed."""
    cursor.execute("SELECT obj_description(oid, 'pg_namespace') FROM pg_namespace WHERE nspname = %s", (schema,))
    return any((comment or "").startswith(_APPLIED) for (comment,) in cursor.fetchall())


def schema_exists(session: psycopg2.extensions.connection, schema: str) -> bool:
    """Return whether a schema exists."""
    with session.cursor() as cursor:
        cursor.execute("SELECT EXISTS (SELECT FROM pg_namespace WHERE nspname = %s)", (schema,))
        return cursor.fetchall() == [(True,)]


def drop_staging_schema(session: psycopg2.extensions.connection, schema: str) -> None:
    """Drop the staging schema."""
    drop_staging_tables(session, schema)
    with session.cursor() as cursor:
        cursor.execute(sql.SQL("DROP SCHEMA IF EXISTS {} CASCADE").format(sql.Identifier(schema)))
    session.commit()


def drop_staging_tables(session: psycopg2.extensions.connection, schema: str) -> None:
    """Drop the tables of the staging schema, each by itself: the server has room for a limited number of locks."""
    with session.cursor() as cursor:
        cursor.execute(_SIDE_TABLES, (schema,))
        for (table,) in cursor.fetchall():
            cursor.execute(sql.SQL("DROP TABLE {} CASCADE").format(sql.Identifier(schema, table)))
            session.commit()


def create_staging_table(
    cursor: psycopg2.extensions.cursor,
    name: TableName,
    columns: Sequence[str],
    live: LiveTable,
    gone_types: Mapping[str, str] = MappingProxyType({}),
) -> list[str]:
    """Create a table for a backup's rows and return the columns that the live table does not have any more.

    Columns have the types of the live table, so that values can go there; those that are gone are text, or what
    `gone_types` says.
    """
    types = {column: found.type if (found := live.column(column)) else None for column in columns}
    definitions = [
        sql.SQL("{} {}").format(sql.Identifier(column), sql.SQL(type_name or gone_types.get(column, "text")))
        for column, type_name in types.items()
    ]
    cursor.execute(sql.SQL("CREATE TABLE {} ({})").format(sql.Identifier(*name), sql.SQL(", ").join(definitions)))
    return [column for column, type_name in types.items() if type_name is None]


def create_alike(cursor: psycopg2.extensions.cursor, name: TableName, side: TableName) -> None:
    """Create a table with the columns of a staging table."""
    cursor.execute(sql.SQL("CREATE TABLE {} (LIKE {})").format(sql.Identifier(*name), sql.Identifier(*side)))


def move_rows(cursor: psycopg2.extensions.cursor, name: TableName, side: TableName) -> None:
    """Move all rows of such a table into the staging table, and drop it; nothing is done where it is gone."""
    cursor.execute(_EXISTS, name)
    if cursor.fetchall() == [(True,)]:
        statement = sql.SQL("INSERT INTO {1} SELECT * FROM ONLY {0}; DROP TABLE {0}")
        cursor.execute(statement.format(sql.Identifier(*name), sql.Identifier(*side)))


def add_finder(
    cursor: psycopg2.extensions.cursor, name: TableName, keys: Iterable[Sequence[str]], by: str = ""
) -> None:
    """Index a table by columns that find rows, unless it is: each in a statement of its own.

    Parameters
    ----------
    by
        A part of the indexes' names, where other indexes can have such a name.
    """
    for number, key in enumerate(keys):
        index, columns = _finder(name, number, by), sql.SQL(", ").join(map(sql.Identifier, key))
        statement = sql.SQL("CREATE INDEX IF NOT EXISTS {} ON {} ({})")
        cursor.execute(statement.format(sql.Identifier(index), sql.Identifier(*name), columns))


def drop_finder(
    cursor: psycopg2.extensions.cursor, name: TableName, keys: Iterable[Sequence[str]], by: str = ""
) -> None:
    """Drop these indexes."""
    for number, _ in enumerate(keys):
        cursor.execute(sql.SQL("DROP INDEX IF EXISTS {}").format(sql.Identifier(name[0], _finder(name, number, by))))


def _finder(name: TableName, number: int, by: str) -> str:
    return shortened(name[1], f"{by}_finder_{number}")


def add_key(cursor: psycopg2.extensions.cursor, name: TableName, live: LiveTable, mark: bytes = b"") -> None:
    """Give a filled side table the live table's key, and statistics.

    All of it is one message: in a session that lasts, the server finishes and commits it together with the `mark`.

    Raises
    ------
    RestoreError
        Code `KEY_CHANGED`: the backup's rows are not unique in it.
    """
    key = sql.SQL(", ").join(sql.Identifier(column.name) for column in live.key)
    statement = sql.SQL("{}; ALTER TABLE {table} ADD PRIMARY KEY ({}); {}; ANALYZE {table}; {}").format(
        sql.SQL(OWNERS_PATH_LOCAL), key, sql.SQL(OURS_AGAIN), sql.SQL(mark.decode("ascii")), table=sql.Identifier(*name)
    )
    try:
        cursor.execute(statement)
    except (psycopg2.IntegrityError, psycopg2.errors.UndefinedObject) as error:
        raise RestoreError(
            f"The rows of the backup cannot have the key that {live.shown_name} has now.",
            code="KEY_CHANGED",
            detail=one_line(error),
            hint="Restore the table to a staging schema (without --apply and --replace), and copy what you need.",
        ) from error


_EXISTS: Final = """
SELECT pg_catalog.count(*) OPERATOR(pg_catalog.>) 0
FROM pg_catalog.pg_class c JOIN pg_catalog.pg_namespace n ON n.oid OPERATOR(pg_catalog.=) c.relnamespace
WHERE n.nspname OPERATOR(pg_catalog.=) %s AND c.relname OPERATOR(pg_catalog.=) %s
"""
_SIDE_TABLES: Final = """
SELECT c.relname FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace
WHERE n.nspname = %s AND c.relkind = 'r' ORDER BY 1
"""
