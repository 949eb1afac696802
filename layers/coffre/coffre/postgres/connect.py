"""Connecting: secrets into connection settings, settings into connections, and libpq's refusals into clear errors."""

from __future__ import annotations

import ipaddress
import json
import re
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, Final
from urllib.parse import parse_qs, unquote, urlsplit

import psycopg2
import psycopg2.extensions

from coffre.model.errors import CoffreError, ConnectError, ConnectTransientError, SecretError
from coffre.model.target import Tls

_URL_OPTIONS: Final = frozenset({"sslmode", "sslrootcert"})
# Sent by SET on every connection, never as startup options: poolers refuse those (field notes 10, 12, 15).
SESSION_SETTINGS: Final = (
    "SET statement_timeout = 0",
    "SET row_security = off",
    "SET DateStyle = 'ISO, YMD'",
    "SET IntervalStyle = 'postgres'",
    "SET extra_float_digits = 3",
    "SET bytea_output = 'hex'",
    "SET xmlbinary = 'base64'",
    "SET TimeZone = 'UTC'",
    "SET lc_monetary = 'C'",
    "SET synchronize_seqscans = off",
    "SET standard_conforming_strings = on",
    "SET search_path = pg_catalog",
)


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
        return variables


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
    if text.startswith(("postgresql://", "postgres://")):
        return _from_url(text, where)
    try:
        data = json.loads(text)
    except json.JSONDecodeError:
        data = None
    if not isinstance(data, dict):
        raise _shape(where, "it is neither a postgresql:// URL nor a JSON object")
    if isinstance(data.get("url"), str):
        return _from_url(data["url"], where)
    return _from_fields(data, where)


def _from_url(url: str, where: str) -> Connection:
    try:
        parts = urlsplit(url)
        port = parts.port or 5432
        options = parse_qs(parts.query, strict_parsing=bool(parts.query))
    except ValueError as error:
        raise _shape(where, "the URL cannot be read; percent-encode special characters in the password") from error
    missing = [
        name
        for name, value in (("host", parts.hostname), ("user", parts.username), ("database", parts.path.strip("/")))
        if not value
    ]
    if missing:
        raise _shape(where, f"the URL has no {' and no '.join(missing)}")
    unknown = sorted(set(options) - _URL_OPTIONS)
    if unknown:
        raise _shape(where, f"unknown URL option {', '.join(unknown)}; allowed: {', '.join(sorted(_URL_OPTIONS))}")
    host = unquote(parts.hostname or "")
    return Connection(
        host=host,
        port=port,
        user=unquote(parts.username or ""),
        password=unquote(parts.password or ""),
        database=unquote(parts.path.lstrip("/")),
        sslmode=options.get("sslmode", [_default_sslmode(host)])[0],
        sslrootcert=options.get("sslrootcert", [None])[0],
    )


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
    except (TypeError, ValueError) as error:
        raise _shape(where, "port is not a number") from error
    host = str(named["host"])
    sslmode = str(data.get("sslmode") or _default_sslmode(host))
    return Connection(host, port, str(user), str(named["password"]), str(database), sslmode)


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
            connect_timeout=connection.connect_timeout_seconds,
            application_name="coffre",
            keepalives_idle=30,
            keepalives_interval=10,
            keepalives_count=6,
        )
    except psycopg2.OperationalError as error:
        raise explain_refusal(connection, str(error)) from error
    try:
        session.set_client_encoding("UTF8")  # names are Unicode whatever the database's encoding; rows say their own
        with session.cursor() as cursor:
            cursor.execute("; ".join(SESSION_SETTINGS))
        session.commit()
        yield session
    finally:
        session.close()


# libpq gives no SQLSTATE for a failed connection, only text. First match wins.
_REFUSALS: Final[tuple[tuple[str, str, str, str], ...]] = (
    (
        r"could not translate host name|Name or service not known|No address associated",
        "HOST_UNKNOWN",
        "The host {host} is not known.",
        "Check the host in the secret, and that the function's network can resolve it.",
    ),
    (
        r"Network is unreachable|Cannot assign requested address",
        "HOST_UNREACHABLE",
        "The host {host} cannot be reached from here.",
        "If it has only an IPv6 address, give the function an IPv6 subnet or use an IPv4 endpoint.",
    ),
    (
        r"Connection refused",
        "CONNECTION_REFUSED",
        "Nothing answers at {host}:{port}.",
        "Check host and port in the secret, and that the server runs and listens there.",
    ),
    (
        r"timeout expired|Connection timed out|Operation timed out",
        "CONNECTION_TIMEOUT",
        "{host}:{port} did not answer in time.",
        "Usually a firewall: allow the function's subnet or address, or put the function into the database's VPC.",
    ),
    (
        r"certificate verify failed|server certificate for|root certificate file",
        "TLS_UNTRUSTED",
        "The TLS certificate of {host} could not be verified.",
        "Put the provider's CA (PEM) into the target's tls.ca.",
    ),
    (
        r"server does not support SSL|SSL error|sslmode",
        "TLS_REFUSED",
        "{host}:{port} does not accept TLS as asked for (sslmode={sslmode}).",
        "Turn TLS on at the server. Only if you accept that everybody on the way can read: tls.mode = disable.",
    ),
    (
        r"no pg_hba.conf entry|pg_hba.conf rejects",
        "CONNECTION_NOT_ALLOWED",
        'The server does not let the role "{user}" in from here.',
        "Allow the function's address for this role and database at the server.",
    ),
    (
        r"password authentication failed|no password supplied|authentication failed|role \".*\" does not exist",
        "AUTHENTICATION_FAILED",
        'The server refuses the role "{user}" or its password.',
        "Update username and password in the secret.",
    ),
    (
        r"database \".*\" does not exist",
        "DATABASE_MISSING",
        'There is no database "{database}" at {host}:{port}.',
        "Check the database's name in the secret.",
    ),
)
_BUSY: Final = re.compile(
    r"too many (clients|connections)|remaining connection slots|starting up|shutting down|MaxClients|recovery mode"
)


def explain_refusal(connection: Connection, text: str) -> CoffreError:
    """Turn libpq's text of a failed connection into an error that says what to do."""
    detail = _tail(text)
    if _BUSY.search(text):
        return ConnectTransientError(
            f"The server {connection} has no room for another connection now.",
            detail=detail,
            hint="It is tried again. If it stays so, lower limits.streams of the target or raise max_connections.",
        )
    facts = {
        "host": connection.host,
        "port": connection.port,
        "user": connection.user,
        "database": connection.database,
        "sslmode": connection.sslmode,
    }
    for pattern, code, message, hint in _REFUSALS:
        if re.search(pattern, text):
            return ConnectError(message.format(**facts), code=code, detail=detail, hint=_for_provider(connection, hint))
    return ConnectError(
        f"The connection to {connection} failed.", detail=detail, hint="Check the target's secret and the network."
    )


def _for_provider(connection: Connection, hint: str) -> str:
    direct = re.fullmatch(r"db\.([a-z0-9]+)\.supabase\.co", connection.host)
    if direct is None:
        return hint
    return (
        f"{hint} Supabase's direct hosts are IPv6 only: use the session pooler of your project "
        f"(Connect > Session pooler: port 5432, user postgres.{direct.group(1)})."
    )


def one_line(error: psycopg2.Error) -> str:
    """Return an error's text for a `detail`: one line, at most 800 characters."""
    return " ".join(str(error).split())[:800]


def _tail(text: str) -> str:
    return " ".join(text.split())[-500:]
