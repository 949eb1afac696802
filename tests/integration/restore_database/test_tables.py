"""Chosen tables: what is gone comes back, what is there gets the backup's version beside, or is replaced."""

from __future__ import annotations

from typing import Any

import pytest
from tests.integration.contents import RoundTrip, database_of, rows, run, schema_of, value

from coffre.model.errors import CoffreError
from coffre.model.restore_report import RestoreReport
from coffre_local.sample import fingerprint

SHOP = (
    "CREATE TYPE mood AS ENUM ('good', 'bad')",
    "CREATE FUNCTION touch() RETURNS trigger LANGUAGE plpgsql AS 'BEGIN RETURN new; END'",
    "CREATE TABLE customers (id serial PRIMARY KEY, name text NOT NULL, mood mood DEFAULT 'good')",
    (
        "CREATE TABLE orders (id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY, customer int NOT NULL REFERENCES"
        " customers ON DELETE CASCADE, total numeric CHECK (total >= 0), day date NOT NULL, twice numeric"
        " GENERATED ALWAYS AS (total * 2) STORED)"
    ),
    "CREATE INDEX orders_by_day ON orders (day)",
    "CREATE TRIGGER touch BEFORE UPDATE ON orders FOR EACH ROW EXECUTE FUNCTION touch()",
    "COMMENT ON COLUMN orders.total IS 'in euros'",
    "CREATE VIEW sales AS SELECT day, sum(total) FROM orders GROUP BY day",
    "CREATE TABLE notes (text text)",
    "INSERT INTO customers (name) SELECT 'customer ' || n FROM generate_series(1, 20) n",
    (
        "INSERT INTO orders (customer, total, day) SELECT 1 + n % 20, n, date '2026-11-01' + n % 10 FROM"
        " generate_series(1, 200) n"
    ),
    "INSERT INTO notes VALUES ('one'), ('two')",
)


@pytest.fixture
def shop(round_trip: RoundTrip) -> RoundTrip:
    round_trip.fill(*SHOP)
    return round_trip


def side_schema(report: RestoreReport) -> str:
    return f"restored_{report.id.lower()}"


def failed(shop: RoundTrip, backup: Any, **scope: Any) -> CoffreError:
    with pytest.raises(CoffreError) as caught:
        shop.restore_in_place(backup, **scope)
    return caught.value


# --- gone ---


def test_a_dropped_table_comes_back_with_all_that_is_a_part_of_it(shop: RoundTrip) -> None:
    backup = shop.back_up()
    before, schema = fingerprint(shop.source), schema_of(shop.home, shop.source)
    shop.fill("DROP VIEW sales", "DROP TABLE orders")

    report = shop.restore_in_place(backup, tables=["orders"])

    # Then rows, index, trigger, key, comment and the sequence's state are as they were
    assert fingerprint(shop.source) == before
    shop.fill("CREATE VIEW sales AS SELECT day, sum(total) FROM orders GROUP BY day")
    assert schema_of(shop.home, shop.source) == schema
    assert value(shop.source, "INSERT INTO orders (customer, total, day) VALUES (1, 1, 'today') RETURNING id") == 201
    # And it is said what else was lost with the table
    assert [table.rows for table in report.tables] == [200]
    assert report.exceptions == (
        "Was dropped with the tables, and is not restored (without --with-dependencies): view public.sales.",
    )


def test_keys_of_other_tables_that_went_with_a_table_are_said(shop: RoundTrip) -> None:
    backup = shop.back_up()
    shop.fill("DROP TABLE customers CASCADE")

    report = shop.restore_in_place(backup, tables=["public.customers"])

    assert value(shop.source, "SELECT count(*) FROM customers") == 20
    (said,) = report.exceptions
    assert "foreign key public.orders orders_customer_fkey" in said


def test_the_sequence_of_a_renamed_table_is_not_set_back(shop: RoundTrip) -> None:
    backup = shop.back_up()
    shop.fill("ALTER TABLE customers RENAME TO clients", "INSERT INTO clients (name) VALUES ('another')")

    shop.restore_in_place(backup, tables=["customers"])

    assert value(shop.source, "SELECT count(*) FROM customers") == 20
    assert value(shop.source, "INSERT INTO clients (name) VALUES ('one more') RETURNING id") == 22


