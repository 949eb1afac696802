"""Servers that cannot be reached, do not let us in, or are not what a backup needs."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from urllib.parse import quote

import pytest
from tests.integration.conftest import PASSWORD, SHOP, Coffre, Context, new_id, run_sql, with_password
from tests.integration.expect import failed_backup, failed_restore, no_secret
from tests.integration.faults import silent_server

from coffre.model.errors import ConnectError
from coffre.postgres.connection.connect_errors import explain_refusal
from coffre.postgres.connection.connection_secret import parse_secret
from coffre_local.postgres_server import PostgresServer
from coffre_local.sample import fingerprint
from coffre_local.toolchain import Toolchain

QUOTED = quote(PASSWORD, safe="")


def at(port: int, host: str = "127.0.0.1") -> str:
    return f"postgresql://ada:{QUOTED}@{host}:{port}/shop"


def test_an_unknown_host_is_named(coffre: Coffre) -> None:
    coffre.configure(at(5432, "db.nowhere.invalid"))

    failed_backup(
        coffre,
        "HOST_UNKNOWN",
        "The host db.nowhere.invalid is not known",
        "Check the host in the secret coffre/database/shop",
    )


def test_a_port_where_nothing_listens_is_named(coffre: Coffre) -> None:
    coffre.configure(at(1))

    failed_backup(coffre, "CONNECTION_REFUSED", "Nothing answers at 127.0.0.1:1", "that the server runs")


def test_a_server_that_does_not_answer_is_given_up(coffre: Coffre) -> None:
    with silent_server() as port:
        coffre.configure(at(port), target={"limits": {"connect_timeout_seconds": 1}})

        failed_backup(coffre, "CONNECTION_TIMEOUT", f"127.0.0.1:{port} did not answer in time", "firewall")


@pytest.mark.parametrize(
    ("host", "port", "words"),
    [
        ("aws-0-eu-west-1.pooler.supabase.invalid", 6543, ["session pooler", "with port 5432"]),
        ("ep-cool-1-pooler.eu-west-1.aws.neon.invalid", 5432, ["host ep-cool-1.eu-west-1.aws.neon.invalid"]),
    ],
)
def test_a_transaction_pooler_is_refused_before_any_connection(
    coffre: Coffre, host: str, port: int, words: list[str]
) -> None:
    """These hosts do not exist: another code would say that somebody looked for them."""
    coffre.configure(at(port, host))

    failed_backup(coffre, "TRANSACTION_POOLER", f"{host}:{port}/shop is a transaction pooler", *words)


def test_a_direct_host_of_supabase_comes_with_the_name_of_its_pooler() -> None:
    connection = parse_secret(at(5432, "db.abcdefghijklmnop.supabase.co"), where="test")

    error = explain_refusal(connection, "connection failed: Network is unreachable")

    assert error.code == "HOST_UNREACHABLE"
    assert "user postgres.abcdefghijklmnop" in str(error.hint)


# --- TLS ---


@pytest.fixture
def tls_shop(tls_server: PostgresServer) -> Iterator[str]:
    """The URL of a shop on the server that takes TLS only."""
    url = tls_server.create_database("tls_shop")
    run_sql(url, SHOP)
    yield url
    tls_server.drop_database("tls_shop")


def test_a_server_without_tls_is_refused_where_tls_is_asked_for(coffre: Coffre, shop: str) -> None:
    coffre.configure(shop, target={"tls": {"mode": "require"}})

    failed_backup(coffre, "TLS_REFUSED", "does not accept TLS as asked for (sslmode=require)", "tls.mode")


def test_a_server_with_tls_is_verified_by_its_ca(coffre: Coffre, tls_server: PostgresServer, tls_shop: str) -> None:
    ca = tls_server.certificate.read_text()
    coffre.configure(tls_shop, target={"tls": {"ca": ca}})

    done = coffre.backup()

    assert done["status"] == "COMPLETED"
    ((secured,),) = run_sql(tls_shop, "SELECT bool_and(ssl) FROM pg_stat_ssl JOIN pg_stat_activity USING (pid)"
                            " WHERE application_name LIKE 'coffre%'")  # fmt: skip
    assert secured in (True, None)
    # And a copy comes back over TLS too
    new = tls_shop.replace("tls_shop", "tls_copy")
    coffre.restore(done["id"], new)
    try:
        assert fingerprint(new) == fingerprint(tls_shop)
    finally:
        tls_server.drop_database("tls_copy")


def test_a_certificate_cannot_be_verified_without_a_ca(coffre: Coffre, tls_shop: str) -> None:
    coffre.configure(tls_shop, target={"tls": {"mode": "verify-full"}})

    failed_backup(coffre, "TLS_UNTRUSTED", "cannot be verified: no authority (CA) is configured", "tls.ca")


def test_a_server_that_takes_tls_only_refuses_plain_connections(coffre: Coffre, tls_shop: str) -> None:
    coffre.configure(tls_shop, target={"tls": {"mode": "disable"}})

    failed_backup(coffre, "CONNECTION_NOT_ALLOWED", 'does not let the role "postgres" in', "no encryption")


# --- passwords, roles, databases ---


@pytest.mark.parametrize("mode", ["require", "prefer"])
def test_a_wrong_password_is_an_error_that_does_not_repeat_it(
    coffre: Coffre, tls_server: PostgresServer, tls_shop: str, mode: str
) -> None:
    """With `prefer` libpq tries again without TLS, and the server's second refusal stands beside the first."""
    url = f"postgresql://postgres:{QUOTED}@127.0.0.1:{tls_server.port}/tls_shop"
    coffre.configure(url, target={"tls": {"mode": mode}})

    failed_backup(
        coffre, "AUTHENTICATION_FAILED", 'the role "postgres" or its password', "in the secret coffre/database/shop"
    )


