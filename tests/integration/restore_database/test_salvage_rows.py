"""Rows that the destination refuses cost a constraint, or else their table's rows; never another table."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import psycopg2
import pytest
from tests.integration.conftest import BUCKET, client
from tests.integration.contents import RoundTrip, RoundTripOn, rows, run, value

from coffre.model.backup import Backup
from coffre.model.errors import CoffreError
from coffre.model.restore_report import RestoreReport
from coffre.operations.restore_database import load_plan as restore_plan
from coffre.operations.restore_database import load_transactions as restore_batches
from coffre.policy import slicing
from coffre_local.postgres_server import PostgresServer

# What was true when the rows were written is not any more: as if time had passed.
TRUE_ONCE = "UPDATE pg_constraint SET convalidated = true WHERE NOT convalidated"
TOKENS = (
    "CREATE TABLE tokens (id int PRIMARY KEY, expires timestamptz)",
    "INSERT INTO tokens SELECT g, '2020-01-01' FROM generate_series(1, 300) g",
    "ALTER TABLE tokens ADD CONSTRAINT fresh CHECK (expires > now()) NOT VALID",
    "COMMENT ON CONSTRAINT fresh ON tokens IS 'no old ones'",
    TRUE_ONCE,
)
OTHERS = (
    "CREATE TABLE a_before AS SELECT g AS id FROM generate_series(1, 10) g",
    "CREATE TABLE z_after AS SELECT g AS id FROM generate_series(1, 10) g",
)


@pytest.fixture
def shop(round_trip: RoundTrip) -> RoundTrip:
    round_trip.fill(*OTHERS)
    return round_trip


def failed(shop: RoundTrip, backup: Backup, **scope: Any) -> CoffreError:
    with pytest.raises(CoffreError) as caught:
        shop.restore(backup, **scope)
    return caught.value


def others_are_whole(shop: RoundTrip) -> bool:
    return rows(shop.copy, "SELECT count(*) FROM a_before NATURAL JOIN z_after") == [(10,)]


def left_out(report: RestoreReport) -> list[str]:
    return [left.what for left in report.left_out]


@pytest.mark.parametrize("small_table_bytes", [0, 512 * 1024], ids=["frozen", "together"])
def test_rows_that_a_check_refuses_now_cost_only_its_validity(
    shop: RoundTrip, monkeypatch: pytest.MonkeyPatch, small_table_bytes: int
) -> None:
    monkeypatch.setattr(restore_batches, "_SMALL_TABLE_BYTES", small_table_bytes)
    shop.fill(*TOKENS)

    report = shop.make()

    assert others_are_whole(shop)
    assert value(shop.copy, "SELECT count(*) FROM tokens") == 300
    (left,) = report.left_out
    assert left.what == "the constraint fresh of public.tokens"
    assert "violated by some row" in left.reason
    assert "NOT VALID" in left.reason
    assert left.sql == 'ALTER TABLE "public"."tokens" VALIDATE CONSTRAINT "fresh";'
    assert str(left) in report.exceptions
    comment = "SELECT convalidated, obj_description(oid, 'pg_constraint') FROM pg_constraint WHERE conname = 'fresh'"
    assert rows(shop.copy, comment) == [(False, "no old ones")]
    with pytest.raises(psycopg2.errors.CheckViolation):
        run(shop.copy, "INSERT INTO tokens VALUES (999, '2020-01-01')")
    run(shop.copy, "UPDATE tokens SET expires = 'infinity'", left.sql)


@pytest.mark.parametrize(("first", "second"), [("aa_budget", "zz_members"), ("zz_budget", "aa_members")])
def test_a_check_that_reads_another_table_costs_nothing(shop: RoundTrip, first: str, second: str) -> None:
    budget, members = first, second
    shop.fill(
        f"CREATE TABLE {members} (grp int, usr int, PRIMARY KEY (grp, usr))",
        "CREATE FUNCTION is_member(g int, u int) RETURNS boolean LANGUAGE sql STABLE AS $$ SELECT EXISTS "
        f"(SELECT 1 FROM public.{members} m WHERE m.grp = g AND m.usr = u) $$",
        f"CREATE TABLE {budget} (id int PRIMARY KEY, grp int, usr int,"
        " CONSTRAINT must_be_member CHECK (public.is_member(grp, usr)))",
        f"INSERT INTO {members} SELECT g, g + 1 FROM generate_series(1, 300) g",
        f"INSERT INTO {budget} SELECT g, g, g + 1 FROM generate_series(1, 300) g",
    )

    report = shop.make()

    assert report.exceptions == ()
    shop.assert_equal()


def test_checks_of_tables_that_read_each_other_cost_nothing(shop: RoundTrip) -> None:
    """No order is the right one: each is empty when the other is loaded."""
    shop.fill(
        "CREATE TABLE pairs_a (id int PRIMARY KEY)",
        "CREATE TABLE pairs_b (id int PRIMARY KEY)",
        *(
            f"CREATE FUNCTION in_{one}(wanted int) RETURNS boolean LANGUAGE sql STABLE AS "
            f"$$ SELECT EXISTS (SELECT FROM public.pairs_{one} WHERE id = wanted) $$"
            for one in "ab"
        ),
        "INSERT INTO pairs_a VALUES (1), (2)",
        "INSERT INTO pairs_b VALUES (1), (2)",
        "ALTER TABLE pairs_a ADD CONSTRAINT paired CHECK (public.in_b(id))",
        "ALTER TABLE pairs_b ADD CONSTRAINT paired CHECK (public.in_a(id))",
    )

    report = shop.make()

    assert report.exceptions == ()
    shop.assert_equal()


def test_a_check_of_a_partitioned_table_is_loosened_for_all_its_partitions(shop: RoundTrip) -> None:
    shop.fill(
        "CREATE TABLE visits (id int, at date NOT NULL) PARTITION BY RANGE (id)",
        "CREATE TABLE visits_1 PARTITION OF visits FOR VALUES FROM (1) TO (100)",
        "CREATE TABLE visits_2 PARTITION OF visits FOR VALUES FROM (100) TO (200)",
        "INSERT INTO visits SELECT g, '2001-01-01' FROM generate_series(1, 150) g",
        "UPDATE visits SET at = '1999-01-01' WHERE id = 120",
        "ALTER TABLE visits ADD CONSTRAINT recent CHECK (at > '2000-01-01') NOT VALID",
        TRUE_ONCE,
    )

    report = shop.make()

    assert value(shop.copy, "SELECT count(*) FROM visits") == 150
    assert left_out(report) == ["the constraint recent of public.visits_2", "the constraint recent of public.visits"]
    valid = "SELECT conrelid::regclass::text, convalidated FROM pg_constraint WHERE conname = 'recent' ORDER BY 1"
    assert rows(shop.copy, valid) == [("visits", False), ("visits_1", True), ("visits_2", False)]


def test_rows_that_a_domain_refuses_cost_only_its_validity(shop: RoundTrip) -> None:
    shop.fill(
        "CREATE DOMAIN cents AS int",
        "CREATE DOMAIN full_name AS text",
        "CREATE TYPE item AS (what text, price cents)",
        "CREATE TABLE bills (id int PRIMARY KEY, items item[], who full_name)",
        "INSERT INTO bills SELECT g, ARRAY[('x', -g)::item], NULL FROM generate_series(1, 20) g",
        "UPDATE pg_type SET typnotnull = true WHERE typname = 'full_name'",
        "CREATE DOMAIN positive AS int",
        "CREATE TABLE numbers (id int PRIMARY KEY, n positive)",
        "INSERT INTO numbers VALUES (1, -1)",
        "ALTER DOMAIN positive ADD CONSTRAINT above CHECK (VALUE > 0) NOT VALID",
        TRUE_ONCE,
    )

    report = shop.make()

    assert others_are_whole(shop)
    assert value(shop.copy, "SELECT n::int FROM numbers") == -1
    assert value(shop.copy, "SELECT count(*) FROM bills") == 20
    assert sorted(left_out(report)) == [
        "NOT NULL of the domain public.full_name",
        "the constraint above of the domain public.positive",
    ]
    with pytest.raises(psycopg2.errors.CheckViolation):
        run(shop.copy, "INSERT INTO numbers VALUES (2, -1)")


@pytest.mark.parametrize("major", [17, 18])
def test_nulls_in_a_column_that_must_not_have_any_cost_only_that(
    round_trip_on: RoundTripOn, server_of_major: Callable[[int], PostgresServer], major: int
) -> None:
    shop = round_trip_on(server_of_major(major))
    columns = ("name", "mail")
    shop.fill(
        "CREATE TABLE people (id int PRIMARY KEY, name text, mail text)",
        "INSERT INTO people VALUES (1, NULL, NULL), (2, 'Ada', 'a@b')",
    )
    if major < 18:
        shop.fill("UPDATE pg_attribute SET attnotnull = true WHERE attrelid = 'people'::regclass")
    else:
        shop.fill(*(f"ALTER TABLE people ADD CONSTRAINT has_{it} NOT NULL {it} NOT VALID" for it in columns), TRUE_ONCE)

    report = shop.make()

    assert rows(shop.copy, "SELECT id, name FROM people ORDER BY id") == [(1, None), (2, "Ada")]
    assert left_out(report) == [f"NOT NULL of the column {name} of public.people" for name in columns]
    run(
        shop.copy,
        "UPDATE people SET name = '', mail = '' WHERE id = 1",
        *(left.sql or "" for left in report.left_out),
    )
    with pytest.raises(psycopg2.errors.NotNullViolation):
        run(shop.copy, "INSERT INTO people VALUES (3, NULL, '')")


SLUGS = (
    "CREATE FUNCTION plain(value text) RETURNS text LANGUAGE sql IMMUTABLE AS $$ SELECT lower(value) $$",
    "CREATE FUNCTION slug(value text) RETURNS text LANGUAGE plpgsql IMMUTABLE AS $$ BEGIN RETURN plain(value); END $$",
    "CREATE TABLE page (id int PRIMARY KEY, title text, slug text NOT NULL GENERATED ALWAYS AS (slug(title)) STORED)",
    "CREATE INDEX ON page (title)",
    "CREATE TABLE checked (id int PRIMARY KEY, title text CONSTRAINT has_slug CHECK (slug(title) <> ''))",
    "INSERT INTO page (id, title) SELECT g, 'Page ' || g FROM generate_series(1, 300) g",
    "INSERT INTO checked SELECT id, title FROM page",
)


def test_a_function_that_names_things_without_their_schema_costs_nothing(shop: RoundTrip) -> None:
    shop.fill(*SLUGS)

    report = shop.make()

    assert report.exceptions == ()
    assert [note for note in report.notes if "search_path" in note and "public.page" in note]
    shop.assert_equal()


def test_a_generated_column_that_cannot_be_computed_costs_its_values_and_a_check_its_validity(
    shop: RoundTrip, monkeypatch: pytest.MonkeyPatch
) -> None:
    shop.fill(*SLUGS)
    # And nobody knows the path with which the names are found
    monkeypatch.setattr("coffre.operations.restore_database.definitions.paths_of", lambda _: lambda _: [])

    report = shop.make()

    assert others_are_whole(shop)
    assert value(shop.copy, "SELECT count(*) FROM page NATURAL JOIN checked") == 300
    by_name = {left.what: left for left in report.left_out}
    column = by_name.pop("the values of the generated column slug of public.page")
    assert "plain" in column.reason
    check = by_name.pop("the constraint has_slug of public.checked")
    assert by_name == {}
    path = "SET search_path = public"
    assert column.sql
    assert check.sql
    run(shop.copy, f"{path}; {column.sql}", f"{path}; {check.sql}")
    assert value(shop.copy, "SELECT slug FROM page WHERE id = 7") == "page 7"


# Rows that are outside of their partition's borders, which nothing can loosen.
MISPLACED = (
    "CREATE TABLE years (id int, year int) PARTITION BY RANGE (year)",
    "CREATE TABLE years_1 (id int, year int)",
    "INSERT INTO years_1 SELECT g, 1999 FROM generate_series(1, 50) g",
    "ALTER TABLE years_1 ADD CONSTRAINT inside CHECK (year IS NOT NULL AND year >= 2000 AND year < 2001) NOT VALID",
    TRUE_ONCE,
    "ALTER TABLE years ATTACH PARTITION years_1 FOR VALUES FROM (2000) TO (2001)",
    "ALTER TABLE years_1 DROP CONSTRAINT inside",
    "CREATE MATERIALIZED VIEW in_years AS SELECT count(*) AS n FROM years",
)


def test_what_nothing_helps_leaves_its_table_empty_and_no_other(shop: RoundTrip) -> None:
    shop.fill(*(f"CREATE TABLE t{number:02} AS SELECT {number} AS id" for number in range(60)), *MISPLACED)

    report = shop.make()

    assert others_are_whole(shop)
    assert sum(value(shop.copy, f"SELECT count(*) FROM t{number:02}") for number in range(60)) == 60
    assert value(shop.copy, "SELECT count(*) FROM years") == 0
    (left,) = [left for left in report.left_out if left.what == "the rows of public.years_1"]
    assert "violates partition constraint" in left.reason
    assert "empty" in left.reason
    assert "public.years_1" not in [table.table for table in report.tables]
    # Nor does a materialized view that reads it say that there are no rows.
    assert value(shop.copy, "SELECT relispopulated FROM pg_class WHERE relname = 'in_years'") is False
    (view,) = [left for left in report.left_out if "in_years" in left.what]
    assert view.sql == 'REFRESH MATERIALIZED VIEW "public"."in_years";'


def test_a_strict_restore_ends_at_the_first_refusal(shop: RoundTrip) -> None:
    shop.fill(*TOKENS)

    error = failed(shop, shop.back_up(), strict=True)

    assert error.code == "COPY_FAILED"
    assert "public.tokens" in error.message


@pytest.fixture
def in_slices(shop: RoundTrip, monkeypatch: pytest.MonkeyPatch) -> RoundTrip:
    """With a table whose slices are loaded in transactions of their own: the last one has a row that is refused."""
    monkeypatch.setattr(slicing, "SLICE_BLOCKS", 64)
    monkeypatch.setattr(restore_batches, "_SMALL_TABLE_BYTES", 0)
    monkeypatch.setattr(restore_plan, "_SMALL_BYTES", 0)
    shop.fill(
        "CREATE TABLE large (id int PRIMARY KEY, n int, filler text)",
        "INSERT INTO large SELECT g, g, repeat('x', 1000) FROM generate_series(1, 2000) g",
        "UPDATE large SET n = -1 WHERE id = 2000",
        "ALTER TABLE large ADD CONSTRAINT above CHECK (n > 0) NOT VALID",
        TRUE_ONCE,
    )
    return shop


def test_of_a_table_in_slices_what_was_loaded_is_not_loaded_twice(in_slices: RoundTrip) -> None:
    report = in_slices.make()

    assert left_out(report) == ["the constraint above of public.large"]
    assert value(in_slices.copy, "SELECT count(*) FROM large") == 2000
    assert next(table.rows for table in report.tables if table.table == "public.large") == 2000


def test_damaged_slices_cost_their_own_rows(in_slices: RoundTrip) -> None:
    in_slices.fill(
        "ALTER TABLE large DROP CONSTRAINT above",
        "CREATE MATERIALIZED VIEW in_large AS SELECT count(*) FROM large",
        "CREATE TABLE parts (id int PRIMARY KEY, large int REFERENCES large)",
        "INSERT INTO parts SELECT id, id FROM large",
    )
    backup = in_slices.back_up()
    slices = [
        entry for entry in in_slices.entries(backup) if entry.relation and entry.relation.relation_name == "large"
    ]
    assert len(slices) > 3
    for number in (0, 2):
        damage(in_slices, backup, "large", number)
    assert failed(in_slices, backup, strict=True).code == "FRAME_DAMAGED"

    report = in_slices.restore(backup)

    # Then the others are there, and the report says how many rows are missing of which slices
    missing = (slices[0].rows or 0) + (slices[2].rows or 0)
    assert others_are_whole(in_slices)
    assert value(in_slices.copy, "SELECT count(*) FROM large") == 2000 - missing
    assert next(table.rows for table in report.tables if table.table == "public.large") == 2000 - missing
    by_name = {left.what: left.reason for left in report.left_out}
    reason = by_name.pop(f"{missing:,} rows of public.large")
    assert f"2 of {len(slices)} slices: {slices[0].name}, {slices[2].name}" in reason
    # And nothing that was made of all rows says that there are fewer
    assert list(by_name) == [
        "the rows of the materialized view public.in_large",
        "the validation of the foreign key public.parts parts_large_fkey",
    ]


def test_of_damaged_slices_the_others_lose_only_the_constraint_that_refuses_them(in_slices: RoundTrip) -> None:
    backup = in_slices.back_up()
    damage(in_slices, backup, "large")

    report = in_slices.restore(backup)

    constraint, damaged = report.left_out
    assert constraint.what == "the constraint above of public.large"
    assert damaged.what.endswith(" rows of public.large")
    assert value(in_slices.copy, "SELECT min(n) FROM large") == -1


def test_a_table_whose_slices_are_all_damaged_stays_empty(in_slices: RoundTrip) -> None:
    backup = in_slices.back_up()
    slices = [
        entry for entry in in_slices.entries(backup) if entry.relation and entry.relation.relation_name == "large"
    ]
    for number in range(len(slices)):
        damage(in_slices, backup, "large", number)

    report = in_slices.restore(backup)

    assert others_are_whole(in_slices)
    assert value(in_slices.copy, "SELECT count(*) FROM large") == 0
    (left,) = report.left_out
    assert left.what == "the rows of public.large"
    assert "damaged" in left.reason


def test_where_every_table_is_damaged_there_is_no_restore(shop: RoundTrip) -> None:
    backup = shop.back_up()
    damage(shop, backup, "a_before")  # its frame is that of all small tables

    assert failed(shop, backup).code == "FRAME_DAMAGED"


def test_a_table_that_comes_back_beside_others_is_salvaged_too(shop: RoundTrip) -> None:
    shop.fill(*TOKENS, "CREATE MATERIALIZED VIEW by_day AS SELECT expires::date, count(*) FROM tokens GROUP BY 1")
    backup = shop.back_up()
    shop.fill("DROP TABLE tokens CASCADE")

    report = shop.restore_in_place(backup, tables=["tokens"], with_dependencies=True)

    assert value(shop.source, "SELECT count(*) FROM tokens") == 300
    assert left_out(report) == ["the constraint fresh of public.tokens"]


def test_a_domain_that_others_use_is_not_touched_for_a_table_that_comes_back(shop: RoundTrip) -> None:
    shop.fill(
        "CREATE DOMAIN positive AS int",
        "CREATE TABLE others (n positive)",
        "CREATE TABLE numbers (n positive)",
        "INSERT INTO numbers VALUES (-1)",
        "CREATE MATERIALIZED VIEW total AS SELECT sum(n) FROM numbers",
        "ALTER DOMAIN positive ADD CONSTRAINT above CHECK (VALUE > 0) NOT VALID",
        TRUE_ONCE,
    )
    backup = shop.back_up()
    shop.fill("DROP TABLE numbers CASCADE")

    report = shop.restore_in_place(backup, tables=["numbers"], with_dependencies=True)

    assert value(shop.source, "SELECT count(*) FROM numbers") == 0
    assert left_out(report) == ["the rows of public.numbers", "the rows of the materialized view public.total"]
    assert rows(shop.source, "SELECT convalidated FROM pg_constraint WHERE conname = 'above'") == [(True,)]


def damage(shop: RoundTrip, backup: Backup, table: str, number: int = 0) -> None:
    """Change a byte of the first frame of one slice of a table."""
    entries = [entry for entry in shop.entries(backup) if entry.relation and entry.relation.relation_name == table]
    frame = entries[number].frames[0]
    body = bytearray(shop.coffre.objects(frame.pack)[frame.pack])
    body[frame.offset + frame.length // 2] ^= 1
    client("s3").put_object(Bucket=BUCKET, Key=frame.pack, Body=bytes(body))
