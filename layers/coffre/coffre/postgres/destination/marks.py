"""What of an unfinished restore is done, in its own schema at the destination.

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
COUNTED: Final = "counted"
"""Tables whose rows were counted."""
SHARED: Final = "shared"
"""The shares of a load that several invocations do together, by its id: what each has to know."""
STATE: Final = "state"
"""What the restore knows, as of its last step."""

type Said = Mapping[str, object]

_TABLE: Final = sql.Identifier(SCHEMA, "marks")
CREATION: Final = sql.SQL(
    "CREATE TABLE {} (kind text, name text, said text NOT NULL, PRIMARY KEY (kind, name))"
).format(_TABLE)


def kinds(session: psycopg2.extensions.connection) -> set[str]:
    """Return the kinds of marks that exist; none where the database keeps no marks."""
    with session.cursor() as cursor:
        cursor.execute("SELECT to_regclass(%s) IS NOT NULL", (f"{SCHEMA}.marks",))
        if cursor.fetchall() != [(True,)]:
            return set()
        cursor.execute(sql.SQL("SELECT DISTINCT kind FROM {}").format(_TABLE))
        return {str(kind) for (kind,) in cursor.fetchall()}


def adding(kind: str, said: Mapping[str, Said]) -> bytes:
    """Return the statement that adds marks: ASCII alone, whatever the encoding and settings of its session."""
    if not said:
        return b""
    rows = ", ".join(f"({_text(kind)}, {_text(_key(name))}, {_text(json.dumps(one))})" for name, one in said.items())
    return b"INSERT INTO coffre_unfinished_restore.marks (kind, name, said) VALUES " + rows.encode("ascii") + b";\n"


def add(cursor: psycopg2.extensions.cursor, kind: str, said: Mapping[str, Said]) -> None:
    """Add marks in the open transaction."""
    if statement := adding(kind, said):
        cursor.execute(statement)


def replace(cursor: psycopg2.extensions.cursor, kind: str, name: str, said: Said) -> None:
    """Add a mark, or change it, in the open transaction."""
    statement = "INSERT INTO {} VALUES (%s, %s, %s) ON CONFLICT (kind, name) DO UPDATE SET said = excluded.said"
    cursor.execute(sql.SQL(statement).format(_TABLE), (kind, _key(name), json.dumps(said)))


def remove(cursor: psycopg2.extensions.cursor, kind: str, names: Iterable[str]) -> None:
    """Remove marks in the open transaction, for what is done again."""
    keys = [_key(name) for name in names]
    cursor.execute(sql.SQL("DELETE FROM {} WHERE kind = %s AND name = ANY(%s)").format(_TABLE), (kind, keys))


def read(session: psycopg2.extensions.connection, kind: str) -> dict[str, dict[str, object]]:
    """Return the marks of one kind, by name."""
    with session.cursor() as cursor:
        cursor.execute(sql.SQL("SELECT name, said FROM {} WHERE kind = %s").format(_TABLE), (kind,))
        return {json.loads(f'"{name}"'): json.loads(said) for name, said in cursor.fetchall()}


def held(cursor: psycopg2.extensions.cursor, kind: str, names: Iterable[str]) -> set[str]:
    """Return which of these names have a mark."""
    keys = {_key(name): name for name in names}
    cursor.execute(sql.SQL("SELECT name FROM {} WHERE kind = %s AND name = ANY(%s)").format(_TABLE), (kind, list(keys)))
    return {keys[str(key)] for (key,) in cursor.fetchall()}


def end_sharing(session: psycopg2.extensions.connection) -> None:
    """Remove the marks of shares. The session is in autocommit."""
    if SHARED in kinds(session):
        with session.cursor() as cursor:
            cursor.execute(sql.SQL("DELETE FROM {} WHERE kind = %s").format(_TABLE), (SHARED,))


def count(session: psycopg2.extensions.connection) -> int:
    """Return how many marks exist."""
    with session.cursor() as cursor:
        cursor.execute(sql.SQL("SELECT count(*) FROM {}").format(_TABLE))
        ((found,),) = cursor.fetchall()
        return int(found)


def _key(name: str) -> str:
    return json.dumps(name)[1:-1]


def _text(value: str) -> str:
    escaped = value.replace("\\", "\\\\").replace("'", "''")
    return f"E'{escaped}'"