def test_the_right_password_with_odd_characters_is_in_no_text(
    coffre: Coffre, tls_server: PostgresServer, tls_shop: str
) -> None:
    coffre.configure(tls_shop)

    assert coffre.backup()["status"] == "COMPLETED"

    no_secret(coffre)
    said = "\n".join(coffre.log_lines)
    assert str(tls_server.options.password) not in said


def test_a_role_that_does_not_exist_is_an_error(coffre: Coffre, shop: str) -> None:
    coffre.configure(shop.replace("postgres:", "nobody_knows:", 1).replace("nobody_knowsql", "postgresql"))

    failed_backup(coffre, "AUTHENTICATION_FAILED", '"nobody_knows"')


def test_a_missing_database_is_named(coffre: Coffre, shop: str) -> None:
    coffre.configure(f"{shop}_gone")

    failed_backup(coffre, "DATABASE_MISSING", "_gone", "Check the database's name in the secret coffre/database/shop")


@pytest.mark.parametrize(("is_from_to", "place"), [(True, "--to"), (False, "the secret coffre/destination/mine")])
def test_a_restore_names_where_its_address_came_from(coffre: Coffre, shop: str, is_from_to: bool, place: str) -> None:
    """The command keeps what --to says in a secret that is named after the restore, and nobody ever sees that."""
    coffre.configure(shop)
    backup_id, restore_id = coffre.backup()["id"], new_id()
    secret = f"coffre/destination/{restore_id}" if is_from_to else "coffre/destination/mine"
    coffre.secret(secret, f"{shop}_gone")

    with pytest.raises(ConnectError) as caught:
        coffre.restore_function().handle(
            {"backup_id": backup_id, "destination": secret, "restore_id": restore_id, "tables": ["orders"]},
            Context(function_name="restore"),
        )

    assert (caught.value.code, caught.value.hint) == ("DATABASE_MISSING", f"Check the database's name in {place}.")


def test_a_server_without_room_is_an_error_that_passes(coffre: Coffre, shop: str) -> None:
    # Given a role that may open one session: the holder's
    run_sql(shop, "CREATE ROLE one_session LOGIN CONNECTION LIMIT 1 IN ROLE pg_read_all_data")
    try:
        coffre.configure(with_password(shop, "one_session"))

        failed_backup(coffre, "SERVER_BUSY", "no room for another connection", "limits.streams")
    finally:
        run_sql(shop, "DROP ROLE one_session")


# --- versions ---


@pytest.mark.parametrize("major", [15, 17])
def test_a_server_newer_than_the_client_tools_is_refused(
    coffre: Coffre, shop: str, toolchain: Toolchain, major: int
) -> None:
    coffre.configure(shop)
    coffre.environment["COFFRE_POSTGRES_HOME"] = str(toolchain.postgresql(major))

    failed_backup(coffre, "SERVER_TOO_NEW", f"is PostgreSQL 18, newer than the client tools ({major})", "Update Coffre")


def test_missing_client_tools_are_an_error_that_names_the_layer(coffre: Coffre, shop: str, tmp_path: Path) -> None:
    coffre.configure(shop)
    coffre.environment["COFFRE_POSTGRES_HOME"] = str(tmp_path)

    failed_backup(coffre, "TOOLS_MISSING", str(tmp_path), "PostgresqlClientLayer")


def test_limits_of_the_role_do_not_cut_a_backup(coffre: Coffre, shop: str) -> None:
    """Managed servers give roles timeouts that are shorter than a backup (field note 12)."""
    run_sql(shop, "CREATE ROLE hurried LOGIN IN ROLE pg_read_all_data")
    for setting in (
        "statement_timeout",
        "lock_timeout",
        "idle_in_transaction_session_timeout",
        "idle_session_timeout",
        "transaction_timeout",
    ):
        run_sql(shop, f"ALTER ROLE hurried SET {setting} = '100ms'")
    try:
        coffre.configure(with_password(shop, "hurried"))

        assert coffre.backup()["status"] == "COMPLETED"
    finally:
        run_sql(shop, "DROP ROLE hurried")


# --- destinations ---


@pytest.mark.parametrize(
    ("destination", "code", "words"),
    [
        (at(5432, "db.nowhere.invalid"), "HOST_UNKNOWN", ["db.nowhere.invalid"]),
        (at(6543, "db.nowhere.invalid"), "TRANSACTION_POOLER", ["port 5432"]),
        ("postgresql://", "SECRET_SHAPE", ["coffre/database/destination"]),
    ],
)
def test_a_destination_that_cannot_be_used_is_an_error(
    coffre: Coffre, shop: str, destination: str, code: str, words: list[str]
) -> None:
    coffre.configure(shop)
    done = coffre.backup()

    failed_restore(coffre, code, *words, backup_id=done["id"], destination=destination)
