"""libpq has only words for a failed connection: each of its real texts becomes a code and something to do."""

import pytest

from coffre.model.errors import ConnectError, ConnectTransientError, PermanentError, TransientError
from coffre.postgres.connection.address import Connection
from coffre.postgres.connection.connect_errors import explain_refusal

HERE = Connection("db.example.com", 5432, "app", "hunter2", "shop", place="the secret coffre/database/{shop}")
AT = 'connection to server at "db.example.com" (10.0.0.1), port 5432 failed: '


@pytest.mark.parametrize(
    ("text", "code", "message"),
    [
        (
            'could not translate host name "db.example.com" to address: Name or service not known\n',
            "HOST_UNKNOWN",
            "The host db.example.com is not known.",
        ),
        (
            'could not translate host name "db.example.com" to address: No address associated with hostname\n',
            "HOST_UNKNOWN",
            "is not known",
        ),
        (
            f"{AT}Connection refused\n\tIs the server running on that host and accepting TCP/IP connections?\n",
            "CONNECTION_REFUSED",
            "Nothing answers at db.example.com:5432.",
        ),
        (f"{AT}timeout expired\n", "CONNECTION_TIMEOUT", "did not answer in time"),
        (f"{AT}Connection timed out\n\tIs the server running?\n", "CONNECTION_TIMEOUT", "did not answer in time"),
        (f"{AT}Network is unreachable\n\tIs the server running?\n", "HOST_UNREACHABLE", "cannot be reached"),
        (f"{AT}server does not support SSL, but SSL was required\n", "TLS_REFUSED", "(sslmode=require)"),
        (f"{AT}SSL error: certificate verify failed\n", "TLS_UNTRUSTED", "could not be verified"),
        (
            f'{AT}server certificate for "other.example.com" does not match host name "db.example.com"\n',
            "TLS_UNTRUSTED",
            "could not be verified",
        ),
        (
            (
                f'{AT}root certificate file "/x/root.crt" does not exist\nEither provide the file, use the system\'s'
                " trusted roots with sslrootcert=system, or change sslmode to disable server certificate"
                " verification.\n"
            ),
            "TLS_UNTRUSTED",
            "could not be verified",
        ),
        (
            (
                f'{AT}FATAL:  password authentication failed for user "app"\n{AT}FATAL:  no pg_hba.conf entry for host'
                ' "10.0.0.9", user "app", database "shop", no encryption\n'
            ),
            "AUTHENTICATION_FAILED",
            'refuses the role "app" or its password',
        ),
        (f"{AT}fe_sendauth: no password supplied\n", "AUTHENTICATION_FAILED", "or its password"),
        (f'{AT}FATAL:  role "app" does not exist\n', "AUTHENTICATION_FAILED", "or its password"),
        (
            f'{AT}FATAL:  no pg_hba.conf entry for host "10.0.0.9", user "app", database "shop", SSL encryption\n',
            "CONNECTION_NOT_ALLOWED",
            'does not let the role "app" in',
        ),
        (f'{AT}FATAL:  database "shop" does not exist\n', "DATABASE_MISSING", 'no database "shop"'),
        (f"{AT}something that nobody has seen\n", "CONNECTION_FAILED", "failed"),
    ],
)
def test_each_refusal_has_a_code_a_message_and_a_hint(text: str, code: str, message: str) -> None:
    error = explain_refusal(HERE, text)

    assert isinstance(error, ConnectError)
    assert isinstance(error, PermanentError)
    assert error.code == code
    assert message in error.message
    assert "the secret coffre/database/{shop}" in (error.hint or "")
    assert "\n" not in (error.detail or "")
    assert "hunter2" not in str(error)


@pytest.mark.parametrize(
    "text",
    [
        f"{AT}FATAL:  sorry, too many clients already\n",
        f'{AT}FATAL:  too many connections for role "app"\n',
        f'{AT}FATAL:  too many connections for database "shop"\n',
        f"{AT}FATAL:  remaining connection slots are reserved for roles with the SUPERUSER attribute\n",
        f"{AT}FATAL:  the database system is starting up\n",
        f"{AT}FATAL:  the database system is shutting down\n",
        f"{AT}FATAL:  the database system is in recovery mode\n",
        f"{AT}FATAL:  MaxClientsInSessionMode: max clients reached - in Session mode max clients are limited\n",
        f"{AT}FATAL:  (EMAXCONNSESSION) max clients reached in session mode - max clients are limited\n",
        f"{AT}FATAL:  no more connections allowed (max_client_conn)\n",
        f'{AT}FATAL:  number of requested standby connections exceeds "max_wal_senders" (currently 4)\n',
        f"{AT}FATAL:  number of requested standby connections exceeds max_wal_senders (currently 10)\n",
    ],
)
def test_a_server_that_is_only_busy_can_be_asked_again(text: str) -> None:
    error = explain_refusal(HERE, text)

    assert isinstance(error, ConnectTransientError)
    assert isinstance(error, TransientError)
    assert error.code == "SERVER_BUSY"
    assert "limits.streams" in (error.hint or "")
    assert "the secret coffre/database/{shop}" in (error.hint or "")


def test_a_server_without_any_wal_sender_is_not_busy() -> None:
    text = f'{AT}FATAL:  number of requested standby connections exceeds "max_wal_senders" (currently 0)\n'
    assert isinstance(explain_refusal(HERE, text), ConnectError)


def test_supabases_direct_hosts_get_their_own_advice() -> None:
    direct = Connection("db.abcdefgh.supabase.co", 5432, "postgres", "x", "postgres")

    error = explain_refusal(
        direct, 'could not translate host name "db.abcdefgh.supabase.co" to address: Name or service'
    )

    assert "IPv6 only" in (error.hint or "")
    assert "user postgres.abcdefgh" in (error.hint or "")


def test_a_long_text_is_cut() -> None:
    assert len(explain_refusal(HERE, "x" * 10_000).detail or "") == 500
