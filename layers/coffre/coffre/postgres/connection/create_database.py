"""Databases of a server: creating one like the source, dropping it again."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Final

import psycopg2
import psycopg2.errors
import psycopg2.extensions
from psycopg2 import sql

from coffre.model.errors import CoffreError, ConnectError, DestinationError
from coffre.model.manifest import DatabaseContent
from coffre.postgres.connection.address import Connection
from coffre.postgres.connection.connect import connect, one_line

_MAINTENANCE_DATABASES: Final = ("postgres", "defaultdb", "template1")
# A locale that the server does not have, or a provider that it was built without or is too old for.
_LOCALE_REFUSED: Final = (
    psycopg2.errors.WrongObjectType,
    psycopg2.errors.InvalidParameterValue,
    psycopg2.errors.FeatureNotSupported,
    psycopg2.errors.SyntaxError,
)


@contextmanager
def maintenance_session(connection: Connection) -> Iterator[psycopg2.extensions.connection]:
    """Connect to some other database of the server, in autocommit, to create, drop or rename one."""
    missing: ConnectError | None = None
    for database in (name for name in _MAINTENANCE_DATABASES if name != connection.database):
        try:
            with connect(connection.to_database(database)) as session:
                session.autocommit = True
                yield session
                return
        except ConnectError as error:
            if error.code != "DATABASE_MISSING":
                raise
            missing = error
    raise DestinationError(
        f"The server of {connection} has none of the databases {', '.join(_MAINTENANCE_DATABASES)} to connect to.",
        code="CREATE_DATABASE_FAILED",
        hint="Create the destination database empty yourself and run the restore again.",
    ) from missing


def create_database(connection: Connection, content: DatabaseContent) -> tuple[str, ...] | None:
    """Create a database like the source, and return what differs; None when another session has just created it.

    Raises
    ------
    DestinationError
        `CREATE_DATABASE_FAILED` or `DESTINATION_TOO_OLD`.
    """
    with maintenance_session(connection) as session, session.cursor() as cursor:
        refuse_older_server(connection, session.server_version, content)
        plain = sql.SQL("CREATE DATABASE {} TEMPLATE template0 ENCODING {}").format(
            sql.Identifier(connection.database), sql.Literal(content.encoding)
        )
        try:
            cursor.execute(plain + _locale(content))
        except (psycopg2.errors.DuplicateDatabase, psycopg2.errors.UniqueViolation):
            return None  # another restore has just created it: the guard decides whose it is
        except _LOCALE_REFUSED:
            try:
                cursor.execute(plain)
            except psycopg2.Error as error:
                raise _cannot_create(connection, error) from error
            wanted = content.provider_locale or content.locale
            return (f"The server has no {content.locale_provider} locale {wanted}: the database got its default.",)
        except psycopg2.Error as error:
            raise _cannot_create(connection, error) from error
    return ()


def _locale(content: DatabaseContent) -> sql.Composable:
    """Return the options that give a database the source's locale: sorting and indexes on text depend on it."""
    clause: sql.Composable = sql.SQL(" LC_COLLATE {0} LC_CTYPE {0}").format(sql.Literal(content.locale or "C"))
    option = {"icu": " LOCALE_PROVIDER icu ICU_LOCALE {}", "builtin": " LOCALE_PROVIDER builtin BUILTIN_LOCALE {}"}
    if content.locale_provider in option and content.provider_locale:
        clause += sql.SQL(option[content.locale_provider]).format(sql.Literal(content.provider_locale))
    return clause


def _cannot_create(connection: Connection, error: psycopg2.Error) -> DestinationError:
    return DestinationError(
        f"The database {connection} does not exist and could not be created.",
        code="CREATE_DATABASE_FAILED",
        detail=one_line(error),
        hint=f'Create it empty yourself, or let the role "{connection.user}" do it: ALTER ROLE ... CREATEDB.',
    )


# Before PostgreSQL 13 there is no FORCE. Dropping waits five seconds for sessions that end.
_DROPS_BY_FORCE: Final = 130000
_END_OWN_SESSIONS: Final = """
SELECT pg_catalog.pg_terminate_backend(pid) FROM pg_catalog.pg_stat_activity
WHERE datname = %s AND usename = current_user AND pid <> pg_catalog.pg_backend_pid()
"""


def drop_created(connection: Connection, error: Exception) -> None:
    """Remove a database that this restore created, so that the next try starts clean."""
    try:
        drop_database(connection)
        error.add_note(f"The database {connection}, which this restore had created, was dropped again.")
    except (CoffreError, psycopg2.Error):
        error.add_note(f"The database {connection}, which this restore had created, could not be dropped: drop it.")


def drop_database(connection: Connection) -> None:
    """Drop a database, even if sessions are connected to it; raises what the server says."""
    with maintenance_session(connection) as session, session.cursor() as cursor:
        drop = sql.SQL("DROP DATABASE IF EXISTS {}").format(sql.Identifier(connection.database))
        if session.server_version >= _DROPS_BY_FORCE:
            drop += sql.SQL(" WITH (FORCE)")
        else:
            cursor.execute(_END_OWN_SESSIONS, (connection.database,))
        cursor.execute(drop)


def refuse_older_server(connection: Connection, version_number: int, content: DatabaseContent) -> None:
    """Refuse a server whose major version is lower than the source's."""
    ours, theirs = version_number // 10000, content.server_version_number // 10000
    if ours < theirs:
        raise DestinationError(
            f"The destination {connection} is PostgreSQL {ours}, older than the backup's source ({theirs}).",
            code="DESTINATION_TOO_OLD",
            hint=f"Restore into PostgreSQL {theirs} or newer: an older server may not understand the schema.",
        )
