"""Putting a restored database in the place of the one that is in use, by renaming both in one transaction."""

from __future__ import annotations

import contextlib
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Final

import psycopg2
import psycopg2.errors
import psycopg2.extensions
from psycopg2 import sql

from coffre.model.errors import CoffreError, ConfirmationError, ConnectError, DestinationError, RestoreError
from coffre.postgres.connection.address import Connection
from coffre.postgres.connection.connect import one_line
from coffre.postgres.connection.create_database import maintenance_session
from coffre.postgres.connection.end_sessions import terminate
from coffre.postgres.destination.commit_outcome import outcome_unknown, took_effect

_ATTEMPTS: Final = 5
_AGAIN_SECONDS: Final = 0.1
_COMMIT: Final = "COMMIT"


def why_no_swap(connection: Connection) -> str | None:
    """Return why the databases of this server cannot be swapped by this role; None when they can."""
    try:
        with maintenance_session(connection) as session, session.cursor() as cursor:
            cursor.execute(_RIGHTS, {"database": connection.database})
            ((may_create, owns),) = cursor.fetchall()
    except (ConnectError, DestinationError) as error:
        return f"no other database of the server can be used ({error.message.rstrip('.')})"
    if not may_create:
        return f'"{connection.user}" may not create databases (ALTER ROLE ... CREATEDB)'
    if not owns:
        return f'"{connection.user}" does not own the database and so cannot rename it'
    return None


def what_stays_behind(connection: Connection) -> list[str]:
    """Return sentences about what stays with the old database when another one takes its place.

    Raises
    ------
    DestinationError
        Code `REPLACE_IMPOSSIBLE`: prepared transactions are open, with which it cannot be renamed.
    """
    with maintenance_session(connection) as session, session.cursor() as cursor:
        cursor.execute("SELECT gid FROM pg_prepared_xacts WHERE database = %s ORDER BY 1", (connection.database,))
        if prepared := [gid for (gid,) in cursor.fetchall()]:
            raise DestinationError(
                f"{connection} cannot be replaced: transactions are prepared in it ({', '.join(prepared[:5])}).",
                code="REPLACE_IMPOSSIBLE",
                hint="End them first: COMMIT PREPARED '...' or ROLLBACK PREPARED '...'. Nothing was changed.",
            )
        return [
            said.format(", ".join(names))
            for query, said in _STAYING
            if (names := _first_column(cursor, query, connection.database))
        ]


def _first_column(cursor: psycopg2.extensions.cursor, query: str, database: str) -> list[str]:
    cursor.execute(query, (database,))
    return [str(name) for (name,) in cursor.fetchall()]


def differing_properties(connection: Connection, restored: str) -> list[str]:
    """Return which settings and privileges of the database in use are not those of the one that takes its place.

    Values of settings can be secrets and are not among them.
    """
    with maintenance_session(connection) as session, session.cursor() as cursor:
        cursor.execute(_DIFFERING, {"current": connection.database, "restored": restored})
        return [str(what) for (what,) in cursor.fetchall()]


def swap_databases(connection: Connection, restored: str, old: str, *, oid: str) -> None:
    """Rename the database in use to `old`, and `restored` to its name; all other sessions are disconnected.

    The restored database gets the owner of the one in use. Both names change in one transaction, which keeps newcomers
    waiting: whatever ends this run in the middle, the database in use still accepts connections.

    Parameters
    ----------
    oid
        Of the database that was confirmed to be replaced.

    Raises
    ------
    RestoreError
        Code `SWAP_FAILED`: nothing was renamed. `OUTCOME_UNKNOWN`: the answer is lost, and the server cannot be asked.
    ConfirmationError
        `DESTINATION_CHANGED`: another database has its name now; nothing was renamed.
    """
    current = connection.database
    with maintenance_session(connection) as session, session.cursor() as cursor:
        cursor.execute("SELECT pg_get_userbyid(datdba)::text FROM pg_database WHERE datname = %s", (current,))
        ((owner,),) = cursor.fetchall()
        backend = session.info.backend_pid
        for attempt in range(_ATTEMPTS):
            with _disconnecting(connection, [current, restored]) as refusals:
                try:
                    cursor.execute(_swap(current, restored, old, owner))
                    _refuse_another(cursor, connection, old, oid)
                    cursor.execute(_COMMIT)
                    return
                except psycopg2.Error as error:
                    if session.closed and _is_swapped(connection, backend, restored, old):
                        return  # only the server's answer was lost
                    is_in_use = isinstance(error, psycopg2.errors.ObjectInUse)
                    if session.closed or not is_in_use or attempt == _ATTEMPTS - 1:
                        raise _swap_failed(connection, restored, old, [one_line(error), *refusals]) from error
                    cursor.execute("ROLLBACK")


def _is_swapped(connection: Connection, backend: int, restored: str, old: str) -> bool:
    def is_done(cursor: psycopg2.extensions.cursor) -> bool:
        return not _has(cursor, restored)

    done = took_effect(lambda: maintenance_session(connection), backend, is_done)
    if done is None:
        raise outcome_unknown(
            f"{connection} was replaced",
            f'Look at the databases of the server. If "{old}" exists, it was replaced, and "{old}" is the old one. If '
            f'"{restored}" exists, nothing in use was changed.',
        )
    return done


