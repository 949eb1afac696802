"""The relay of a snapshot: a session imports what another one exported, and exports it again.

So a snapshot outlives the session that took it. An import works only at the same server, in the same database, while a
session that exported it has its transaction open.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, Final

import psycopg2
import psycopg2.extensions

from coffre.model.errors import ConnectError, DumpTransientError
from coffre.postgres.connection.address import Connection
from coffre.postgres.connection.client_tools import Children
from coffre.postgres.connection.connect import connect, one_line
from coffre.postgres.connection.query_errors import explain_query_error
from coffre.postgres.source.locks import lock_timeout
from coffre.postgres.source.snapshot import Holder
from coffre.postgres.source.snapshot_identity import Identity, read_identity

# The transaction that exported it is over: "invalid snapshot identifier" (up to 15), "snapshot ... does not exist" (16
# and newer), "could not import the requested snapshot".
_GONE: Final = frozenset({"22023", "42704", "55000"})


class SnapshotGoneError(DumpTransientError):
    """No session that exported this snapshot has its transaction open any more."""

    default_code = "SNAPSHOT_LOST"


def snapshot_gone(detail: str | None = None) -> SnapshotGoneError:
    """Return the error of a snapshot that no session holds any more."""
    return SnapshotGoneError(
        "The snapshot of the backup is gone: no session that held it is left.",
        detail=detail,
        hint="Nothing was published. Run the backup again. A server that restarts, or a pooler or firewall that ends "
        "idle sessions, ends a snapshot.",
    )


@dataclass(frozen=True)
class Joined:
    """A session that has imported a snapshot, and for how many transactions the server has kept it until then."""

    holder: Holder
    transactions: int


@contextmanager
def join_snapshot(
    connection: Connection, children: Children, snapshot: str, expected: Identity, *, lock_timeout_seconds: int
) -> Iterator[Joined]:
    """Open a session in an exported snapshot, and export it again there, until the block is left.

    Raises
    ------
    SnapshotGoneError
        Nothing was read. Another session may have exported it, too.
    ConnectError
        `WRONG_SERVER`: this is not the server, or not the snapshot, that the backup was planned in.
    """
    with connect(connection) as session, children.cancelling(session):
        session.set_session(isolation_level="REPEATABLE READ", readonly=True)
        try:
            transactions = _import(session, connection, snapshot, expected)
            with session.cursor() as cursor:
                cursor.execute(lock_timeout(lock_timeout_seconds))
            joined = Joined(Holder(session, connection), transactions)
        except psycopg2.Error as error:
            raise explain_query_error(connection, error) from error
        yield joined


def _import(session: psycopg2.extensions.connection, connection: Connection, snapshot: str, expected: Identity) -> int:
    def query(statement: str) -> list[tuple[Any, ...]]:
        with session.cursor() as cursor:
            cursor.execute(statement)
            return cursor.fetchall()

    # Before the import: what is wrong with a server says more than that it does not know the snapshot.
    server = read_identity(query)
    session.rollback()
    if server.is_standby:
        raise _wrong_server(connection, "It is a standby (a reader endpoint, or a server that is recovering).")
    if (server.system, server.database) != (expected.system, expected.database):
        raise _wrong_server(connection, f"Its system identifier is {server.system}, its database {server.database!r}.")
    try:
        with session.cursor() as cursor:
            cursor.execute("SET TRANSACTION SNAPSHOT %s", (snapshot,))
    except psycopg2.Error as error:
        if error.pgcode not in _GONE:
            raise
        raise snapshot_gone(one_line(error)) from error
    if read_identity(query) != expected:
        raise _wrong_server(connection, "Its snapshot of this name shows other transactions.")
    oldest, newest = expected.visible.split(":")[0], server.visible.split(":")[1]
    return max(0, int(newest) - int(oldest))


def _wrong_server(connection: Connection, detail: str) -> ConnectError:
    return ConnectError(
        f"{connection} is not the server that the backup was begun at.",
        code="WRONG_SERVER",
        detail=detail,
        hint="Nothing was published. A backup of several functions needs the address of the primary server itself: no "
        "reader, no endpoint that distributes sessions, and no failover in between. Correct it in "
        f"{connection.place}, and run the backup again.",
    )
