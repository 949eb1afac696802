"""What of an unfinished restore is done, in its own schema at the destination.

A database that a restore fills has one such schema (`SCHEMA`); a restore into a database in use has its own.

A mark is committed together with what it is about: what has none was not done. No second one of a name can be
committed, so nothing is done twice, whatever becomes of the processes that do it.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from typing import Final

import psycopg2.extensions
from psycopg2 import sql

from coffre.model.names import UNFINISHED_RESTORE

SCHEMA: Final = UNFINISHED_RESTORE
ROWS: Final = "rows"
"""Slices of rows: the numbers of rows and milliseconds."""
SALVAGED: Final = "salvaged"
"""Tables whose rows came in another way: what is to be reported about it."""
MADE: Final = "made"
"""Entries of the archive by their dump ids: how each was made."""
FILLED: Final = "filled"
"""Materialized views, and tables whose rows the provider was called with."""
OBJECTS: Final = "objects"
"""Large objects and pieces of them, and batches of statements about them."""
COUNTED: Final = "counted"
"""Tables whose rows were counted."""
SHARED: Final = "shared"
"""The shares of a load that several invocations do together, by its id: what each has to know."""
KEYED: Final = "keyed"
"""Staging tables that have their key."""
COMPARED: Final = "compared"
"""Tables in use that were compared: the comparison."""
JOURNAL: Final = "journal"
"""How far a journal is applied to the restored rows."""
STATE: Final = "state"
"""What the restore knows, as of its last step."""

type Said = Mapping[str, object]

_NAME: Final = "marks"


def schema_of(restore_id: str) -> str:
    """Return the schema of a restore into a database in use."""
    return f"{SCHEMA}_{restore_id.lower()}"


def creation(schema: str = SCHEMA) -> sql.Composed:
    """Return the statement that creates the table of marks."""
    statement = "CREATE TABLE {} (kind text, name text, said text NOT NULL, PRIMARY KEY (kind, name))"
    return sql.SQL(statement).format(_table(schema))


def begin(session: psycopg2.extensions.connection, schema: str, comment: str) -> None:
    """Create the schema of a restore into a database in use, in one message: all of it, or nothing."""
    with session.cursor() as cursor:
        cursor.execute(
            sql.SQL("CREATE SCHEMA {0}; COMMENT ON SCHEMA {0} IS {1}; {2}").format(
                sql.Identifier(schema), sql.Literal(comment), creation(schema)
            )
        )
    session.commit()


def end(session: psycopg2.extensions.connection, schema: str) -> None:
    """Remove the schema of a restore into a database in use."""
    with session.cursor() as cursor:
        cursor.execute(
            sql.SQL("DROP TABLE IF EXISTS {}; DROP SCHEMA IF EXISTS {}").format(_table(schema), sql.Identifier(schema))
        )
    session.commit()


def exist(session: psycopg2.extensions.connection, schema: str = SCHEMA) -> bool:
    """Whether the database keeps marks in this schema."""
    with session.cursor() as cursor:
        cursor.execute("SELECT to_regclass(%s) IS NOT NULL", (f"{schema}.{_NAME}",))
        return cursor.fetchall() == [(True,)]


def kinds(session: psycopg2.extensions.connection) -> set[str]:
    """Return the kinds of marks that exist; none where the database keeps no marks."""
    if not exist(session):
        return set()
    with session.cursor() as cursor:
        cursor.execute(sql.SQL("SELECT DISTINCT kind FROM {}").format(_table(SCHEMA)))
        return {str(kind) for (kind,) in cursor.fetchall()}


def adding(kind: str, said: Mapping[str, Said], schema: str = SCHEMA) -> bytes:
    """Return the statement that adds marks: ASCII alone, whatever the encoding and settings of its session."""
    if not said:
        return b""
    rows = ", ".join(f"({_text(kind)}, {_text(_key(name))}, {_text(json.dumps(one))})" for name, one in said.items())
    return f"INSERT INTO {schema}.{_NAME} (kind, name, said) VALUES {rows};\n".encode("ascii")  # noqa: S608 - escaped


def add(cursor: psycopg2.extensions.cursor, kind: str, said: Mapping[str, Said], schema: str = SCHEMA) -> None:
    """Add marks in the open transaction."""
    if statement := adding(kind, said, schema):
        cursor.execute(statement)


def ensure(cursor: psycopg2.extensions.cursor, kind: str, name: str, said: Said, schema: str = SCHEMA) -> None:
    """Add a mark where none of its name exists, in the open transaction: `locked` has something to lock then."""
    statement = "INSERT INTO {} VALUES (%s, %s, %s) ON CONFLICT (kind, name) DO NOTHING"
    cursor.execute(sql.SQL(statement).format(_table(schema)), (kind, _key(name), json.dumps(said)))


def replace(cursor: psycopg2.extensions.cursor, kind: str, name: str, said: Said, schema: str = SCHEMA) -> None:
    """Add a mark, or change it, in the open transaction."""
    statement = "INSERT INTO {} VALUES (%s, %s, %s) ON CONFLICT (kind, name) DO UPDATE SET said = excluded.said"
    cursor.execute(sql.SQL(statement).format(_table(schema)), (kind, _key(name), json.dumps(said)))


def remove(cursor: psycopg2.extensions.cursor, kind: str, names: Iterable[str], schema: str = SCHEMA) -> None:
    """Remove marks in the open transaction, for what is done again."""
    keys = [_key(name) for name in names]
    statement = sql.SQL("DELETE FROM {} WHERE kind = %s AND name = ANY(%s)").format(_table(schema))
    cursor.execute(statement, (kind, keys))


def read(session: psycopg2.extensions.connection, kind: str, schema: str = SCHEMA) -> dict[str, dict[str, object]]:
    """Return the marks of one kind, by name."""
    with session.cursor() as cursor:
        cursor.execute(sql.SQL("SELECT name, said FROM {} WHERE kind = %s").format(_table(schema)), (kind,))
        return {json.loads(f'"{name}"'): json.loads(said) for name, said in cursor.fetchall()}


def locked(cursor: psycopg2.extensions.cursor, kind: str, name: str, schema: str = SCHEMA) -> Said | None:
    """Return a mark, which no other transaction can change until the open one ends; None when it does not exist."""
    statement = sql.SQL("SELECT said FROM {} WHERE kind = %s AND name = %s FOR UPDATE").format(_table(schema))
    cursor.execute(statement, (kind, _key(name)))
    found = cursor.fetchall()
    return json.loads(found[0][0]) if found else None


def held(cursor: psycopg2.extensions.cursor, kind: str, names: Iterable[str]) -> set[str]:
    """Return which of these names have a mark."""
    keys = {_key(name): name for name in names}
    cursor.execute(
        sql.SQL("SELECT name FROM {} WHERE kind = %s AND name = ANY(%s)").format(_table(SCHEMA)), (kind, list(keys))
    )
    return {keys[str(key)] for (key,) in cursor.fetchall()}


def end_sharing(session: psycopg2.extensions.connection) -> None:
    """Remove the marks of shares. The session is in autocommit."""
    if SHARED in kinds(session):
        with session.cursor() as cursor:
            cursor.execute(sql.SQL("DELETE FROM {} WHERE kind = %s").format(_table(SCHEMA)), (SHARED,))


def count(session: psycopg2.extensions.connection, schema: str = SCHEMA) -> int:
    """Return how many marks exist."""
    with session.cursor() as cursor:
        cursor.execute(sql.SQL("SELECT count(*) FROM {}").format(_table(schema)))
        ((found,),) = cursor.fetchall()
        return int(found)


def _table(schema: str) -> sql.Identifier:
    return sql.Identifier(schema, _NAME)


def _key(name: str) -> str:
    return json.dumps(name)[1:-1]


def _text(value: str) -> str:
    escaped = value.replace("\\", "\\\\").replace("'", "''")
    return f"E'{escaped}'"