def database_exists(connection: Connection, name: str) -> bool:
    """Return whether the connection's server has a database of this name."""
    with maintenance_session(connection) as session, session.cursor() as cursor:
        return _has(cursor, name)


def _has(cursor: psycopg2.extensions.cursor, name: str) -> bool:
    cursor.execute("SELECT FROM pg_database WHERE datname = %s", (name,))
    return cursor.fetchone() is not None


@contextmanager
def _disconnecting(connection: Connection, databases: list[str]) -> Iterator[list[str]]:
    """End the sessions of databases again and again meanwhile; gives why the last ones could not be ended.

    While a database is being renamed, the server waits some seconds for its sessions to end, and lets no new ones in.
    """
    refusals: list[str] = []
    done = threading.Event()

    def work() -> None:
        with (
            contextlib.suppress(CoffreError, psycopg2.Error),
            maintenance_session(connection) as session,
            session.cursor() as cursor,
        ):
            while True:
                refusals[:] = terminate(cursor, _CONNECTED, (databases,))
                if done.wait(_AGAIN_SECONDS):
                    return

    thread = threading.Thread(target=work, name="disconnect", daemon=True)
    thread.start()
    try:
        yield refusals
    finally:
        done.set()
        thread.join()


def _swap(current: str, restored: str, old: str, owner: str) -> sql.Composable:
    given = sql.SQL("ALTER DATABASE {} OWNER TO {}").format(sql.Identifier(restored), sql.Identifier(owner))
    return sql.SQL("BEGIN; {}; {}; {}").format(given, _rename(current, old), _rename(restored, current))


def _refuse_another(cursor: psycopg2.extensions.cursor, connection: Connection, old: str, oid: str) -> None:
    """Refuse, before the names are final, to have renamed another database than the one that was confirmed."""
    cursor.execute("SELECT oid::bigint FROM pg_database WHERE datname = %s", (old,))
    found = cursor.fetchone()
    if found is None or str(found[0]) != oid:
        cursor.execute("ROLLBACK")
        raise ConfirmationError(
            f"Another database is called {connection.database} now than the one that was confirmed to be replaced.",
            code="DESTINATION_CHANGED",
            hint="Nothing was renamed. Look at what changed, and run the restore again.",
        )


def _rename(name: str, new: str) -> sql.Composable:
    return sql.SQL("ALTER DATABASE {} RENAME TO {}").format(sql.Identifier(name), sql.Identifier(new))


def _swap_failed(connection: Connection, restored: str, old: str, reasons: list[str]) -> RestoreError:
    return RestoreError(
        f"The restored database could not take the place of {connection}, which is unchanged.",
        code="SWAP_FAILED",
        detail="; ".join(reasons),
        hint=f'End the sessions that use it, then rename by hand: "{connection.database}" to "{old}", and '
        f'"{restored}" to "{connection.database}".',
    )


_RIGHTS: Final = """
SELECT r.rolsuper OR r.rolcreatedb, r.rolsuper OR pg_has_role(d.datdba, 'MEMBER')
FROM pg_roles r, pg_database d WHERE r.rolname = current_user AND d.datname = %(database)s
"""
# What stays with the old database, and what to do about it.
_STAYING: Final = (
    (
        "SELECT slot_name FROM pg_replication_slots WHERE database = %s ORDER BY 1",
        (
            "Logical replication slots stay with the old database: make new ones for what reads from them: {}. "
            "A journal of Coffre drops its own there, and makes another one."
        ),
    ),
    (
        "SELECT subname FROM pg_subscription JOIN pg_database d ON d.oid = subdbid WHERE datname = %s ORDER BY 1",
        (
            "Subscriptions stay with the old database, and continue to fill it: end them there, and begin again in the "
            "new: {}."
        ),
    ),
)
# Its owner is given the same.
_DIFFERING: Final = """
WITH facts AS (
    SELECT d.datname, format('the setting %%s', split_part(c, '=', 1)) || coalesce(' of ' || r.rolname, '') AS what,
           c AS value
    FROM pg_database d JOIN pg_db_role_setting s ON s.setdatabase = d.oid CROSS JOIN unnest(s.setconfig) AS c
    LEFT JOIN pg_roles r ON r.oid = s.setrole
    UNION ALL
    SELECT d.datname, format('%%s of %%s', a.privilege_type, coalesce(r.rolname, 'PUBLIC')), a.is_grantable::text
    FROM pg_database d CROSS JOIN aclexplode(coalesce(d.datacl, acldefault('d', d.datdba))) AS a
    LEFT JOIN pg_roles r ON r.oid = a.grantee WHERE a.grantee <> d.datdba
    UNION ALL SELECT datname, 'the limit of connections', datconnlimit::text FROM pg_database
)
SELECT DISTINCT what FROM (SELECT * FROM facts WHERE datname = %(current)s) AS old
FULL JOIN (SELECT * FROM facts WHERE datname = %(restored)s) AS new USING (what, value)
WHERE old.datname IS NULL OR new.datname IS NULL ORDER BY 1
"""
# Workers of the server's own end by themselves.
_CONNECTED: Final = """
SELECT pid FROM pg_stat_activity WHERE datname = ANY(%s) AND pid <> pg_backend_pid() AND usesysid IS NOT NULL
"""
