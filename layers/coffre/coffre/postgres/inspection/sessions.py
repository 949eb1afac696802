"""Sessions that doctor opens to look: bare ones, one that reads, and several together."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager
from typing import Any, Final

import psycopg2
import psycopg2.extensions

from coffre.model.errors import CoffreError, ConnectTransientError
from coffre.policy.checks.endpoint import Endpoint, Sharing, SnapshotExport
from coffre.policy.connection_counts import streams_that_fit
from coffre.postgres.connection.address import Connection
from coffre.postgres.connection.connect import connect, connect_bare, one_line
from coffre.postgres.connection.free_connections import free_connections

type Query = Callable[..., list[tuple[Any, ...]]]

MOST_SESSIONS: Final = 16
_PROCESS: Final = "SELECT pg_catalog.pg_backend_pid()"
# A server that is stuck costs doctor these seconds for a query, and not the function's whole time.
_LIMITS: Final = "SET statement_timeout = '20s'; SET lock_timeout = '2s'"


def shared_process(connection: Connection) -> Sharing:
    """Return whether two sessions that are open together have the same server process: a transaction pooler's do.

    Nothing is set in them: what one sets at such a pooler stays in the server's session, which applications get next.

    Raises
    ------
    ConnectError, ConnectTransientError
        No session can be opened.
    """
    with connect_bare(connection) as first:
        one = _process_of(first)
        try:
            with connect_bare(connection) as second:
                return Sharing(one == _process_of(second))
        except ConnectTransientError:
            return Sharing(same_process=False)  # room for one alone: which another check says


def _process_of(session: psycopg2.extensions.connection) -> int:
    session.autocommit = True
    with session.cursor() as cursor:
        cursor.execute(_PROCESS)
        return int(cursor.fetchone()[0])  # type: ignore[index]  # it has one row


@contextmanager
def reading(session: psycopg2.extensions.connection) -> Iterator[Query]:
    """Return what asks a session, each time in a transaction of its own that cannot write."""
    session.set_session(readonly=True, autocommit=True)

    def query(statement: str, parameters: dict[str, Any] | None = None) -> list[tuple[Any, ...]]:
        with session.cursor() as cursor:
            cursor.execute(statement, parameters)
            return cursor.fetchall()

    yield query


def limit(session: psycopg2.extensions.connection) -> None:
    """Let no statement of a session last for long."""
    with session.cursor() as cursor:
        cursor.execute(_LIMITS)


def several(connection: Connection, query: Query, streams: int) -> tuple[SnapshotExport, Endpoint | None]:
    """Export a snapshot, and look in how many sessions, open together, it exists.

    Parameters
    ----------
    query
        Asks a session of the connection.
    streams
        How many sessions read tables in a backup; the holder and `pg_dump` have two more.

    Returns
    -------
    tuple
        The second is None when no snapshot was exported.
    """
    wanted = min(MOST_SESSIONS, streams + 2)
    free = free_connections(query)
    tried = min(wanted, streams_that_fit(wanted, free))
    with connect(connection) as holder:
        holder.set_session(isolation_level="REPEATABLE READ", readonly=True)
        try:
            with holder.cursor() as cursor:
                cursor.execute("SELECT pg_catalog.pg_export_snapshot()")
                snapshot = str(cursor.fetchone()[0])  # type: ignore[index]  # it has one row
        except psycopg2.Error as error:
            return SnapshotExport(one_line(error)), None
        opened, seeing, refusal = _open_together(connection, snapshot, tried - 1)
    return SnapshotExport(), Endpoint(wanted, free, tried, opened + 1, seeing + 1, refusal)


def _open_together(connection: Connection, snapshot: str, count: int) -> tuple[int, int, str | None]:
    """Return how many sessions could be opened together, how many see a snapshot, and why others were refused."""
    refusals: list[str] = []
    with ExitStack() as stack:
        sessions: list[psycopg2.extensions.connection] = []

        def open_one(_: int) -> ExitStack | None:
            own = ExitStack()
            try:
                sessions.append(own.enter_context(connect(connection)))
            except CoffreError as error:
                refusals.append(error.detail or error.message)
                return None
            return own

        with ThreadPoolExecutor(max(1, count), "doctor") as pool:
            for own in pool.map(open_one, range(count)):
                if own is not None:
                    stack.push(own)
            seeing = sum(pool.map(lambda session: _sees(session, snapshot), sessions))
        return len(sessions), seeing, refusals[0] if refusals else None


def _sees(session: psycopg2.extensions.connection, snapshot: str) -> bool:
    session.set_session(isolation_level="REPEATABLE READ", readonly=True)
    try:
        with session.cursor() as cursor:
            cursor.execute("SET TRANSACTION SNAPSHOT %s", (snapshot,))
    except psycopg2.Error:
        return False
    return True