def test_a_key_to_a_table_that_is_not_there_is_left_out_and_said(shop: RoundTrip) -> None:
    backup = shop.back_up()
    shop.fill("DROP VIEW sales", "DROP TABLE orders", "DROP TABLE customers")

    report = shop.restore_in_place(backup, tables=["orders"])

    assert value(shop.source, "SELECT count(*) FROM orders") == 200
    assert any("orders_customer_fkey" in text for text in report.exceptions)
    # And both together come back with their key
    shop.fill("DROP TABLE orders")
    shop.restore_in_place(backup, tables=["orders", "customers"])
    assert value(shop.source, "SELECT count(*) FROM pg_constraint WHERE conname = 'orders_customer_fkey'") == 1


def test_what_a_table_needs_comes_back_when_it_is_asked_for(shop: RoundTrip) -> None:
    backup = shop.back_up()
    shop.fill("DROP TABLE customers CASCADE", "DROP TYPE mood")

    error = failed(shop, backup, tables=["customers"])

    assert error.code == "DEPENDENCY_MISSING"
    assert "type public.mood" in error.message
    assert rows(shop.source, "SELECT to_regclass('customers')") == [(None,)]
    shop.restore_in_place(backup, tables=["customers"], with_dependencies=True)
    assert value(shop.source, "SELECT count(*) FROM customers WHERE mood = 'good'") == 20


FOLLOWERS = (
    "CREATE MATERIALIZED VIEW best AS SELECT customer, sum(total) AS total FROM orders GROUP BY customer",
    "CREATE UNIQUE INDEX best_once ON best (customer)",
    "CREATE VIEW names AS SELECT c.name, b.total FROM best b JOIN customers c ON c.id = b.customer",
    "CREATE FUNCTION all_orders() RETURNS SETOF orders LANGUAGE sql AS 'SELECT * FROM orders'",
    "CREATE TABLE refunds (id int PRIMARY KEY, order_id bigint REFERENCES orders)",
    "INSERT INTO refunds VALUES (1, 7)",
    "CREATE POLICY mine ON customers USING (EXISTS (SELECT FROM orders o WHERE o.customer = customers.id))",
    "CREATE RULE silent AS ON DELETE TO refunds WHERE EXISTS (SELECT FROM orders) DO INSTEAD NOTHING",
    "COMMENT ON VIEW names IS 'who'",
    "GRANT SELECT ON names TO PUBLIC",
)


@pytest.mark.parametrize("asked_for", [True, False])
def test_what_went_with_a_table_comes_back_when_asked_for_or_by_the_reports_script(
    shop: RoundTrip, asked_for: bool
) -> None:
    shop.fill(*FOLLOWERS)
    backup = shop.back_up()
    before, schema = fingerprint(shop.source), schema_of(shop.home, shop.source)
    shop.fill("DROP TABLE orders CASCADE")

    report = shop.restore_in_place(backup, tables=["orders"], with_dependencies=asked_for)

    if asked_for:
        assert (report.exceptions, report.script) == ((), None)
    else:
        assert rows(shop.source, "SELECT to_regclass('sales'), to_regclass('best')") == [(None, None)]
        (said,) = report.exceptions
        for lost in ("view public.names", "materialized view public.best", "policy public.customers mine"):
            assert lost in said
        assert report.script is not None
        shop.fill(report.script)
    assert fingerprint(shop.source) == before
    assert schema_of(shop.home, shop.source) == schema


def test_a_key_that_cannot_come_back_is_no_reason_to_lose_the_table_again(shop: RoundTrip) -> None:
    shop.fill(*FOLLOWERS)
    backup = shop.back_up()
    shop.fill("DROP TABLE orders CASCADE", "INSERT INTO refunds VALUES (2, 999)")

    report = shop.restore_in_place(backup, tables=["orders"], with_dependencies=True)

    (said,) = report.exceptions
    assert "foreign key public.refunds refunds_order_id_fkey" in said
    assert value(shop.source, "SELECT count(*) FROM orders") == 200
    assert value(shop.source, "SELECT count(*) FROM best") == 20


def test_a_view_that_cannot_be_filled_is_no_reason_to_lose_the_table_again(shop: RoundTrip) -> None:
    shop.fill("CREATE MATERIALIZED VIEW share AS SELECT id, 10 / (SELECT count(*) FROM notes) AS part FROM orders")
    backup = shop.back_up()
    shop.fill("DROP TABLE orders CASCADE", "DELETE FROM notes")

    report = shop.restore_in_place(backup, tables=["orders"], with_dependencies=True)

    assert value(shop.source, "SELECT count(*) FROM orders") == 200
    (said,) = report.exceptions
    assert said.startswith("Not restored: the rows of the materialized view public.share: its query fails")


