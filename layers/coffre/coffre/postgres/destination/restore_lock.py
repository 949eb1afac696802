"""The lock of a restore at its destination, and how its next attempt takes it over from one whose process is gone."""

from __future__ import annotations

import hashlib
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any, Final

import psycopg2
import psycopg2.extensions

from coffre.model.errors import CoffreError, DestinationError, LockLostError
from coffre.postgres.connection.address import Connection
from coffre.postgres.connection.connect import connect
from coffre.postgres.connection.end_sessions import terminate
from coffre.postgres.destination import marks, unfinished_restore
from coffre.postgres.destination.unfinished_restore import Unfinished

# An idle session ends in milliseconds, one that loads rows when it has undone them.
_GONE_SECONDS: Final = 20.0
_LOOK_SECONDS: Final = 0.05
_GUARD_KEY: Final = 0x636F66667265  # "coffre"
_EARLIER: Final = """
SELECT pid FROM pg_stat_activity
WHERE (application_name = ANY(%s) OR starts_with(application_name, %s)) AND pid <> pg_backend_pid()
"""
# Of each unit: whether it is ours until the transaction ends; no answer when another restore holds the guard.
_CLAIM: Final = """
SELECT unit, CASE WHEN pg_catalog.pg_try_advisory_xact_lock_shared(%s)
    THEN pg_catalog.pg_try_advisory_xact_lock(unit) END
FROM pg_catalog.unnest(%s::bigint[]) AS unit
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
        found = unfinished_restore.find(session)
        if found is None or found.restore_id != restore_id:
            return None
        if connection.sessions is not None:
            marks.end_sharing(session)  # first: who begins to load after it finds no mark
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
    earlier = ([connection.sessions.name, connection.sessions.guard_name], connection.sessions.sharing_name)
    terminate(cursor, _EARLIER, earlier)
    deadline = time.monotonic() + _GONE_SECONDS
    while time.monotonic() < deadline:
        cursor.execute(_EARLIER, earlier)
        if not cursor.fetchall():
            break
        time.sleep(_LOOK_SECONDS)


def share_guard(session: psycopg2.extensions.connection, sharing: str) -> dict[str, Any]:
    """Keep other restores out, for as long as this session lives, with all who load a share of the same rows.

    Returns what the mark with this id says.

    Raises
    ------
    LockLostError
        `RUN_OVER`: the restore has continued without them, or another one is at work.
    """
    said = marks.read(session, marks.SHARED) if marks.SHARED in marks.kinds(session) else {}
    if sharing not in said:
        raise sharing_is_over()
    with session.cursor() as cursor:
        cursor.execute("SELECT pg_try_advisory_lock_shared(%s)", (_GUARD_KEY,))
        if cursor.fetchall() != [(True,)]:
            raise sharing_is_over()
    session.commit()
    return dict(said[sharing])


def claim(cursor: psycopg2.extensions.cursor, sharing: str, names: Sequence[str]) -> list[str]:
    """Take units of rows for the open transaction, and return those that no one else loads now.

    What of them is loaded by then, a further statement sees.

    Parameters
    ----------
    sharing
        The id of the load. Its mark is removed when the restore continues, before its sessions are ended: whose session
        is newer sees that, and takes no lock which the restore needs.

    Raises
    ------
    LockLostError
        `RUN_OVER`
    """
    keys = {int.from_bytes(hashlib.sha256(name.encode()).digest()[:8], signed=True): name for name in names}
    try:
        if not marks.held(cursor, marks.SHARED, [sharing]):
            raise sharing_is_over()
    except psycopg2.errors.UndefinedTable as error:
        raise sharing_is_over() from error
    cursor.execute(_CLAIM, (_GUARD_KEY, list(keys)))
    found = {keys[int(key)]: is_ours for key, is_ours in cursor.fetchall()}
    if None in found.values():
        raise sharing_is_over()
    return [name for name in names if found[name]]


def sharing_is_over() -> LockLostError:
    """Return the error for who comes too late to load a share."""
    return LockLostError("The rows are not loaded by several invocations any more.", code="RUN_OVER")


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
