"""Why a server refuses a connection: libpq's text as an error that says what to do."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Final

from coffre.model.errors import CoffreError, ConnectError, ConnectTransientError

if TYPE_CHECKING:
    from coffre.postgres.connection.address import Connection

AUTHENTICATION_FAILED: Final = "AUTHENTICATION_FAILED"
TLS_UNTRUSTED: Final = "TLS_UNTRUSTED"

# libpq gives no SQLSTATE for a failed connection, only text. First match wins.
_REFUSALS: Final[tuple[tuple[str, str, str, str], ...]] = (
    (
        r"could not translate host name|Name or service not known|No address associated",
        "HOST_UNKNOWN",
        "The host {host} is not known.",
        "Check the host in {place}, and that the function's network can resolve it.",
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
        "Check host and port in {place}, and that the server runs and listens there.",
    ),
    (
        r"timeout expired|Connection timed out|Operation timed out",
        "CONNECTION_TIMEOUT",
        "{host}:{port} did not answer in time.",
        "Usually a firewall: allow the function's subnet or address, or put the function into the database's VPC.",
    ),
    (
        r"certificate verify failed|server certificate for|root certificate file",
        TLS_UNTRUSTED,
        "The TLS certificate of {host} could not be verified.",
        "Put the provider's CA (PEM) into the target's tls.ca.",
    ),
    (
        r"server does not support SSL|SSL error|sslmode",
        "TLS_REFUSED",
        "{host}:{port} does not accept TLS as asked for (sslmode={sslmode}).",
        "Turn TLS on at the server. Only if you accept that everybody on the way can read: tls.mode = disable.",
    ),
    # Before pg_hba.conf: with sslmode=prefer libpq tries again without TLS, and both refusals are in the text.
    (
        r"password authentication failed|no password supplied|authentication failed|role \".*\" does not exist",
        AUTHENTICATION_FAILED,
        'The server refuses the role "{user}" or its password.',
        "Update username and password in {place}.",
    ),
    (
        r"permission denied for database",
        "CONNECT_DENIED",
        'The role "{user}" may not connect to the database "{database}".',
        'GRANT CONNECT ON DATABASE "{database}" TO "{user}", or leave it out: databases.exclude of its server.',
    ),
    (
        r"no pg_hba.conf entry|pg_hba.conf rejects",
        "CONNECTION_NOT_ALLOWED",
        'The server does not let the role "{user}" in from here.',
        "Allow the function's address for this role and database at the server.",
    ),
    (
        r"database \".*\" does not exist",
        "DATABASE_MISSING",
        'There is no database "{database}" at {host}:{port}.',
        "Check the database's name in {place}.",
    ),
)
CONNECTION_LOST: Final = (
    r"server closed the connection|terminating connection|connection to server was lost|Connection reset"
    r"|SSL connection has been closed|could not receive data from server|SSL SYSCALL|no connection to the server"
    r"|connection already closed"
)
_BUSY: Final = re.compile(
    r"too many (clients|connections)|remaining connection slots|starting up|shutting down|recovery mode"
    r"|exceeds \"?max_wal_senders\"? \(currently [1-9]"  # of 0 there is never one
    r"|max clients reached|no more connections allowed"  # of Supavisor, of PgBouncer
)


def explain_refusal(connection: Connection, text: str) -> CoffreError:
    """Turn libpq's text of a failed connection into an error that says what to do."""
    detail = _tail(text)
    if _BUSY.search(text):
        return ConnectTransientError(
            f"The server {connection} has no room for another connection now.",
            detail=detail,
            hint=_naming_place(
                connection,
                "It is tried again. If it stays so, lower limits.streams of the target or raise max_connections.",
            ),
        )
    facts = {
        "host": connection.host,
        "port": connection.port,
        "user": connection.user,
        "database": connection.database,
        "sslmode": connection.sslmode,
        "place": connection.place,
    }
    if re.search(CONNECTION_LOST, text):
        return ConnectTransientError(
            f"The connection to {connection} was cut while it was being made.",
            code="CONNECTION_LOST",
            detail=detail,
            hint=_naming_place(
                connection,
                "Run it again; if it happens again, look at the server's log, and at the proxies on the way.",
            ),
        )
    for pattern, code, message, advice in _REFUSALS:
        if re.search(pattern, text):
            hint = _naming_place(connection, advice.format(**facts))
            return ConnectError(message.format(**facts), code=code, detail=detail, hint=_for_provider(connection, hint))
    return ConnectError(
        f"The connection to {connection} failed.", detail=detail, hint=f"Check {connection.place} and the network."
    )


def _naming_place(connection: Connection, hint: str) -> str:
    """Let every hint name where the address comes from: it is the first thing to look at, and there are many."""
    return hint if connection.place in hint else f"{hint} The address comes from {connection.place}."


def _for_provider(connection: Connection, hint: str) -> str:
    direct = re.fullmatch(r"db\.([a-z0-9]+)\.supabase\.co", connection.host)
    if direct is None:
        return hint
    return (
        f"{hint} Supabase's direct hosts are IPv6 only: use the session pooler of your project "
        f"(Connect > Session pooler: port 5432, user postgres.{direct.group(1)})."
    )


def _tail(text: str) -> str:
    return " ".join(text.split())[-500:]
