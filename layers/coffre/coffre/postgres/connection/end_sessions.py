"""Making sure that nothing of a run continues at the server, whatever became of the requests to cancel it."""

from __future__ import annotations

import time
from collections.abc import Sequence
from contextlib import ExitStack
from dataclasses import replace
from typing import Final

import psycopg2
import psycopg2.extensions

from coffre.model.errors import CoffreError, ConnectError
from coffre.postgres.connection.address import Connection
from coffre.postgres.connection.connect import connect, one_line
from coffre.postgres.connection.create_database import maintenance_session
from coffre.postgres.connection.sessions import Sessions

# A cancel shows within a second, or has come before its statement.
_CANCEL_SHOWS_SECONDS: Final = 1.0
_GONE_SECONDS: Final = 2.0
_LOOK_SECONDS: Final = 0.05
# For all of it, connecting included: a part of the deadline's reserve.
_MOST_SECONDS: Final = 5.0


def end_at_server(connection: Connection, *names: str) -> str | None:
    """End the sessions whose `application_name` is one of these; return what to tell a person when it cannot be known.

    The names are unique to a run. Process ids are not asked of the sessions themselves: behind a pooler they are not
    the server's.
    """
    reasons: list[str] = []
    deadline = time.monotonic() + _MOST_SECONDS
    for attempt in range(2):
        own = Sessions(lambda: deadline - time.monotonic())
        own.end()
        try:
            reasons = _end(replace(connection, sessions=own), names, elsewhere=attempt > 0)
            break
        except (CoffreError, psycopg2.Error) as error:
            # The database itself can just be being dropped: then another one of the server will do.
            reasons = [one_line(error) if isinstance(error, psycopg2.Error) else f"{error.message} ({error.code})"]
            if isinstance(error, ConnectError) and error.code != "DATABASE_MISSING":
                break
    if not reasons:
        return None
    said = "; ".join(reason.rstrip(".") for reason in reasons)
    return (
        f"Sessions of this run may still work at the server of {connection}, because they could not be ended: {said}. "
        f"Find them there in pg_stat_activity, by the application_name '{names[0]}', and end them with "
        "pg_terminate_backend(pid)."
    )


def _end(connection: Connection, names: Sequence[str], *, elsewhere: bool) -> list[str]:
    with ExitStack() as stack:
        session = stack.enter_context(maintenance_session(connection) if elsewhere else connect(connection))
        session.autocommit = True
        cursor = stack.enter_context(session.cursor())
        _wait_while(cursor, _ACTIVE, names, _CANCEL_SHOWS_SECONDS)
        refused = terminate(cursor, _ALL, (list(names),))
        left = _wait_while(cursor, _ALL, names, 0.0 if refused else _GONE_SECONDS)
    if not left:
        return []
    return refused or [f"{len(left)} of them still run although they were terminated."]


def _wait_while(cursor: psycopg2.extensions.cursor, query: str, names: Sequence[str], seconds: float) -> list[int]:
    """Wait until a query finds no session any more, and return those that are left after so long."""
    deadline = time.monotonic() + seconds
    while True:
        cursor.execute(query, (list(names),))
        found = [pid for (pid,) in cursor.fetchall()]
        if not found or time.monotonic() >= deadline:
            return found
        time.sleep(_LOOK_SECONDS)


def terminate(cursor: psycopg2.extensions.cursor, query: str, parameters: Sequence[object]) -> list[str]:
    """Terminate the sessions whose pids a query returns, idle ones too, and return what the server refused."""
    refused = []
    cursor.execute(query, parameters)
    for (pid,) in cursor.fetchall():
        try:
            cursor.execute("SELECT pg_terminate_backend(%s)", (pid,))
        except psycopg2.Error as error:
            if cursor.connection.closed:
                raise
            refused.append(one_line(error))
    return sorted(set(refused))


_ALL: Final = "SELECT pid FROM pg_stat_activity WHERE application_name = ANY(%s)"
_ACTIVE: Final = f"{_ALL} AND state IN ('active', 'fastpath function call')"