def test_a_view_over_two_tables_that_are_gone_waits_for_both(shop: RoundTrip) -> None:
    shop.fill(*FOLLOWERS)
    backup = shop.back_up()
    before = fingerprint(shop.source)
    shop.fill("DROP TABLE orders, customers CASCADE")

    report = shop.restore_in_place(backup, tables=["orders"], with_dependencies=True)

    # Then the view that needs customers too is said, and what needs orders alone is back
    assert any("(it needs what does not exist): view public.names" in text for text in report.exceptions)
    assert value(shop.source, "SELECT count(*) FROM best") == 20
    shop.restore_in_place(backup, tables=["customers"], with_dependencies=True)
    assert fingerprint(shop.source) == before
    assert value(shop.source, "SELECT count(*) FROM names") == 20


def test_a_schema_that_is_gone_comes_back_with_its_tables(round_trip: RoundTrip) -> None:
    round_trip.fill(
        'CREATE SCHEMA "My App"',
        'CREATE TABLE "My App"."T 1" (id int PRIMARY KEY)',
        'CREATE TABLE "My App".t2 (id int REFERENCES "My App"."T 1")',
        'INSERT INTO "My App"."T 1" VALUES (1)',
        "CREATE TABLE other (id int)",
    )
    backup = round_trip.back_up()
    before = fingerprint(round_trip.source)
    round_trip.fill('DROP SCHEMA "My App" CASCADE')

    report = round_trip.restore_in_place(backup, schemas=['"My App"'])

    assert fingerprint(round_trip.source) == before
    assert report.exceptions == ()


def test_a_schema_that_is_needed_brings_no_more_than_what_was_asked_for(round_trip: RoundTrip) -> None:
    round_trip.fill(
        "CREATE SCHEMA app",
        "COMMENT ON SCHEMA app IS 'ours'",
        "CREATE TABLE app.wanted (id serial PRIMARY KEY)",
        "CREATE TABLE app.other (id serial PRIMARY KEY)",
        "INSERT INTO app.wanted DEFAULT VALUES",
    )
    backup = round_trip.back_up()
    round_trip.fill("DROP SCHEMA app CASCADE")

    round_trip.restore_in_place(backup, tables=["wanted"])

    assert rows(round_trip.source, "SELECT to_regclass('app.wanted_id_seq'), to_regclass('app.other_id_seq')") == [
        ("app.wanted_id_seq", None)
    ]
    assert value(round_trip.source, "SELECT obj_description('app'::regnamespace)") == "ours"


def test_a_partitioned_table_comes_back_with_its_partitions(round_trip: RoundTrip) -> None:
    round_trip.fill(
        "CREATE TABLE events (at date NOT NULL, note text) PARTITION BY RANGE (at)",
        "CREATE TABLE events_1 PARTITION OF events FOR VALUES FROM ('2026-01-01') TO ('2026-07-01')",
        "CREATE TABLE events_2 PARTITION OF events FOR VALUES FROM ('2026-07-01') TO ('2027-01-01')"
        " PARTITION BY RANGE (at)",
        "CREATE TABLE events_2a PARTITION OF events_2 DEFAULT",
        "CREATE INDEX ON events (at)",
        "INSERT INTO events SELECT date '2026-01-01' + n, 'n' FROM generate_series(0, 364) n",
    )
    backup = round_trip.back_up()
    before, schema = fingerprint(round_trip.source), schema_of(round_trip.home, round_trip.source)
    round_trip.fill("DROP TABLE events")

    round_trip.restore_in_place(backup, tables=["events"])

    assert fingerprint(round_trip.source) == before
    assert schema_of(round_trip.home, round_trip.source) == schema
    # And one partition alone finds its place
    round_trip.fill("DROP TABLE events_1")
    round_trip.restore_in_place(backup, tables=["events_1"])
    assert value(round_trip.source, "SELECT count(*) FROM events") == 365


