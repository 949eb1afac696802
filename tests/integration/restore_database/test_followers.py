"""What follows chosen tables: keys, and views of every make, at the first try or a later one."""

from __future__ import annotations

import pytest
from tests.integration.contents import RoundTrip, rows, run, schema_of, value

from coffre.model.backup import Backup
from coffre_local.sample import fingerprint

PARTS = (
    "CREATE TABLE parts (id int PRIMARY KEY, v text) PARTITION BY RANGE (id)",
    "CREATE TABLE parts_1 PARTITION OF parts FOR VALUES FROM (0) TO (100)",
    "CREATE TABLE parts_2 PARTITION OF parts FOR VALUES FROM (100) TO (200) PARTITION BY RANGE (id)",
    "CREATE TABLE parts_2a PARTITION OF parts_2 DEFAULT",
    "INSERT INTO parts SELECT n, 'p' || n FROM generate_series(0, 199) n",
    "CREATE TABLE uses (part int REFERENCES parts)",
    "INSERT INTO uses SELECT id FROM parts",
)
# Their queries stand apart in a backup: pg_dump makes such a view twice.
GROUPED = (
    "CREATE TABLE orders (id int PRIMARY KEY, total int, note text)",
    "INSERT INTO orders SELECT n, n, 'n' FROM generate_series(1, 20) n",
    "CREATE VIEW sums AS SELECT id, note, sum(total) AS total FROM orders GROUP BY id",
    "CREATE VIEW big AS SELECT id, total FROM sums WHERE total > 10",
    "CREATE MATERIALIZED VIEW kept AS SELECT * FROM sums",
    "CREATE UNIQUE INDEX kept_once ON kept (id)",
    "CREATE FUNCTION all_sums() RETURNS SETOF sums LANGUAGE sql AS 'SELECT * FROM public.sums'",
    "COMMENT ON VIEW sums IS 'by id'",
    "GRANT SELECT ON sums TO PUBLIC",
    "CREATE TABLE refunds (order_id int REFERENCES orders)",
    "INSERT INTO refunds VALUES (7)",
)


def as_before(round_trip: RoundTrip, backup: Backup, table: str, drop: str) -> None:
    """Drop and restore with all that follows: everything is as it was."""
    before, schema = fingerprint(round_trip.source), schema_of(round_trip.home, round_trip.source)
    round_trip.fill(drop)

    report = round_trip.restore_in_place(backup, tables=[table], with_dependencies=True)

    assert (report.exceptions, report.script) == ((), None)
    assert fingerprint(round_trip.source) == before
    assert schema_of(round_trip.home, round_trip.source) == schema


@pytest.mark.parametrize("part", ["parts_1", "parts_2a", "parts_2"])
def test_a_partition_to_whose_root_a_key_points_joins_before_the_key_is_checked(
    round_trip: RoundTrip, part: str
) -> None:
    round_trip.fill(*PARTS)

    as_before(round_trip, round_trip.back_up(), part, f"DROP TABLE {part} CASCADE")


def test_a_key_that_went_with_a_partition_is_said(round_trip: RoundTrip) -> None:
    round_trip.fill(*PARTS)
    backup = round_trip.back_up()
    round_trip.fill("DROP TABLE parts_1 CASCADE")

    report = round_trip.restore_in_place(backup, tables=["parts_1"])

    (said,) = report.exceptions
    assert "foreign key public.uses uses_part_fkey" in said
    assert report.script is not None
    round_trip.fill(report.script)
    assert value(round_trip.source, "SELECT count(*) FROM pg_constraint WHERE conname = 'uses_part_fkey'") == 1


def test_views_that_group_by_a_primary_key_come_back_with_what_builds_on_them(round_trip: RoundTrip) -> None:
    round_trip.fill(*GROUPED)

    as_before(round_trip, round_trip.back_up(), "orders", "DROP TABLE orders CASCADE")


def test_the_script_brings_such_views_back_too(round_trip: RoundTrip) -> None:
    round_trip.fill(*GROUPED)
    backup = round_trip.back_up()
    before, schema = fingerprint(round_trip.source), schema_of(round_trip.home, round_trip.source)
    round_trip.fill("DROP TABLE orders CASCADE")

    report = round_trip.restore_in_place(backup, tables=["orders"])

    (said,) = report.exceptions
    for name in ("view public.sums", "view public.big", "materialized view public.kept", "function public.all_sums()"):
        assert name in said
    assert "_RETURN" not in said
    assert report.script is not None
    round_trip.fill(report.script)
    assert fingerprint(round_trip.source) == before
    assert schema_of(round_trip.home, round_trip.source) == schema


