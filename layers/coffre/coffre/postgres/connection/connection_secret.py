"""A secret's text as the address of a database."""

from __future__ import annotations

import json
from dataclasses import replace
from typing import Any, Final
from urllib.parse import parse_qs, unquote, urlsplit

from coffre.model.database_target import default_tls_mode
from coffre.model.document import parse_json
from coffre.model.errors import SecretError
from coffre.postgres.connection.address import Connection
from coffre.postgres.connection.certificates import SYSTEM, system_file

_SCHEMES: Final = ("postgresql://", "postgres://")
_URL_OPTIONS: Final = frozenset({"channel_binding", "sslmode", "sslrootcert"})
# Options that people copy along from their application's URL.
_OTHER_OPTIONS: Final = frozenset(
    {"application_name", "connect_timeout", "connection_limit", "options", "pgbouncer", "pool_timeout", "schema"}
    | {"gssencmode", "host", "keepalives", "port", "sslcert", "sslkey", "sslpassword", "target_session_attrs", "user"}
)
_SSL_MODES: Final = ("disable", "allow", "prefer", "require", "verify-ca", "verify-full")
_CHANNEL_BINDINGS: Final = ("disable", "prefer", "require")


def parse_secret(text: str, *, where: str, place: str | None = None) -> Connection:
    """Read a secret's value: a `postgresql://` URL, or JSON as RDS writes it.

    Parameters
    ----------
    text
        The value. It is never repeated in an error.
    where
        The secret's name, for the message.
    place
        How later errors name where the address is kept; by default as this secret.

    Raises
    ------
    SecretError
        Code `SECRET_SHAPE`, naming what is missing.
    """
    return replace(_parse(text.strip(), where), place=place or f"the secret {where}")


def _parse(text: str, where: str) -> Connection:
    if text.startswith(_SCHEMES):
        return _from_url(text, where)
    try:
        data = parse_json(text)
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
        # An unknown option can be a part of a password with a question mark: it is not repeated.
        names = ", ".join(name if name in _OTHER_OPTIONS else "(not repeated)" for name in unknown)
        raise _shape(where, f"unknown URL option {names}; allowed: {', '.join(sorted(_URL_OPTIONS))}")
    host = unquote(parts.hostname or "")
    authority = options.get("sslrootcert", [None])[0]
    is_public = authority == SYSTEM
    connection = Connection(
        host=host,
        port=port,
        user=unquote(parts.username or ""),
        password=unquote(parts.password or ""),
        database=unquote(parts.path.lstrip("/")),
        sslmode=options.get("sslmode", [default_tls_mode(host, has_ca=is_public)])[0],
        sslrootcert=system_file() if is_public else authority,
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
    except (TypeError, ValueError, OverflowError):
        raise _shape(where, "port is not a number") from None
    host = str(named["host"])
    sslmode = str(data.get("sslmode") or default_tls_mode(host))
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
