"""Databases and roles on a server that many tests share: nothing that one leaves may meet another."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager, suppress

import psycopg2
from psycopg2 import sql

from coffre.policy.patterns import is_left_database
from coffre_local.postgres_server import PostgresServer

_ROLES = "SELECT rolname FROM pg_roles"
# Restores keep a database that they replaced, or could not put in its place, under a longer name.
_DATABASES = """
SELECT DISTINCT datname FROM pg_database JOIN unnest(%s) AS made ON datname = made OR starts_with(datname, made || '_')
"""

_sessions: dict[str, psycopg2.extensions.connection] = {}


@contextmanager
def own_databases(server: PostgresServer, *names: str) -> Iterator[None]:
    """Create the first of these databases; drop all of them afterwards, what restores kept of them, and new roles."""
    with _session(server) as cursor:
        before = set(_names(cursor, _ROLES))
        # Its files are copied: the default since PostgreSQL 15 writes each of their pages into the log too.
        copied = " STRATEGY FILE_COPY" if cursor.connection.server_version >= 150000 else ""
        cursor.execute(sql.SQL("CREATE DATABASE {}" + copied).format(sql.Identifier(names[0])))
    try:
        yield
    finally:
        with _session(server) as cursor:
            _drop_databases(cursor, names)
            for role in set(_names(cursor, _ROLES)) - before:
                # It may own something in another database of the same test, which drops it then.
                with suppress(psycopg2.errors.DependentObjectsStillExist):
                    cursor.execute(sql.SQL("DROP OWNED BY {0}; DROP ROLE {0}").format(sql.Identifier(role)))


@contextmanager
def without_leftovers(server: PostgresServer) -> Iterator[None]:
    """Fail if a database is there at the end that a restore kept: a test of the whole server would meet it."""
    yield
    with _session(server) as cursor:
        left = [name for name in _names(cursor, "SELECT datname FROM pg_database") if is_left_database(name)]
    assert not left, f"Tests have left this on a server that others share: {', '.join(sorted(left))}"


def drop_databases(server: PostgresServer, *names: str) -> None:
    """Drop databases, under their users, and what restores kept of them."""
    with _session(server) as cursor:
        _drop_databases(cursor, names)


def _drop_databases(cursor: psycopg2.extensions.cursor, names: tuple[str, ...]) -> None:
    for name in _names(cursor, _DATABASES, [list(names)]):
        # `WITH (FORCE)` came with PostgreSQL 13.
        cursor.execute("SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = %s", [name])
        cursor.execute(sql.SQL("DROP DATABASE {}").format(sql.Identifier(name)))


def _names(cursor: psycopg2.extensions.cursor, query: str, parameters: list[list[str]] | None = None) -> list[str]:
    cursor.execute(query, parameters)
    return [name for (name,) in cursor.fetchall()]


@contextmanager
def _session(server: PostgresServer) -> Iterator[psycopg2.extensions.cursor]:
    """Give a cursor of a session that stays: a new one takes as long as to create a database."""
    address = server.dsn()
    if address not in _sessions or not _answers(_sessions[address]):
        _sessions[address] = psycopg2.connect(address)
        _sessions[address].autocommit = True
    with _sessions[address].cursor() as cursor:
        yield cursor


def _answers(session: psycopg2.extensions.connection) -> bool:
    """Tell whether a session is still there: tests end those of others, and another server may have its port."""
    try:
        with session.cursor() as cursor:
            cursor.execute("SELECT")
    except psycopg2.Error:
        session.close()
        return False
    return True
