"""Connecting: secrets into connection settings, settings into sessions."""

from __future__ import annotations

import ipaddress
import json
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, Final
from urllib.parse import parse_qs, unquote, urlsplit

import psycopg2
import psycopg2.extensions

from coffre.model.errors import ConnectError, SecretError
from coffre.model.target import Tls
from coffre.postgres.refusals import explain_refusal

_SCHEMES: Final = ("postgresql://", "postgres://")
_URL_OPTIONS: Final = frozenset({"channel_binding", "sslmode", "sslrootcert"})
# Options that people copy along from their application's URL.
_OTHER_OPTIONS: Final = frozenset(
    {"application_name", "connect_timeout", "connection_limit", "options", "pgbouncer", "pool_timeout", "schema"}
    | {"gssencmode", "host", "keepalives", "port", "sslcert", "sslkey", "sslpassword", "target_session_attrs", "user"}
)
# Sent by SET on every connection, never as startup options: poolers refuse those (field notes 10, 12, 15).
_SESSION_SETTINGS: Final = (
    "SET statement_timeout = 0",
    "SET idle_in_transaction_session_timeout = 0",
    # The server's own keepalives: when a function dies without a word, its backends are gone after 90 seconds and not
    # after two hours (field note 25).
    "SET tcp_keepalives_idle = 30",
    "SET tcp_keepalives_interval = 10",
    "SET tcp_keepalives_count = 6",
    "SET row_security = off",
    "SET DateStyle = 'ISO, YMD'",
    "SET IntervalStyle = 'postgres'",
    "SET extra_float_digits = 3",
    "SET bytea_output = 'hex'",
    "SET xmlbinary = 'base64'",
    "SET xmloption = 'content'",
    "SET TimeZone = 'UTC'",
    "SET lc_monetary = 'C'",
    "SET synchronize_seqscans = off",
    "SET standard_conforming_strings = on",
    "SET search_path = pg_catalog",
)
# Limits that newer majors brought: the number of the first version that knows each.
_NEWER_SETTINGS: Final = (
    (140000, "SET idle_session_timeout = 0"),
    (170000, "SET transaction_timeout = 0"),
)
_CHANNEL_BINDINGS: Final = ("disable", "prefer", "require")
_SSL_MODES: Final = ("disable", "allow", "prefer", "require", "verify-ca", "verify-full")


@dataclass(frozen=True)
class Connection:
    """How to reach one database. `password` and `ca` are never shown."""

    host: str
    port: int
    user: str
    password: str = field(repr=False)
    database: str
    sslmode: str = "require"
    sslrootcert: str | None = None
    connect_timeout_seconds: int = 10
    channel_binding: str | None = None

    def __str__(self) -> str:
        return f"{self.host}:{self.port}/{self.database}"

    def to_database(self, database: str) -> Connection:
        """Return the same server and role with another database."""
        return replace(self, database=database)

    def environment(self) -> dict[str, str]:
        """Return libpq's variables for a child process: nothing of this is ever in an argument list."""
        variables = {
            "PGHOST": self.host,
            "PGPORT": str(self.port),
            "PGUSER": self.user,
            "PGPASSWORD": self.password,
            "PGDATABASE": self.database,
            "PGSSLMODE": self.sslmode,
            "PGCONNECT_TIMEOUT": str(self.connect_timeout_seconds),
            "PGAPPNAME": "coffre",
        }
        if self.sslrootcert:
            variables["PGSSLROOTCERT"] = self.sslrootcert
        if self.channel_binding:
            variables["PGCHANNELBINDING"] = self.channel_binding
        return variables


def session_settings(version_number: int) -> tuple[str, ...]:
    """Return the statements with which every session of a server of this version begins."""
    newer = tuple(statement for since, statement in _NEWER_SETTINGS if version_number >= since)
    return _SESSION_SETTINGS + newer


def conninfo_of(database: str) -> str:
    """Return a connection string that names a database and nothing else: the rest comes from the environment."""
    escaped = database.replace("\\", "\\\\").replace("'", "\\'")
    return f"dbname='{escaped}'"


def parse_secret(text: str, *, where: str) -> Connection:
    """Read a secret's value: a `postgresql://` URL, or JSON as RDS writes it.

    Parameters
    ----------
    text
        The value. It is never repeated in an error.
    where
        The secret's name, for the message.

    Raises
    ------
    SecretError
        Code `SECRET_SHAPE`, naming what is missing.
    """
    text = text.strip()
    if text.startswith(_SCHEMES):
        return _from_url(text, where)
    try:
        data = json.loads(text)
    except json.JSONDecodeError:
        data = None
    if not isinstance(data, dict):
        raise _shape(where, "it is neither a postgresql:// URL nor a JSON object")
    if isinstance(url := data.get("url"), str):
        if not url.startswith(_SCHEMES):
            raise _shape(where, "its url does not begin with postgresql://")
        return _from_url(url, where)
    return _from_fields(data, where)


