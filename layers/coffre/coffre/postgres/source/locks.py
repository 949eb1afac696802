"""Locks on tables: how long a backup's sessions wait for them, and those that are taken before there is a snapshot."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Final

import psycopg2.errors
import psycopg2.extensions

from coffre.postgres.connection.address import Connection
from coffre.postgres.connection.client_tools import Children
from coffre.postgres.connection.connect import connect
from coffre.postgres.connection.query_errors import explain_query_error
from coffre.postgres.source.present_catalog import PresentCatalog

# Shorter than the server waits before it looks for a deadlock (1 s by default): a migration that waits for a lock of
# ours while we wait for one of its own is never the one that is ended.
READER_WAIT_SECONDS: Final = 0.9


def lock_statement(names: Sequence[str]) -> str:
    """Return the statement that locks tables against being replaced or altered. Reading and writing stay possible."""
    return f"LOCK TABLE {', '.join(names)} IN ACCESS SHARE MODE"


def lock_timeout(seconds: float) -> str:
    """Return the statement with which a session waits for the locks of others no longer than this."""
    return f"SET lock_timeout = {round(seconds * 1000)}"


@contextmanager
def locked_first(
    connection: Connection, children: Children, names: Sequence[str], present: PresentCatalog
) -> Iterator[None]:
    """Hold locks on tables from before there is a snapshot, so that they cannot be replaced in between (field note 24).

    A session of its own holds them, and lets them go when another session waits for one of them too long.
    """
    if not names:
        yield
        return
    with connect(connection) as session, children.cancelling(session):
        try:
            with session.cursor() as cursor:
                cursor.execute("SELECT pg_backend_pid()")
                ((backend,),) = cursor.fetchall()
                cursor.execute(lock_timeout(present.patience_seconds))
                for name in names:
                    _lock_if_there(cursor, name)
        except psycopg2.Error as error:
            raise explain_query_error(connection, error) from error
        with present.letting_go(backend, session.close):
            yield


def _lock_if_there(cursor: psycopg2.extensions.cursor, name: str) -> None:
    """Lock a table; it may be gone by now."""
    try:
        cursor.execute(f"SAVEPOINT before_lock; {lock_statement([name])}; RELEASE SAVEPOINT before_lock")
    except (psycopg2.errors.UndefinedTable, psycopg2.errors.InvalidSchemaName):
        cursor.execute("ROLLBACK TO SAVEPOINT before_lock; RELEASE SAVEPOINT before_lock")