def test_what_came_back_is_dropped_again_when_it_cannot_be_finished(shop: RoundTrip) -> None:
    backup = shop.back_up()
    shop.fill("DROP VIEW sales", "DROP TABLE orders", "CREATE TABLE orders_by_day (id int)")

    error = failed(shop, backup, tables=["orders"], strict=True)

    assert "orders_by_day" in (error.detail or "")
    assert "dropped again" in str(error.__notes__)
    assert rows(shop.source, "SELECT to_regclass('orders'), to_regclass('orders_id_seq')") == [(None, None)]


# --- there ---


def test_a_table_that_is_there_gets_the_backups_version_beside(shop: RoundTrip) -> None:
    backup = shop.back_up()
    shop.fill(
        "DELETE FROM orders WHERE id <= 5",
        "UPDATE orders SET total = total + 1 WHERE id BETWEEN 11 AND 17",
        "INSERT INTO orders (customer, total, day) VALUES (1, 1, 'today')",
    )
    before = fingerprint(shop.source)

    report = shop.restore_in_place(backup, tables=["orders", "notes"])

    # Then nothing that was there has changed
    schema = side_schema(report)
    assert {name: found for name, found in fingerprint(shop.source).items() if schema not in name} == before
    # And the differences are counted, and can be looked at
    (found,) = report.comparisons
    assert (found.table, found.missing, found.changed, found.same, found.extra) == ("public.orders", 5, 7, 188, 1)
    assert found.columns == ("total",)
    assert value(shop.source, f"SELECT count(*) FROM {schema}.orders WHERE id <= 5") == 5
    assert rows(shop.source, f"SELECT * FROM {schema}.notes") == [("one",), ("two",)]
    assert report.exceptions == (
        f"public.notes has no primary key, so it is not compared with the backup's version: {schema}.notes.",
    )
    # And it is said how to remove what was made
    (kept,) = report.kept
    run(shop.source, kept.remove)
    assert fingerprint(shop.source) == before


def test_replacing_a_table_makes_its_rows_the_backups_and_keeps_the_others(shop: RoundTrip) -> None:
    backup = shop.back_up()
    before = fingerprint(shop.source)
    shop.fill(
        "DELETE FROM orders WHERE id <= 5",
        "UPDATE orders SET total = total + 1 WHERE id BETWEEN 11 AND 17",
        "INSERT INTO orders (customer, total, day) VALUES (1, 1, 'today')",
        "UPDATE customers SET name = 'changed' WHERE id = 3",
    )

    report = shop.restore_in_place(backup, tables=["orders", "customers"], replace=True)

    schema = side_schema(report)
    assert {name: found for name, found in fingerprint(shop.source).items() if schema not in name} == before
    orders, customers = sorted(report.comparisons, key=lambda found: found.table, reverse=True)
    assert (orders.inserted, orders.updated, orders.deleted) == (5, 7, 1)
    assert (customers.inserted, customers.updated, customers.deleted) == (0, 1, 0)
    assert rows(shop.source, f"SELECT id, name FROM {customers.before}") == [(3, "changed")]
    assert value(shop.source, f"SELECT count(*) FROM {orders.before}") == 8
    assert value(shop.source, "INSERT INTO orders (customer, total, day) VALUES (1, 1, 'today') RETURNING id") == 202


def test_what_a_database_is_set_to_hides_nothing_of_what_keys_do(shop: RoundTrip) -> None:
    backup = shop.back_up()
    name = database_of(shop.source)
    shop.fill(
        "INSERT INTO customers VALUES (21, 'new')",
        "INSERT INTO orders (customer, total, day) VALUES (21, 1, 'today')",
        f'ALTER DATABASE "{name}" SET session_replication_role = replica',
        f'ALTER DATABASE "{name}" SET track_counts = off',
    )

    assert failed(shop, backup, tables=["customers"], replace=True).code == "OTHER_TABLES_AFFECTED"

    assert value(shop.source, "SELECT count(*) FROM orders JOIN customers c ON c.id = customer") == 201


def test_replacing_never_goes_half_way(shop: RoundTrip) -> None:
    """A new table points at a row that the backup does not have: it cannot be deleted."""
    backup = shop.back_up()
    shop.fill(
        "INSERT INTO customers (name) VALUES ('new')",
        "CREATE TABLE visits (customer int REFERENCES customers)",
        "INSERT INTO visits SELECT max(id) FROM customers",
        "UPDATE customers SET name = 'changed' WHERE id = 3",
    )
    before = fingerprint(shop.source)

    error = failed(shop, backup, tables=["customers"], replace=True)

    assert error.code == "APPLY_FAILED"
    assert "visits" in (error.detail or "")
    assert fingerprint(shop.source) == before
    assert rows(shop.source, "SELECT 1 FROM pg_namespace WHERE nspname LIKE 'restored%'") == []


