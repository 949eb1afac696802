"""A journal needs a session: a pooler that shares them between transactions loses how values are printed."""

from __future__ import annotations

from typing import Final

import psycopg2.extensions

from coffre.model.errors import ConnectError
from coffre.postgres.connection.address import Connection
from coffre.postgres.connection.connect import connect_bare

# As `connect` sets them: each changes a text of the stream.
_PINNED: Final = {
    "DateStyle": "ISO, YMD",
    "IntervalStyle": "postgres",
    "extra_float_digits": "3",
    "bytea_output": "hex",
    "TimeZone": "UTC",
    "lc_monetary": "C",
    "search_path": "pg_catalog",
}
_IS_PINNED: Final = " AND ".join(f"current_setting('{name}') = '{value}'" for name, value in _PINNED.items())
NAME_IF_PINNED: Final = f"CASE WHEN {_IS_PINNED} THEN %s::name END"
"""The name of a slot in a statement; NULL, which the server refuses, where the session's settings are not in force."""


def require_own_process(session: psycopg2.extensions.connection, connection: Connection) -> None:
    """Refuse an address at which two sessions that are open together have one server process.

    Raises
    ------
    ConnectError
        `TRANSACTION_POOLER`
    """
    with connect_bare(connection) as other:
        if _process_of(session) == _process_of(other):
            raise shared("two sessions have the same process of the server")


def _process_of(session: psycopg2.extensions.connection) -> int:
    with session, session.cursor() as cursor:
        cursor.execute("SELECT pg_catalog.pg_backend_pid()")
        [(process,)] = cursor.fetchall()
    return int(process)


def shared(why: str) -> ConnectError:
    """Return the error of an address that gives each transaction another session."""
    return ConnectError(
        "The address is a transaction pooler's: a journal needs a session.",
        code="TRANSACTION_POOLER",
        detail=why,
        hint="Give the target the server's own address, or the pooler in session mode (Supabase: port 5432).",
    )
