"""Rows of a period: compared by key, and brought over only when asked to."""

from __future__ import annotations

from typing import Any

import psycopg2
import pytest
from tests.integration.contents import RoundTrip, rows, run, value

from coffre.model.errors import CoffreError
from coffre_local.sample import fingerprint

TUESDAY = {"column": "at", "start": "2026-11-17", "end": "2026-11-18"}


@pytest.fixture
def shop(round_trip: RoundTrip) -> RoundTrip:
    round_trip.fill(
        "CREATE TABLE customers (id int PRIMARY KEY, name text, at timestamptz NOT NULL)",
        "CREATE TABLE orders (id bigint GENERATED ALWAYS AS IDENTITY, line int, customer int NOT NULL REFERENCES"
        " customers, note json, price numeric, at timestamptz NOT NULL, PRIMARY KEY (id, line))",
        "INSERT INTO customers SELECT n, 'customer ' || n, timestamptz '2026-11-15 UTC' + n * interval '1 hour' FROM"
        " generate_series(1, 100) n",
        """INSERT INTO orders (line, customer, note, price, at) SELECT n % 3, n, '{"a": 1}', n,"""
        " timestamptz '2026-11-15 UTC' + n * interval '1 hour' FROM generate_series(1, 100) n",
    )
    return round_trip


def damage(shop: RoundTrip) -> None:
    shop.fill(
        "DELETE FROM orders WHERE id BETWEEN 50 AND 59",
        "DELETE FROM orders WHERE id = 99",
        "UPDATE orders SET note = '{\"a\": 2}', at = 'today' WHERE id BETWEEN 60 AND 62",
        "UPDATE orders SET note = NULL WHERE id = 1",
        "DELETE FROM customers WHERE id BETWEEN 50 AND 55",
        "INSERT INTO orders (line, customer, at) VALUES (0, 1, '2026-11-17 12:00 UTC')",
    )


def failed(shop: RoundTrip, backup: Any, **scope: Any) -> CoffreError:
    with pytest.raises(CoffreError) as caught:
        shop.restore_in_place(backup, **scope)
    return caught.value


def test_rows_of_a_day_are_compared_and_nothing_is_touched(shop: RoundTrip) -> None:
    backup = shop.back_up()
    damage(shop)
    before = fingerprint(shop.source)

    report = shop.restore_in_place(backup, tables=["orders"], rows=TUESDAY)

    # Then the day's 24 rows are beside: 10 missing, 3 changed (though they moved to another day), 11 the same
    (found,) = report.comparisons
    assert (found.missing, found.changed, found.same, found.extra) == (10, 3, 11, 1)
    assert value(shop.source, f"SELECT count(*) FROM {found.beside}") == 24
    assert {name: it for name, it in fingerprint(shop.source).items() if "restored_" not in name} == before
    run(shop.source, report.kept[0].remove)


def test_rows_of_a_day_are_brought_over_parents_first(shop: RoundTrip) -> None:
    backup = shop.back_up()
    damage(shop)

    report = shop.restore_in_place(backup, tables=["orders", "customers"], rows=TUESDAY, apply=True)

    done = {found.table: (found.inserted, found.updated, found.deleted) for found in report.comparisons}
    assert done == {"public.customers": (6, 0, 0), "public.orders": (10, 3, 0)}
    # Then the day is as it was, and rows of other days, and new ones of this day, are as they were found
    kept = "SELECT count(*) FROM orders WHERE at >= '2026-11-17 UTC' AND at < '2026-11-18 UTC'"
    assert value(shop.source, kept) == 25
    assert rows(shop.source, "SELECT id FROM orders WHERE id IN (1, 99) AND note IS NULL") == [(1,)]
    assert value(shop.source, "SELECT note::text FROM orders WHERE id = 60") == '{"a": 1}'
    (orders,) = [found for found in report.comparisons if found.table == "public.orders"]
    assert value(shop.source, f"SELECT count(*) FROM {orders.before}") == 3
    assert value(shop.source, "INSERT INTO orders (line, customer, at) VALUES (0, 1, now()) RETURNING id") == 102


def test_rows_that_lack_their_parents_change_nothing(shop: RoundTrip) -> None:
    backup = shop.back_up()
    damage(shop)
    before = fingerprint(shop.source)

    error = failed(shop, backup, tables=["orders"], rows=TUESDAY, apply=True)

    assert error.code == "APPLY_FAILED"
    assert "orders_customer_fkey" in (error.detail or "")
    assert "restore both tables" in (error.hint or "")
    assert fingerprint(shop.source) == before


def test_an_expression_chooses_rows(shop: RoundTrip) -> None:
    backup = shop.back_up()
    damage(shop)

    report = shop.restore_in_place(backup, tables=["orders"], rows={"where": "id = 99 OR price = 1"}, apply=True)

    (found,) = report.comparisons
    assert (found.inserted, found.updated) == (1, 1)


