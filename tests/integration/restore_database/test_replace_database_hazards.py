"""What replacing a whole database must never do: an outage, a loss without a word, a half."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import psycopg2
import pytest
from tests.integration.contents import RoundTrip, RoundTripOn, database_of, rows, run, value

from coffre.model.errors import CoffreError, ConfirmationError
from coffre.model.restore import Scope
from coffre.operations.restore_database.job import RestoreJob
from coffre.operations.restore_database.restore import restore_database
from coffre.operations.runs.parallel_map import ThreadRunner
from coffre.operations.runs.progress import Meter
from coffre.postgres.connection.client_tools import Children
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


def test_slots_and_subscriptions_that_stay_behind_are_named(
    round_trip_on: RoundTripOn, special: PostgresServer
) -> None:
    shop = round_trip_on(special)
    shop.fill(
        *SHOP,
        "SELECT pg_create_logical_replication_slot('reader', 'pgoutput')",
        "CREATE SUBSCRIPTION taken CONNECTION 'host=nowhere' PUBLICATION p WITH (connect = false)",
    )
    backup = shop.back_up()

    report = shop.restore_in_place(backup, replace=True, dry_run=True)

    shop.fill(
        "SELECT pg_drop_replication_slot('reader')",
        "ALTER SUBSCRIPTION taken SET (slot_name = NONE)",
        "DROP SUBSCRIPTION taken",
    )
    said = [text for text in report.exceptions if "stay with the old database" in text]
    assert [text.split(": ")[2].partition(".")[0] for text in said] == ["reader", "taken"]
    # And the one of the new database, which an archive can only make like this, is not taken for one that works
    assert any("switched off: taken." in text for text in report.notes)


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


def test_schemas_into_which_others_point_are_not_replaced(shop: RoundTrip) -> None:
    """Nothing would say that a key, a type or a function is the old one, which is dropped with its schema."""
    owner = shop.create_role("schemas_only", "LOGIN")
    name = database_of(shop.source)
    run(shop.server.dsn(), f'ALTER DATABASE "{name}" OWNER TO schemas_only')
    run(
        owner,
        "CREATE TYPE mood AS ENUM ('good')",
        "CREATE SEQUENCE numbers",
        "CREATE FUNCTION touch() RETURNS trigger LANGUAGE plpgsql AS 'BEGIN RETURN new; END'",
    )
    shop.fill("ALTER TABLE orders OWNER TO schemas_only")
    backup = shop.back_up(reader=owner)
    for pointing in (
        "CREATE TABLE mine.notes (id int REFERENCES orders)",
        "CREATE VIEW mine.notes AS SELECT id FROM public.orders",
        "CREATE TABLE mine.notes (id int, moods mood[])",
        "CREATE TABLE mine.notes (id int DEFAULT nextval('numbers'))",
        "CREATE TABLE mine.notes () INHERITS (orders)",
        "CREATE TABLE mine.notes (); CREATE TRIGGER t BEFORE INSERT ON mine.notes EXECUTE FUNCTION touch()",
        "CREATE FUNCTION mine.notes(mood) RETURNS int LANGUAGE sql AS 'SELECT 1'",
    ):
        shop.fill("CREATE SCHEMA mine", pointing)

        error = failed(shop, backup, replace=True, dry_run=True)

        assert (error.code, "mine.notes" in error.message) == ("REPLACE_IMPOSSIBLE", True), pointing
        shop.fill("DROP SCHEMA mine CASCADE")


@pytest.mark.parametrize("is_inside", [False, True], ids=["by renaming", "schema by schema"])
def test_a_restore_that_was_cut_off_when_all_was_in_place_says_so_and_does_nothing_again(
    shop: RoundTrip, tmp_path: Path, is_inside: bool
) -> None:
    url = shop.create_role("in_place", f"LOGIN {'' if is_inside else 'CREATEDB'}")
    run(shop.server.dsn(), f'ALTER DATABASE "{database_of(shop.source)}" OWNER TO in_place')
    shop.fill("ALTER TABLE orders OWNER TO in_place")
    backup = shop.back_up(reader=url)
    done = shop.restore_in_place(backup, replace=True)
    shop.fill("INSERT INTO orders VALUES (11)")
    services, children = shop.coffre.restore_function().services, Children(run_id=done.id)

    with children.ending():
        job = RestoreJob(
            restore_id=done.id,
            backup=backup,
            connection=children.watching(parse_secret(url, where="test")),
            children=children,
            vault=services.vault,
            decoder=services.decoder(backup.target),
            scratch=tmp_path,
            streams=1,
            runner=ThreadRunner(1, children.end_all),
            scope=Scope(replace=True),
            is_resumable=True,
            continues=True,
        )
        report = restore_database(job, Meter())

    assert report.kept == done.kept
    assert any("was replaced before the interruption" in text for text in report.exceptions)
    assert value(shop.source, "SELECT max(id) FROM orders") == 11
    assert [name for name in leftovers(shop) if "_restored_" in name] == []
    run(shop.server.dsn() if not is_inside else shop.source, *(kept.remove for kept in report.kept))