def test_a_second_try_brings_what_the_first_one_left(round_trip: RoundTrip) -> None:
    round_trip.fill(*GROUPED)
    backup = round_trip.back_up()
    before, schema = fingerprint(round_trip.source), schema_of(round_trip.home, round_trip.source)
    round_trip.fill("DROP TABLE orders CASCADE")
    round_trip.restore_in_place(backup, tables=["orders"])

    # Given a look without the flag, which says what is missing
    seen = round_trip.restore_in_place(backup, tables=["orders"])
    (said,) = seen.notes
    assert "view public.sums" in said
    assert "foreign key public.refunds refunds_order_id_fkey" in said
    assert "--with-dependencies restores it" in said
    assert seen.exceptions == ()

    plan = round_trip.restore_in_place(backup, tables=["orders"], with_dependencies=True, dry_run=True)
    assert any("Restore the view public.sums" in step for step in plan.steps)
    report = round_trip.restore_in_place(backup, tables=["orders"], with_dependencies=True)

    assert report.exceptions == ()
    run(round_trip.source, *(kept.remove for done in (seen, report) for kept in done.kept))
    assert fingerprint(round_trip.source) == before
    assert schema_of(round_trip.home, round_trip.source) == schema


def test_what_the_owner_has_done_away_with_is_only_offered(round_trip: RoundTrip) -> None:
    round_trip.fill(*GROUPED, "CREATE INDEX by_total ON orders (total)")
    backup = round_trip.back_up()
    round_trip.fill("DROP VIEW big", "DROP INDEX by_total")

    report = round_trip.restore_in_place(backup, tables=["orders"], replace=True)

    assert report.notes == (
        f"In the backup, and not in {report.destination}: view public.big. --with-dependencies restores it.",
    )
    assert rows(round_trip.source, "SELECT to_regclass('big'), to_regclass('by_total')") == [(None, None)]


def test_what_is_refused_is_left_out_with_what_needs_it_and_named(round_trip: RoundTrip) -> None:
    round_trip.fill(*GROUPED)
    backup = round_trip.back_up()
    round_trip.fill(
        "DROP TABLE orders CASCADE",
        "INSERT INTO refunds VALUES (999)",
        # Somebody has another view of that name now, in the way of what is built on it
        "CREATE TABLE kept_once (id int)",
    )

    report = round_trip.restore_in_place(backup, tables=["orders"], with_dependencies=True)

    assert value(round_trip.source, "SELECT count(*) FROM orders") == 20
    assert value(round_trip.source, "SELECT count(*) FROM big") == 10
    assert "view public.big" in report.dependents
    left = {found.what: found for found in report.left_out}
    assert not {*left} & {*report.dependents}
    key = left["the validation of the foreign key public.refunds refunds_order_id_fkey"]
    assert "violates foreign key constraint" in key.reason
    assert key.sql is not None
    assert "index public.kept_once" in left
    # And the statement validates it once the reason is gone
    round_trip.fill("DELETE FROM refunds WHERE order_id = 999", key.sql)
    validated = "SELECT convalidated FROM pg_constraint WHERE conname = 'refunds_order_id_fkey'"
    assert value(round_trip.source, validated) is True


def test_a_view_whose_query_is_refused_leaves_nothing_half_made(round_trip: RoundTrip) -> None:
    round_trip.fill(
        "CREATE TABLE rates (id int PRIMARY KEY, rate int)",
        *GROUPED[:2],
        "CREATE VIEW sums AS SELECT o.id, o.note, sum(r.rate) AS rates FROM orders o, rates r GROUP BY o.id",
        "CREATE VIEW big AS SELECT id FROM sums WHERE rates > 10",
    )
    backup = round_trip.back_up()
    round_trip.fill("DROP TABLE orders CASCADE", "ALTER TABLE rates RENAME COLUMN rate TO other")

    report = round_trip.restore_in_place(backup, tables=["orders"], with_dependencies=True)

    assert value(round_trip.source, "SELECT count(*) FROM orders") == 20
    assert rows(round_trip.source, "SELECT to_regclass('sums'), to_regclass('big')") == [(None, None)]
    (left,) = report.left_out
    assert left.what == "view public.sums"
    assert not {"view public.sums", "view public.big"} & {*report.dependents}
    assert "view public.big" in left.reason
    # And its SQL makes both once the reason is gone
    round_trip.fill("ALTER TABLE rates RENAME COLUMN other TO rate", left.sql or "")
    assert value(round_trip.source, "SELECT count(*) FROM big") == 0


def test_what_an_existing_table_gets_again_is_named(round_trip: RoundTrip) -> None:
    round_trip.fill(*GROUPED)
    backup = round_trip.back_up()
    round_trip.fill("DROP VIEW big CASCADE", "ALTER TABLE refunds DROP CONSTRAINT refunds_order_id_fkey")

    looked = round_trip.restore_in_place(backup, tables=["orders"], with_dependencies=True, dry_run=True)
    report = round_trip.restore_in_place(backup, tables=["orders"], with_dependencies=True)

    assert looked.dependents == ()
    assert {"view public.big", "foreign key public.refunds refunds_order_id_fkey"} <= {*report.dependents}
    assert value(round_trip.source, "SELECT count(*) FROM big") == 10