def test_a_table_without_a_key_is_not_replaced(shop: RoundTrip) -> None:
    backup = shop.back_up()

    error = failed(shop, backup, tables=["notes"], replace=True)

    assert error.code == "KEY_MISSING"


def test_a_view_in_the_place_of_a_table_is_not_touched(shop: RoundTrip) -> None:
    backup = shop.back_up()
    shop.fill("ALTER TABLE notes RENAME TO old_notes", "CREATE VIEW notes AS SELECT * FROM old_notes")

    error = failed(shop, backup, tables=["notes"])

    assert error.code == "NOT_A_TABLE"


def test_columns_that_went_and_types_that_changed_are_carried_beside(shop: RoundTrip) -> None:
    backup = shop.back_up()
    shop.fill(
        "DROP VIEW sales",
        "ALTER TABLE orders DROP COLUMN day",
        "ALTER TABLE orders ALTER COLUMN customer TYPE bigint",
        "ALTER TABLE orders DROP COLUMN twice, ADD COLUMN extra text DEFAULT 'x'",
        "ALTER TABLE orders ALTER COLUMN total TYPE numeric(6,0)",
        "DELETE FROM orders WHERE id = 7",
    )

    report = shop.restore_in_place(backup, tables=["orders"], replace=True)

    assert any("has no column day any more" in text for text in report.exceptions)
    assert [text.partition(": ")[0] for text in report.exceptions if "which can round" in text] == [
        "total of public.orders is numeric(6,0) now, and numeric in the backup"
    ]
    assert any("has no column extra" in text for text in report.notes)
    assert rows(shop.source, "SELECT customer, total, extra FROM orders WHERE id = 7") == [(8, 7, "x")]
    assert value(shop.source, f"SELECT day FROM {side_schema(report)}.orders WHERE id = 7") == "2026-11-08"


def test_the_role_that_only_reads_is_told_so(shop: RoundTrip) -> None:
    reader = shop.create_role("reader_only", "LOGIN BYPASSRLS IN ROLE pg_read_all_data")
    backup = shop.back_up(reader=reader)

    error = failed(shop, backup, tables=["orders"])

    assert error.code == "DESTINATION_READ_ONLY"
    assert '"reader_only" may not create' in error.message
    assert "--to env:DESTINATION" in (error.hint or "")


def test_a_dry_run_says_what_would_happen_and_changes_nothing(shop: RoundTrip) -> None:
    backup = shop.back_up()
    shop.fill("DROP VIEW sales", "DROP TABLE orders")
    before = fingerprint(shop.source)

    report = shop.restore_in_place(backup, tables=["orders", "customers"], replace=True, dry_run=True)

    assert report.dry_run
    assert fingerprint(shop.source) == before
    said = "\n".join(report.steps)
    assert "Create the table public.orders again with 200 rows" in said
    assert "Make the rows of public.customers those of the backup" in said


def test_tables_go_into_another_database_too(shop: RoundTrip) -> None:
    backup = shop.back_up()
    run(shop.server.dsn(), f"CREATE DATABASE {shop.copy.rsplit('/', 1)[1]}")

    shop.restore(backup, tables=["notes", "customers"], with_dependencies=True)

    assert value(shop.copy, "SELECT count(*) FROM customers") == 20
    assert rows(shop.copy, "SELECT to_regclass('orders')") == [(None,)]


@pytest.mark.parametrize(
    ("scope", "code"),
    [
        ({"tables": ["order"]}, "PATTERN_UNMATCHED"),
        ({"schemas": ["nothing"]}, "PATTERN_UNMATCHED"),
        ({"tables": ["a.b.c"]}, "PATTERN_INVALID"),
        ({"tables": ["orders"], "apply": True}, "EVENT_INVALID"),
        ({}, "EVENT_INVALID"),
    ],
)
def test_wrong_choices_are_refused(shop: RoundTrip, scope: dict[str, Any], code: str) -> None:
    assert failed(shop, shop.back_up(), **scope).code == code