def _from_url(url: str, where: str) -> Connection:
    try:
        parts = urlsplit(url)
        port = 5432 if parts.port is None else parts.port
        options = parse_qs(parts.query, strict_parsing=bool(parts.query))
    except ValueError:
        # Not `from` it: its text repeats what stands where the port should be, which can be a part of the password.
        raise _shape(where, "the URL cannot be read; percent-encode special characters in the password") from None
    missing = [
        name
        for name, value in (("host", parts.hostname), ("user", parts.username), ("database", parts.path.strip("/")))
        if not value
    ]
    if missing:
        raise _shape(where, f"the URL has no {' and no '.join(missing)}")
    unknown = sorted(set(options) - _URL_OPTIONS)
    if unknown:
        # An option that nobody knows can be a part of a password with a question mark: it is not repeated.
        names = ", ".join(name if name in _OTHER_OPTIONS else "(not repeated)" for name in unknown)
        raise _shape(where, f"unknown URL option {names}; allowed: {', '.join(sorted(_URL_OPTIONS))}")
    host = unquote(parts.hostname or "")
    connection = Connection(
        host=host,
        port=port,
        user=unquote(parts.username or ""),
        password=unquote(parts.password or ""),
        database=unquote(parts.path.lstrip("/")),
        sslmode=options.get("sslmode", [_default_sslmode(host)])[0],
        sslrootcert=options.get("sslrootcert", [None])[0],
        channel_binding=options.get("channel_binding", [None])[0],
    )
    return _checked(connection, where)


def _from_fields(data: dict[str, Any], where: str) -> Connection:
    user = data.get("username", data.get("user"))
    database = data.get("dbname", data.get("database"))
    named = {"host": data.get("host"), "username": user, "password": data.get("password"), "dbname": database}
    missing = [
        name for name, value in named.items() if not isinstance(value, str) or (not value and name != "password")
    ]
    if missing:
        raise _shape(where, f"missing or not text: {', '.join(missing)}")
    try:
        port = int(data.get("port", 5432))
    except (TypeError, ValueError):
        raise _shape(where, "port is not a number") from None
    host = str(named["host"])
    sslmode = str(data.get("sslmode") or _default_sslmode(host))
    return _checked(Connection(host, port, str(user), str(named["password"]), str(database), sslmode), where)


def _checked(connection: Connection, where: str) -> Connection:
    """Refuse what libpq would refuse in words that do not say where it stands."""
    if not 1 <= connection.port <= 65535:
        raise _shape(where, "port is not a number from 1 to 65535")
    if connection.sslmode not in _SSL_MODES:
        raise _shape(where, f"sslmode is none of {', '.join(_SSL_MODES)}")
    if connection.channel_binding not in (None, *_CHANNEL_BINDINGS):
        raise _shape(where, f"channel_binding is none of {', '.join(_CHANNEL_BINDINGS)}")
    with_nul = [name for name in ("host", "user", "password", "database") if "\0" in getattr(connection, name)]
    if with_nul:
        raise _shape(where, f"{' and '.join(with_nul)} has a NUL character")
    return connection


def _shape(where: str, why: str) -> SecretError:
    return SecretError(
        f"The secret {where} does not describe a database.",
        code="SECRET_SHAPE",
        detail=why,
        hint="Store a URL (postgresql://user:password@host:5432/db), or JSON: host, port, username, password, dbname.",
    )


def _default_sslmode(host: str) -> str:
    """Never below `require`, except on this very machine, where there is no wire to listen on (field note 14)."""
    try:
        local = ipaddress.ip_address(host).is_loopback
    except ValueError:
        local = host == "localhost" or host.startswith("/")
    return "prefer" if local else "require"


def apply_tls(connection: Connection, tls: Tls, scratch: Path, *, connect_timeout_seconds: int) -> Connection:
    """Return the connection with the target's own settings; a CA makes `verify-full` the default."""
    connection = replace(connection, connect_timeout_seconds=connect_timeout_seconds)
    if tls.ca is None:
        return replace(connection, sslmode=tls.mode) if tls.mode else connection
    file = scratch / "ca.pem"
    file.write_text(tls.ca)
    return replace(connection, sslmode=tls.mode or "verify-full", sslrootcert=str(file))


def refuse_transaction_pooler(connection: Connection) -> None:
    """Refuse endpoints where a session does not keep its transaction and its settings (field note 10).

    Raises
    ------
    ConnectError
        Code `TRANSACTION_POOLER`, naming the endpoint to use instead.
    """
    if "-pooler." in connection.host:
        direct = connection.host.replace("-pooler.", ".", 1)
        raise _pooler(connection, f"Use Neon's direct endpoint: host {direct}, port {connection.port}.")
    if connection.port == 6543:
        raise _pooler(connection, f"Use the session pooler: the same host {connection.host} with port 5432.")


def _pooler(connection: Connection, hint: str) -> ConnectError:
    return ConnectError(
        f"{connection} is a transaction pooler: a consistent backup needs a session.",
        code="TRANSACTION_POOLER",
        hint=f"{hint} Change it in the target's secret.",
    )


@contextmanager
def connect(connection: Connection) -> Iterator[psycopg2.extensions.connection]:
    """Open a session with pinned settings and keepalives, and close it at the end, whatever happens.

    Raises
    ------
    ConnectError, ConnectTransientError
        With one code for each cause (`HOST_UNKNOWN`, `CONNECTION_REFUSED`, `TLS_REFUSED`, ...).
    """
    try:
        session = psycopg2.connect(
            host=connection.host,
            port=connection.port,
            user=connection.user,
            password=connection.password,
            dbname=connection.database,
            sslmode=connection.sslmode,
            sslrootcert=connection.sslrootcert,
            channel_binding=connection.channel_binding,
            connect_timeout=connection.connect_timeout_seconds,
            application_name="coffre",
            keepalives_idle=30,
            keepalives_interval=10,
            keepalives_count=6,
        )
    except psycopg2.OperationalError as error:
        raise explain_refusal(connection, str(error)) from error
    try:
        _prepare(session, connection)
        yield session
    finally:
        session.close()


def _prepare(session: psycopg2.extensions.connection, connection: Connection) -> None:
    try:
        session.set_client_encoding("UTF8")  # names are Unicode whatever the database's encoding; rows say their own
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
