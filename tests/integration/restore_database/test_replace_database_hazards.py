"""What replacing a whole database must never do: an outage, a loss without a word, a half."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import closing
from typing import Any

import psycopg2
import pytest
from tests.integration.contents import RoundTrip, RoundTripOn, database_of, rows, run, value

from coffre.model.errors import CoffreError, ConfirmationError
from coffre.postgres.connection.connection_secret import parse_secret
from coffre.postgres.destination import database_swap as swap
from coffre_local.postgres_server import PostgresServer, ServerOptions
from coffre_local.toolchain import Toolchain

SHOP = ("CREATE TABLE orders (id int PRIMARY KEY)", "INSERT INTO orders SELECT generate_series(1, 10)")


@pytest.fixture
def shop(round_trip: RoundTrip) -> RoundTrip:
    round_trip.fill(*SHOP)
    return round_trip


def failed(shop: RoundTrip, backup: Any, **scope: Any) -> CoffreError:
    with pytest.raises(CoffreError) as caught:
        shop.restore_in_place(backup, **scope)
    return caught.value


def leftovers(shop: RoundTrip) -> list[str]:
    name = database_of(shop.source)
    query = f"SELECT datname FROM pg_database WHERE datname LIKE '{name}\\_%' ORDER BY 1"
    return [found for (found,) in rows(shop.server.dsn(), query)]


def test_the_database_in_use_never_stops_to_take_connections(shop: RoundTrip, monkeypatch: pytest.MonkeyPatch) -> None:
    """Whatever ends the run right before the names change: people can still connect."""
    backup = shop.back_up()
    seen = []

    def ended(*_: object) -> None:
        seen.append(value(shop.server.dsn(), f"SELECT datallowconn FROM pg_database WHERE datname = '{name}'"))
        raise KeyboardInterrupt

    name = database_of(shop.source)
    monkeypatch.setattr(swap, "_swap", ended)

    with pytest.raises(KeyboardInterrupt):
        shop.restore_in_place(backup, replace=True)

    assert seen == [True]


def test_clients_that_come_back_at_once_do_not_stop_the_swap(shop: RoundTrip) -> None:
    backup = shop.back_up()
    shop.fill("DELETE FROM orders")
    done = threading.Event()

    def pool() -> None:
        while not done.is_set():
            try:
                with closing(psycopg2.connect(shop.source)) as session, session.cursor() as cursor:
                    while not done.is_set():
                        cursor.execute("SELECT pg_sleep(0.01)")
            except psycopg2.Error:
                pass

    threads = [threading.Thread(target=pool) for _ in range(4)]
    for thread in threads:
        thread.start()
    try:
        shop.restore_in_place(backup, replace=True)
    finally:
        done.set()
        for thread in threads:
            thread.join()

    assert value(shop.source, "SELECT count(*) FROM orders") == 10


def test_a_swap_whose_answer_is_lost_is_done(shop: RoundTrip, monkeypatch: pytest.MonkeyPatch) -> None:
    backup = shop.back_up()
    shop.fill("DELETE FROM orders")
    monkeypatch.setattr(swap, "_COMMIT", "COMMIT; SELECT pg_terminate_backend(pg_backend_pid())")

    report = shop.restore_in_place(backup, replace=True)

    assert value(shop.source, "SELECT count(*) FROM orders") == 10
    run(shop.server.dsn(), *(kept.remove for kept in report.kept))


def test_sessions_that_the_role_cannot_end_are_named(shop: RoundTrip, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(swap, "_ATTEMPTS", 1)
    url = shop.create_role("may_create", "LOGIN CREATEDB")
    name = database_of(shop.source)
    run(shop.server.dsn(), f'ALTER DATABASE "{name}" OWNER TO may_create')
    shop.fill("ALTER TABLE orders OWNER TO may_create")
    backup = shop.back_up(reader=url)
    with closing(psycopg2.connect(shop.source)) as superuser:
        superuser.cursor().execute("SELECT 1")

        error = failed(shop, backup, replace=True)

        superuser.cursor().execute("SELECT count(*) FROM orders")
    assert error.code == "SWAP_FAILED"
    assert "terminate" in (error.detail or "")
    (restored,) = leftovers(shop)
    assert restored in (error.hint or "")


def test_a_backup_of_definitions_alone_replaces_nothing(shop: RoundTrip) -> None:
    backup = shop.back_up(contents="schema")

    assert failed(shop, backup, replace=True, no_safety=True).code == "REPLACE_IMPOSSIBLE"

    assert value(shop.source, "SELECT count(*) FROM orders") == 10


def test_tables_that_the_backup_does_not_have_are_named(shop: RoundTrip) -> None:
    shop.fill('CREATE TABLE "Not Chosen" (id int)')
    backup = shop.back_up(tables={"exclude": ['"Not Chosen"']})

    report = shop.restore_in_place(backup, replace=True, dry_run=True)

    assert any('in the old database only: public."Not Chosen".' in text for text in report.exceptions)


@pytest.fixture(scope="module")
def special(toolchain: Toolchain) -> Iterator[PostgresServer]:
    """A server with prepared transactions and logical decoding."""
    settings = {
        "max_prepared_transactions": "5",
        "wal_level": "logical",
        "max_wal_senders": "5",
        "max_replication_slots": "5",
    }
    with PostgresServer(toolchain.embedded_postgresql(), ServerOptions(settings=settings)) as server:
        yield server


def test_prepared_transactions_are_said_before_anything_is_restored(
    round_trip_on: RoundTripOn, special: PostgresServer
) -> None:
    shop = round_trip_on(special)
    shop.fill(*SHOP)
    backup = shop.back_up()
    shop.fill("BEGIN; INSERT INTO orders VALUES (99); PREPARE TRANSACTION 'two phases'")

    error = failed(shop, backup, replace=True, dry_run=True)

    run(shop.source, "ROLLBACK PREPARED 'two phases'")
    assert error.code == "REPLACE_IMPOSSIBLE"
    assert "two phases" in error.message


def test_replication_slots_that_stay_behind_are_named(round_trip_on: RoundTripOn, special: PostgresServer) -> None:
    shop = round_trip_on(special)
    shop.fill(*SHOP, "SELECT pg_create_logical_replication_slot('reader', 'pgoutput')")
    backup = shop.back_up()

    report = shop.restore_in_place(backup, replace=True, dry_run=True)

    shop.fill("SELECT pg_drop_replication_slot('reader')")
    assert any("stay with the old database" in text and "reader" in text for text in report.exceptions)


def test_the_database_postgres_itself_is_replaced(special: PostgresServer) -> None:
    connection = parse_secret(special.dsn("postgres"), where="here")
    special.create_database("postgres_new")

    assert swap.why_no_swap(connection) is None
    [(oid,)] = rows(special.dsn("postgres"), "SELECT oid::text FROM pg_database WHERE datname = 'postgres'")
    with pytest.raises(ConfirmationError):
        swap.swap_databases(connection, "postgres_new", "postgres_old", oid=oid + "1")
    assert rows(special.dsn("postgres"), "SELECT count(*) FROM pg_database WHERE datname = 'postgres_new'") == [(1,)]

    swap.swap_databases(connection, "postgres_new", "postgres_old", oid=oid)

    found = rows(special.dsn("template1"), "SELECT datname FROM pg_database WHERE datname LIKE 'postgres%' ORDER BY 1")
    assert found == [("postgres",), ("postgres_old",)]
    run(special.dsn("template1"), 'DROP DATABASE "postgres"', 'ALTER DATABASE "postgres_old" RENAME TO "postgres"')


@pytest.mark.parametrize(
    "pointing",
    ["CREATE TABLE mine.notes (id int REFERENCES orders)", "CREATE VIEW mine.notes AS SELECT id FROM public.orders"],
)
def test_schemas_into_which_others_point_are_not_replaced(shop: RoundTrip, pointing: str) -> None:
    """Nothing would say that the key now points at the old table."""
    owner = shop.create_role("schemas_only", "LOGIN")
    name = database_of(shop.source)
    run(shop.server.dsn(), f'ALTER DATABASE "{name}" OWNER TO schemas_only')
    shop.fill("ALTER TABLE orders OWNER TO schemas_only")
    backup = shop.back_up(reader=owner)
    shop.fill("CREATE SCHEMA mine", pointing)

    error = failed(shop, backup, replace=True, dry_run=True)

    assert error.code == "REPLACE_IMPOSSIBLE"
    assert "mine.notes" in error.message
