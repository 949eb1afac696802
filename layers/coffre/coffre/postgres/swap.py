"""Putting a restored database in the place of the one that is in use, by renaming both in one transaction."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Final

import psycopg2
import psycopg2.errors
import psycopg2.extensions
from psycopg2 import sql

from coffre.model.errors import RestoreError
from coffre.postgres.connect import Connection, one_line
from coffre.postgres.destination import maintenance_session

_ATTEMPTS: Final = 5


def why_no_swap(connection: Connection) -> str | None:
    """Return why the databases of this server cannot be swapped by this role; None when they can."""
    with maintenance_session(connection) as session, session.cursor() as cursor:
        cursor.execute(_RIGHTS, {"database": connection.database})
        ((may_create, owns),) = cursor.fetchall()
    if not may_create:
        return f'"{connection.user}" may not create databases (ALTER ROLE ... CREATEDB)'
    if not owns:
        return f'"{connection.user}" does not own the database and so cannot rename it'
    return None


def swap_databases(connection: Connection, restored: str, old: str) -> None:
    """Rename the database in use to `old`, and `restored` to its name; whoever is connected is disconnected.

    The restored database gets the owner of the one in use.

    Raises
    ------
    RestoreError
        Code `SWAP_FAILED`: nothing was renamed, and the database in use takes connections again.
    """
    current = connection.database
    with maintenance_session(connection) as session, session.cursor() as cursor:
        cursor.execute("SELECT pg_get_userbyid(datdba)::text FROM pg_database WHERE datname = %s", (current,))
        ((owner,),) = cursor.fetchall()
        with _closed_to_others(cursor, current):
            for attempt in range(_ATTEMPTS):
                cursor.execute(_DISCONNECT, ([current, restored],))
                try:
                    cursor.execute(_swap(current, restored, old, owner))
                    break
                except psycopg2.Error as error:
                    cursor.execute("ROLLBACK")
                    is_in_use = isinstance(error, psycopg2.errors.ObjectInUse)
                    if not is_in_use or attempt == _ATTEMPTS - 1:
                        raise _swap_failed(connection, restored, old, error) from error
                    cursor.execute("SELECT pg_sleep(0.5)")
        cursor.execute(_allow(old, allowed=True))


def _swap(current: str, restored: str, old: str, owner: str) -> sql.Composable:
    given = sql.SQL("ALTER DATABASE {} OWNER TO {}").format(sql.Identifier(restored), sql.Identifier(owner))
    return sql.SQL("BEGIN; {}; {}; {}; COMMIT").format(given, _rename(current, old), _rename(restored, current))


def _rename(name: str, new: str) -> sql.Composable:
    return sql.SQL("ALTER DATABASE {} RENAME TO {}").format(sql.Identifier(name), sql.Identifier(new))


def _allow(database: str, *, allowed: bool) -> sql.Composable:
    return sql.SQL("ALTER DATABASE {} WITH ALLOW_CONNECTIONS {}").format(sql.Identifier(database), sql.Literal(allowed))


@contextmanager
def _closed_to_others(cursor: psycopg2.extensions.cursor, database: str) -> Iterator[None]:
    """Let nobody connect anew, so that who is disconnected does not come back at once."""
    cursor.execute(_allow(database, allowed=False))
    try:
        yield
    except BaseException:
        cursor.execute(_allow(database, allowed=True))
        raise


def _swap_failed(connection: Connection, restored: str, old: str, error: psycopg2.Error) -> RestoreError:
    return RestoreError(
        f"The restored database could not take the place of {connection}, which is unchanged.",
        code="SWAP_FAILED",
        detail=one_line(error),
        hint=f'End the sessions that use it, then rename by hand: "{connection.database}" to "{old}", and '
        f'"{restored}" to "{connection.database}".',
    )


_RIGHTS: Final = """
SELECT r.rolsuper OR r.rolcreatedb, r.rolsuper OR pg_has_role(d.datdba, 'MEMBER')
FROM pg_roles r, pg_database d WHERE r.rolname = current_user AND d.datname = %(database)s
"""
_DISCONNECT: Final = """
SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = ANY(%s) AND pid <> pg_backend_pid()
"""
