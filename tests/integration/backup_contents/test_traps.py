"""Things that a destination does not have, that others have open, and that a choice of tables leaves behind."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import closing

import psycopg2
import pytest
from tests.integration.contents import RoundTrip, RoundTripOn, database_of, run, value

from coffre.policy import slicing
from coffre_local.postgres_server import PostgresServer
from coffre_local.sample import fingerprint


@pytest.fixture
def tablespace(postgres_server: PostgresServer) -> Iterator[str]:
    """A tablespace on the server that most tests share."""
    with closing(psycopg2.connect(postgres_server.dsn())) as session, session.cursor() as cursor:
        session.autocommit = True
        cursor.execute("SET allow_in_place_tablespaces = on")
        cursor.execute("CREATE TABLESPACE \"Far Disk\" LOCATION ''")
    yield '"Far Disk"'
    run(postgres_server.dsn(), 'DROP TABLESPACE IF EXISTS "Far Disk"')


def test_a_tablespace_that_the_destination_lacks_is_no_obstacle(
    tablespace: str,
    round_trip: RoundTrip,
    round_trip_on: RoundTripOn,
    server_of_major: Callable[[int], PostgresServer],
) -> None:
    round_trip.fill(
        f"CREATE TABLE far (id integer PRIMARY KEY USING INDEX TABLESPACE {tablespace}) TABLESPACE {tablespace}",
        "INSERT INTO far SELECT generate_series(1, 10)",
        f"CREATE INDEX far_again ON far (id) TABLESPACE {tablespace}",
        f"CREATE MATERIALIZED VIEW seen TABLESPACE {tablespace} AS SELECT count(*) FROM far",
        f"CREATE TABLE parted (id integer) PARTITION BY RANGE (id) TABLESPACE {tablespace}",
        f"CREATE TABLE parted_one PARTITION OF parted DEFAULT TABLESPACE {tablespace}",
    )
    there = round_trip_on(server_of_major(18))

    backup = round_trip.back_up()

    report = there.restore(backup)

    assert fingerprint(there.copy) == fingerprint(round_trip.source)
    # And it is said; a table that is brought back alone finds its way too
    (said,) = report.exceptions
    assert "Far Disk" in said
    run(there.copy, "DROP TABLE parted")
    there.restore(backup, tables=["parted"])
    assert fingerprint(there.copy) == fingerprint(round_trip.source)
    round_trip.server.drop_database(database_of(round_trip.source))


def test_temporary_tables_of_others_are_nobodys_business(round_trip: RoundTrip) -> None:
    round_trip.fill("CREATE TABLE t AS SELECT 1 AS id")
    with closing(psycopg2.connect(round_trip.source)) as other, other.cursor() as cursor:
        other.autocommit = True
        cursor.execute("CREATE TEMPORARY TABLE mine (id serial PRIMARY KEY, t text DEFAULT 'x')")
        cursor.execute("INSERT INTO mine SELECT generate_series(1, 10)")
        cursor.execute("CREATE TEMPORARY VIEW v AS SELECT * FROM mine")
        backup = round_trip.back_up()
        cursor.execute("SELECT count(*) FROM mine")
        assert cursor.fetchone() == (10,)
    round_trip.restore(backup)

    assert [table.table_name for table in round_trip.manifest(backup).database.tables] == ["t"]
    round_trip.assert_equal()


def test_security_labels_without_their_provider_are_left_out_and_said(round_trip: RoundTrip) -> None:
    """No provider can be loaded here: the label is written where one would have written it."""
    round_trip.create_role("labels_owner", "LOGIN CREATEDB")
    round_trip.fill("CREATE TABLE t AS SELECT 1 AS id", "ALTER TABLE t OWNER TO labels_owner")
    with closing(psycopg2.connect(round_trip.source, options="-c allow_system_table_mods=on")) as session:
        session.cursor().execute(
            "INSERT INTO pg_seclabel VALUES ('t'::regclass, 'pg_class'::regclass, 0, 'selinux', 'it''s a label')"
        )
        session.commit()

    report = round_trip.restore(
        round_trip.back_up(), round_trip.server.dsn(database_of(round_trip.copy), user="labels_owner")
    )

    assert fingerprint(round_trip.copy) == fingerprint(round_trip.source)
    assert [text for text in report.exceptions if "security label" in text and "is not loaded" in text]


def test_a_chosen_table_comes_back_without_what_it_points_at(round_trip: RoundTrip) -> None:
    round_trip.fill(
        "CREATE SCHEMA other",
        "CREATE TABLE other.needed (id integer PRIMARY KEY)",
        "INSERT INTO other.needed VALUES (1)",
        "CREATE TABLE chosen (id integer PRIMARY KEY, needed integer REFERENCES other.needed)",
        "INSERT INTO chosen VALUES (1, 1)",
    )

    backup = round_trip.back_up(tables={"include": ["public.chosen"]})
    report = round_trip.restore(backup)

    assert value(round_trip.copy, "SELECT count(*) FROM chosen") == 1
    assert [text for text in report.exceptions if "chosen_needed_fkey" in text]


def test_a_chosen_table_of_another_schema_comes_back(round_trip: RoundTrip) -> None:
    """pg_dump writes a chosen table without its schema."""
    round_trip.fill(
        'CREATE SCHEMA "Odd Schema"',
        'CREATE TABLE "Odd Schema".t (id serial PRIMARY KEY)',
        'INSERT INTO "Odd Schema".t SELECT generate_series(1, 3)',
        "CREATE TABLE other (id integer)",
    )

    report = round_trip.make(tables={"include": ['"Odd Schema".t']})

    assert report.exceptions == ()
    assert value(round_trip.copy, 'SELECT count(*) FROM "Odd Schema".t') == 3
    assert value(round_trip.copy, """SELECT nextval('"Odd Schema".t_id_seq')""") == 1


def test_a_chosen_partition_comes_back_as_a_table(round_trip: RoundTrip) -> None:
    round_trip.fill(
        "CREATE TABLE whole (id integer PRIMARY KEY, t text) PARTITION BY RANGE (id)",
        "CREATE INDEX by_t ON whole (t)",
        "CREATE TABLE half PARTITION OF whole FOR VALUES FROM (0) TO (10)",
        "INSERT INTO whole VALUES (1, 'a'), (2, 'b')",
    )

    backup = round_trip.back_up(tables={"include": ["public.half"]})
    report = round_trip.restore(backup)

    assert value(round_trip.copy, "SELECT count(*) FROM half") == 2
    assert [text for text in report.exceptions if "table attach" in text]


# Each is behind something that is not itself a function in SQL.
_NESTED = {
    "an operator": "CREATE INDEX nested ON t ((id >>> 1))",
    "a cast": "CREATE INDEX nested ON t ((ROW(id)::boxed::integer))",
    "a function": "CREATE INDEX nested ON t (outer_one(id))",
    "a predicate": "CREATE INDEX nested ON t (id) WHERE id >>> 1 > 5",
    "statistics": "CREATE STATISTICS nested ON (id >>> 1), id FROM t",
}


@pytest.mark.parametrize("index", _NESTED.values(), ids=_NESTED)
def test_an_expression_that_needs_a_search_path_does_not_stop_a_backup(
    round_trip_on: RoundTripOn,
    server_of_major: Callable[[int], PostgresServer],
    monkeypatch: pytest.MonkeyPatch,
    index: str,
) -> None:
    """The planner looks into a function with our empty search path, and into those that it calls."""
    monkeypatch.setattr(slicing, "SLICE_BLOCKS", 1)
    round_trip = round_trip_on(server_of_major(16))
    round_trip.fill(
        "CREATE FUNCTION innermost(integer) RETURNS integer IMMUTABLE LANGUAGE sql AS 'SELECT $1 + 1'",
        "CREATE FUNCTION inner_one(integer, integer) RETURNS integer IMMUTABLE LANGUAGE sql AS 'SELECT innermost($1)'",
        "CREATE FUNCTION outer_one(integer) RETURNS integer IMMUTABLE LANGUAGE sql RETURN inner_one($1, 1)",
        "CREATE OPERATOR >>> (LEFTARG = integer, RIGHTARG = integer, FUNCTION = inner_one)",
        "CREATE TYPE boxed AS (i integer)",
        "CREATE FUNCTION unboxed(boxed) RETURNS integer IMMUTABLE LANGUAGE sql AS 'SELECT innermost(($1).i)'",
        "CREATE CAST (boxed AS integer) WITH FUNCTION unboxed(boxed)",
        "CREATE TABLE t AS SELECT n AS id, repeat('x', 500) AS t FROM generate_series(1, 1000) n",
        index,
    )

    backup = round_trip.back_up()

    assert backup.rows == 1000
    assert len([entry for entry in round_trip.entries(backup) if entry.name.startswith("tables/")]) == 1


def test_a_table_with_harmless_expressions_is_cut(round_trip: RoundTrip, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(slicing, "SLICE_BLOCKS", 1)
    round_trip.fill(
        "CREATE TABLE t AS SELECT n AS id, repeat('x', 500) AS t FROM generate_series(1, 1000) n",
        "CREATE INDEX ON t (lower(t)) WHERE id > 5",
    )

    backup = round_trip.back_up()

    assert len([entry for entry in round_trip.entries(backup) if entry.name.startswith("tables/")]) > 5