def test_applying_twice_changes_nothing_more(shop: RoundTrip) -> None:
    backup = shop.back_up()
    damage(shop)
    wanted: dict[str, Any] = {"tables": ["orders", "customers"], "rows": TUESDAY, "apply": True}
    shop.restore_in_place(backup, **wanted)

    report = shop.restore_in_place(backup, **wanted)

    assert [(found.missing, found.changed, found.inserted, found.updated) for found in report.comparisons] == [
        (0, 0, 0, 0),
        (0, 0, 0, 0),
    ]


def test_triggers_that_change_what_is_brought_over_are_said(shop: RoundTrip) -> None:
    backup = shop.back_up()
    damage(shop)
    shop.fill(
        "CREATE FUNCTION louder() RETURNS trigger LANGUAGE plpgsql AS"
        " 'BEGIN new.price := new.price + 1; RETURN new; END'",
        "CREATE TRIGGER louder BEFORE INSERT OR UPDATE ON orders FOR EACH ROW EXECUTE FUNCTION louder()",
    )

    report = shop.restore_in_place(backup, tables=["orders"], rows={"where": "id = 99"}, apply=True)

    (said,) = report.exceptions
    assert said.startswith("In 1 row of public.orders, price is not as in the backup: ")


def test_somebody_who_holds_the_table_is_not_waited_for_forever(
    shop: RoundTrip, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(
        "coffre.operations.restore_database.row_merge._LOCK_TIMEOUT", "SET LOCAL lock_timeout = '200ms'"
    )
    backup = shop.back_up()
    damage(shop)
    session = psycopg2.connect(shop.source)
    session.cursor().execute("UPDATE orders SET line = line WHERE id = 1")

    error = failed(shop, backup, tables=["orders"], rows={"where": "id = 99"}, apply=True)

    session.close()
    assert "lock timeout" in (error.detail or "")
    assert rows(shop.source, "SELECT 1 FROM orders WHERE id = 99") == []


@pytest.mark.parametrize(
    ("filter_", "code", "words"),
    [
        ({"column": "nothing", "start": "2026-11-17"}, "ROWS_INVALID", 'column "nothing" does not exist'),
        ({"column": "at", "start": "yesterday's"}, "ROWS_INVALID", "invalid input syntax"),
        ({"where": "price"}, "ROWS_INVALID", "must be type boolean"),
        ({"where": "true; DROP TABLE orders"}, "EVENT_INVALID", "without a semicolon"),
        ({"where": "(SELECT true)"}, "COPY_FAILED", "subquery"),
        ({}, "EVENT_INVALID", "period"),
    ],
)
def test_filters_that_make_no_sense(shop: RoundTrip, filter_: dict[str, Any], code: str, words: str) -> None:
    error = failed(shop, shop.back_up(), tables=["orders"], rows=filter_)

    assert error.code == code
    assert words in f"{error.message} {error.detail}"
    assert rows(shop.source, "SELECT 1 FROM pg_namespace WHERE nspname LIKE 'restored%'") == []


def test_rows_of_a_table_that_is_gone_need_the_table_first(shop: RoundTrip) -> None:
    backup = shop.back_up()
    shop.fill("DROP TABLE orders")

    error = failed(shop, backup, tables=["orders"], rows=TUESDAY)

    assert error.code == "TABLE_GONE"


def test_names_and_values_that_are_hostile_stay_names_and_values(round_trip: RoundTrip) -> None:
    name, column = '"; DROP TABLE x; --%s', "a%b{c}\"'"
    quoted_name, quoted_column = (f'"{text.replace(chr(34), chr(34) * 2)}"' for text in (name, column))
    round_trip.fill(
        f"CREATE TABLE {quoted_name} ({quoted_column} text PRIMARY KEY, l int, s int)",
        f"INSERT INTO {quoted_name} VALUES ('it''s', 1, 1), ('zz', 2, 2)",
    )
    backup = round_trip.back_up()
    round_trip.fill(f"DELETE FROM {quoted_name}")

    report = round_trip.restore_in_place(
        backup, tables=[quoted_name], rows={"column": column, "start": "it's", "end": "it't"}, apply=True
    )

    assert [found.inserted for found in report.comparisons] == [1]
    assert rows(round_trip.source, f"SELECT l FROM {quoted_name}") == [(1,)]


def test_rows_of_a_table_without_a_key_are_put_beside(round_trip: RoundTrip) -> None:
    round_trip.fill(
        "CREATE TABLE notes (day date, text text)",
        "INSERT INTO notes VALUES ('2026-11-17', 'a'), ('2026-11-19', 'b')",
    )
    backup = round_trip.back_up()

    report = round_trip.restore_in_place(backup, tables=["notes"], rows={"column": "day", "end": "2026-11-18"})

    assert rows(round_trip.source, f"SELECT text FROM restored_{report.id.lower()}.notes") == [("a",)]
    assert any("has no primary key" in text for text in report.exceptions)
