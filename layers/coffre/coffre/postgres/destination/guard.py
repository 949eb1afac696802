"""The lock of a restore at its destination, and how its next attempt takes it over from one whose process is gone."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Final

import psycopg2
import psycopg2.extensions

from coffre.model.errors import CoffreError, DestinationError
from coffre.postgres.connection.address import Connection
from coffre.postgres.connection.connect import connect
from coffre.postgres.connection.ending import terminate
from coffre.postgres.destination import unfinished
from coffre.postgres.destination.unfinished import Unfinished

# An idle session ends in milliseconds, one that loads rows when it has undone them.
_GONE_SECONDS: Final = 20.0
_LOOK_SECONDS: Final = 0.05
_GUARD_KEY: Final = 0x636F66667265  # "coffre"
_EARLIER: Final = """
SELECT pid FROM pg_stat_activity WHERE application_name = ANY(%s) AND pid <> pg_backend_pid()
"""


@contextmanager
def guarded(connection: Connection) -> Iterator[psycopg2.extensions.connection]:
    """Hold a lock in the destination while it is loaded and, after an error, cleared; it ends with the session."""
    with connect(connection, stays=True) as session:
        session.autocommit = True
        if not _is_guarded(session):
            raise DestinationError(
                f"Another restore is loading into {connection}.",
                code="DESTINATION_BUSY",
                hint="Wait for it, or restore into another database.",
            )
        if connection.sessions is not None:
            with session.cursor() as cursor:
                name = connection.sessions.guard_name
                cursor.execute("SELECT pg_catalog.set_config('application_name', %s, false)", (name,))
        yield session


def taken_over(connection: Connection, restore_id: str) -> Unfinished | None:
    """Return what an earlier attempt of a restore has left, whose sessions are ended; None when it left nothing.

    Its process may be gone without a word to the server: then its locks would last until the server finds that out.
    """
    with connect(connection) as session, session.cursor() as cursor:
        session.autocommit = True
        found = unfinished.find(session)
        if found is None or found.restore_id != restore_id:
            return None
        _end_earlier(connection, cursor)
        return found


def end_earlier(connection: Connection) -> None:
    """End the sessions of an earlier attempt of this restore, but for those that last."""
    with connect(connection) as session, session.cursor() as cursor:
        session.autocommit = True
        _end_earlier(connection, cursor)


def _end_earlier(connection: Connection, cursor: psycopg2.extensions.cursor) -> None:
    if connection.sessions is None:
        return
    names = [connection.sessions.name, connection.sessions.guard_name]
    terminate(cursor, _EARLIER, (names,))
    deadline = time.monotonic() + _GONE_SECONDS
    while time.monotonic() < deadline:
        cursor.execute(_EARLIER, (names,))
        if not cursor.fetchall():
            break
        time.sleep(_LOOK_SECONDS)


def is_ours(connection: Connection, guard: psycopg2.extensions.connection) -> bool:
    """Whether no other attempt of this restore has taken it over, which ends the sessions of this one.

    The guard's session could wait for ever for a server that has fallen silent: a new one is asked first.
    """
    try:
        with connect(connection) as session:
            try:
                return _is_guarded(guard)
            except psycopg2.Error:
                return _is_guarded(session)
    except (CoffreError, psycopg2.Error):
        return True


def _is_guarded(session: psycopg2.extensions.connection) -> bool:
    with session.cursor() as cursor:
        cursor.execute("SELECT pg_try_advisory_lock(%s)", (_GUARD_KEY,))
        ((is_held,),) = cursor.fetchall()
        return bool(is_held)
