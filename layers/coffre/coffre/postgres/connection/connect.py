"""Connecting to a database."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from typing import Final, cast

import psycopg2
import psycopg2.extensions
from psycopg2.extras import LogicalReplicationConnection

from coffre.model.errors import ConnectError
from coffre.postgres.archive import sql_ascii
from coffre.postgres.connection.address import Connection
from coffre.postgres.connection.connect_errors import AUTHENTICATION_FAILED, TLS_UNTRUSTED, explain_refusal
from coffre.postgres.connection.session_settings import session_settings
from coffre.postgres.connection.sessions import PLAIN_NAME, Sessions, after, open_patiently, stopped
from coffre.postgres.connection.untrusted_certificate import explain_untrusted

_CHECKS_CLIENT_SINCE: Final = 140000
# A server whose system is gone, or whose network is: what we send is not even received. Longer than anything that
# keeps a living server from reading what it was sent.
_UNRECEIVED_MILLISECONDS: Final = 300_000
# For clearing away, when the run has ended: a server that can do it answers sooner.
_CLEARING_CONNECT_SECONDS: Final = 3.0


@contextmanager
def connect(
    connection: Connection, *, stays: bool = False, lasts: bool = False
) -> Iterator[psycopg2.extensions.connection]:
    """Open a session with pinned settings and keepalives, and close it at the end, whatever happens.

    When the run that the connection belongs to is stopped, the session is ended by another thread.

    Parameters
    ----------
    stays
        It lasts until the block is left, also when the run is stopped: for a lock that has to outlive the work.
    lasts
        Every statement is committed by itself, and the server finishes it when the run pauses (`Children.pause`).

    Raises
    ------
    ConnectError, ConnectTransientError
        With one code for each cause (`HOST_UNKNOWN`, `CONNECTION_REFUSED`, `TLS_REFUSED`, ...).
    DumpTransientError
        `STOPPED`: the run was stopped before the session was open.
    """
    sql_ascii.register()
    sessions = connection.sessions
    if sessions is None:
        session = _translated(connection, lambda: _connected(connection, PLAIN_NAME))
        with closing(session):
            _prepare(session, connection)
            yield session
        return
    is_clearing = sessions.has_ended
    seconds = sessions.seconds_to_clear()
    opened = _translated(connection, lambda: _open(connection, sessions, stays=stays, lasts=lasts, seconds=seconds))
    # It is closed while it is still held, because that can wait for the server too; the first is for a refused hold.
    held = sessions.holding(opened, stays=stays, lasts=lasts, is_clearing=is_clearing, seconds=seconds)
    with closing(opened), held, closing(opened):
        _prepare(opened, connection)
        if lasts:
            _let_last(opened)
        yield opened


def _let_last(session: psycopg2.extensions.connection) -> None:
    """Have the server finish a statement whose client is gone: it looks for the client only on request."""
    session.autocommit = True
    with session.cursor() as cursor:
        if session.server_version >= _CHECKS_CLIENT_SINCE:
            cursor.execute("SET client_connection_check_interval = 0")


@contextmanager
def connect_bare(connection: Connection) -> Iterator[psycopg2.extensions.connection]:
    """Open a session without any setting of ours, and close it at the end; raises what `connect` raises."""
    with closing(_translated(connection, lambda: _connected(connection, PLAIN_NAME))) as session:
        yield session


@contextmanager
def connect_replicating(connection: Connection) -> Iterator[LogicalReplicationConnection]:
    """Open a session of the replication protocol with pinned settings, and close it; raises what `connect` raises."""
    made = _translated(connection, lambda: _connected(connection, PLAIN_NAME, LogicalReplicationConnection))
    with closing(made) as session:
        _prepare(session, connection)
        yield cast("LogicalReplicationConnection", session)


def _translated(
    connection: Connection, make: Callable[[], psycopg2.extensions.connection]
) -> psycopg2.extensions.connection:
    """Open a session; a login that is refused is read again, once in the life of a run (`Renewal`)."""
    login = connection.login
    try:
        return make()
    except psycopg2.OperationalError as error:
        refusal, cause = explain_refusal(connection, str(error)), error
    if refusal.code == AUTHENTICATION_FAILED and connection.renewal and connection.renewal.is_worth_another(login):
        try:
            return make()
        except psycopg2.OperationalError as error:
            refusal, cause = explain_refusal(connection, str(error)), error
    if refusal.code == TLS_UNTRUSTED:
        refusal = explain_untrusted(connection, refusal.detail or "")
    if isinstance(refusal, ConnectError) and connection.sessions:
        connection.sessions.refused()
    raise refusal from cause


def _open(
    connection: Connection, sessions: Sessions, *, stays: bool, lasts: bool, seconds: float | None
) -> psycopg2.extensions.connection:
    """Open a session of a run; the wait ends with the run."""
    if sessions.has_ended:
        most = min(seconds or math.inf, _CLEARING_CONNECT_SECONDS)
        made = open_patiently(lambda: _connected(connection, PLAIN_NAME), is_over=after(most))
        if made is None:
            raise explain_refusal(connection, "timeout expired")
        return made
    name = PLAIN_NAME if stays else sessions.lasting_name if lasts else sessions.name
    made = open_patiently(lambda: _connected(connection, name), is_over=lambda: sessions.has_ended)
    if made is None:
        raise stopped()
    return made


def _connected(
    connection: Connection,
    name: str,
    kind: type[psycopg2.extensions.connection] = psycopg2.extensions.connection,
) -> psycopg2.extensions.connection:
    login = connection.login
    return psycopg2.connect(
        connection_factory=kind,
        host=connection.host,
        port=connection.port,
        user=login.user,
        password=login.password,
        dbname=connection.database,
        sslmode=connection.sslmode,
        sslrootcert=connection.sslrootcert,
        channel_binding=connection.channel_binding,
        connect_timeout=connection.connect_timeout_seconds,
        application_name=name,
        keepalives_idle=30,
        keepalives_interval=10,
        keepalives_count=6,
        tcp_user_timeout=_UNRECEIVED_MILLISECONDS,
    )


def _prepare(session: psycopg2.extensions.connection, connection: Connection) -> None:
    try:
        # Names are Unicode whatever the database's encoding; rows say their own.
        has_encoding = session.get_parameter_status("server_encoding") != sql_ascii.ENCODING
        session.set_client_encoding("UTF8" if has_encoding else sql_ascii.ENCODING)
        with session.cursor() as cursor:
            cursor.execute("; ".join(session_settings(session.server_version)))
        session.commit()
    except psycopg2.Error as error:
        raise explain_refusal(connection, str(error)) from error


def one_line(error: psycopg2.Error) -> str:
    """Return an error's text for a `detail`: one line, at most 800 characters.

    The server's DETAIL and CONTEXT are left out: they quote values of rows.
    """
    primary = error.diag.message_primary
    text = f"{primary} (SQLSTATE {error.pgcode})" if primary else str(error)
    return " ".join(text.split())[:800]
