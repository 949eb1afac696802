"""Tables that cannot be made as they were come back with their rows: what they lack is named, with its SQL."""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from tests.integration.conftest import Coffre
from tests.integration.contents import RoundTrip, RoundTripOn, database_of, rows, run, value
from tests.integration.drills import report_of

from coffre.model.drill_report import Verdict
from coffre.model.errors import CoffreError
from coffre.model.restore_report import RestoreReport
from coffre_local.postgres_server import PostgresServer, ServerOptions
from coffre_local.toolchain import Toolchain

# What the extension has, and a person makes later in another way.
_MEMBERS = (
    "CREATE FUNCTION {0}shout(text) RETURNS text LANGUAGE sql IMMUTABLE AS 'SELECT pg_catalog.upper($1)'",
    "CREATE TYPE {0}mood AS ENUM ('calm', 'it''s \"loud\"')",
    "CREATE TYPE {0}pair AS (a integer, b text)",
    "CREATE DOMAIN {0}short AS varchar(40)",
    'CREATE COLLATION {0}other FROM "C"',
)


@pytest.fixture(scope="module")
def extended(toolchain: Toolchain) -> Iterator[PostgresServer]:
    """A server with an extension that no other has."""
    with tempfile.TemporaryDirectory(prefix="coffre-extension-") as directory:
        place = Path(directory) / "extension"
        place.mkdir()
        (place / "coffre_kinds.control").write_text("default_version = '1.0'\nrelocatable = true\n")
        (place / "coffre_kinds--1.0.sql").write_text("".join(f"{text.format('')};\n" for text in _MEMBERS))
        for path in (Path(directory), place, *place.iterdir()):
            path.chmod(0o755)
        options = ServerOptions(settings={"extension_control_path": f"{directory}:$system"})
        with PostgresServer(toolchain.embedded_postgresql(), options) as server:
            yield server


@pytest.fixture
def source(round_trip_on: RoundTripOn, extended: PostgresServer) -> RoundTrip:
    trip = round_trip_on(extended)
    trip.fill("CREATE SCHEMA ext", "CREATE EXTENSION coffre_kinds SCHEMA ext")
    return trip


@pytest.fixture
def there(round_trip_on: RoundTripOn, postgres_server: PostgresServer) -> RoundTrip:
    """A destination that lacks the extension."""
    return round_trip_on(postgres_server)


def lacking(report: RestoreReport) -> dict[str, str]:
    """Return what was left out with its SQL, apart from the extension itself."""
    return {left.what: left.sql or "" for left in report.left_out if not left.what.startswith("extension ")}


def add_later(copy: str, report: RestoreReport) -> None:
    """Make what the extension has, then execute the SQL for all that was left out."""
    run(copy, *(text.format("ext.") for text in _MEMBERS), *lacking(report).values())


def test_defaults_checks_and_generated_columns_over_missing_functions_cost_only_themselves(
    source: RoundTrip, there: RoundTrip
) -> None:
    source.fill(
        """CREATE TABLE "Pages, all" (
            id int PRIMARY KEY,
            "the title" text DEFAULT ext.shout('none') NOT NULL,
            made date DEFAULT '2026-01-01' NOT NULL,
            slug text GENERATED ALWAYS AS (ext.shout("the title")) STORED NOT NULL,
            size numeric(10, 2) DEFAULT 1.5,
            twice numeric GENERATED ALWAYS AS (size * 2) STORED,
            CONSTRAINT "is, loud" CHECK (ext.shout("the title") <> 'a, ( b'),
            CONSTRAINT positive CHECK (size > 0))""",
        """INSERT INTO "Pages, all" (id, "the title") SELECT g, 'page ' || g FROM generate_series(1, 300) g""",
        'CREATE INDEX ON "Pages, all" (made)',
        'CREATE VIEW sizes AS SELECT id, size FROM "Pages, all"',
    )

    report = there.restore(source.back_up())

    # Then all rows are there, with every part that the server can make
    table = '"Pages, all"'
    assert rows(there.copy, f"SELECT count(*), count(slug), sum(twice) FROM {table}") == [(300, 0, 900)]
    assert value(there.copy, "SELECT count(*) FROM sizes") == 300
    lacks = lacking(report)
    assert list(lacks) == [
        'the default of the column the title of public."Pages, all"',
        'the values of the generated column slug of public."Pages, all"',
        'the constraint is, loud of public."Pages, all"',
    ]
    assert all("ext" in left.reason and "does not exist" in left.reason for left in report.left_out[1:])
    named = rows(
        there.copy,
        "SELECT conname::text FROM pg_constraint WHERE contype = 'c' AND connamespace = 'public'::regnamespace",
    )
    assert named == [("positive",)]
    # And the SQL makes the rest later
    add_later(there.copy, report)
    run(there.copy, f"INSERT INTO {table} (id) VALUES (999)")
    assert rows(there.copy, f'SELECT "the title", slug, made::text FROM {table} WHERE id IN (7, 999) ORDER BY id') == [
        ("page 7", "PAGE 7", "2026-01-01"),
        ("NONE", "NONE", "2026-01-01"),
    ]
    assert value(there.copy, "SELECT count(*) FROM pg_constraint WHERE conname = 'is, loud' AND convalidated") == 1


def test_columns_of_missing_types_come_back_as_text_that_becomes_the_type_later(
    source: RoundTrip, there: RoundTrip
) -> None:
    source.fill(
        """CREATE TABLE people (
            id int PRIMARY KEY,
            mood ext.mood DEFAULT 'calm' NOT NULL,
            moods ext.mood[],
            paired ext.pair,
            name ext.short DEFAULT 'nobody',
            note text COLLATE ext.other DEFAULT 'x',
            CONSTRAINT calm_first CHECK (id > 1 OR mood = 'calm'))""",
        "CREATE TABLE rest (id int)",
        r"""INSERT INTO people SELECT g, CASE g % 2 WHEN 0 THEN 'it''s "loud"' ELSE 'calm' END::ext.mood,
            '{"it''s \"loud\"",calm}', (g, E'a,\\ "b"\nc')::ext.pair, E'Ada\t' || g FROM generate_series(1, 50) g""",
    )
    expected = rows(
        source.source, "SELECT id, mood::text, moods::text, paired::text, name::text FROM people ORDER BY 1"
    )

    report = there.restore(source.back_up())

    query = "SELECT id, mood, moods, paired, name FROM people ORDER BY 1"
    assert rows(there.copy, query) == expected
    lacks = lacking(report)
    types = [f"the type of the column {name} of public.people" for name in ("mood", "moods", "paired", "name")]
    assert list(lacks) == [
        *types,
        "the collation of the column note of public.people",
        "the constraint calm_first of public.people",
    ]
    assert all("is text" in left.reason for left in report.left_out if left.what in types)
    add_later(there.copy, report)
    cast = "SELECT id, mood::text, moods::text, paired::text, name::text FROM people ORDER BY 1"
    assert rows(there.copy, cast) == expected
    run(there.copy, "INSERT INTO people (id) VALUES (0)")
    assert rows(there.copy, "SELECT mood::text, name::text, note FROM people WHERE id = 0") == [("calm", "nobody", "x")]
    assert value(there.copy, "SELECT pg_typeof((paired).b)::text FROM people LIMIT 1") == "text"


def test_partitions_and_heirs_lack_what_their_parents_lack(source: RoundTrip, there: RoundTrip) -> None:
    source.fill(
        "CREATE TABLE visits (at int NOT NULL, mood ext.mood, who text DEFAULT ext.shout('x'),"
        " CONSTRAINT known CHECK (ext.shout(who) <> '')) PARTITION BY RANGE (at)",
        "CREATE TABLE visits_1 PARTITION OF visits FOR VALUES FROM (1) TO (100)",
        "CREATE TABLE visits_2 PARTITION OF visits FOR VALUES FROM (100) TO (200)",
        "INSERT INTO visits SELECT g, 'calm' FROM generate_series(1, 150) g",
        "CREATE TABLE animals (id int, mood ext.mood)",
        "CREATE TABLE cats (tail int DEFAULT 1) INHERITS (animals)",
        "INSERT INTO cats VALUES (1, 'calm'), (2, NULL)",
    )

    report = there.restore(source.back_up())

    assert rows(there.copy, "SELECT tableoid::regclass::text, count(mood) FROM visits GROUP BY 1 ORDER BY 1") == [
        ("visits_1", 99),
        ("visits_2", 51),
    ]
    assert rows(there.copy, "SELECT id, mood, tail FROM cats ORDER BY 1") == [(1, "calm", 1), (2, None, 1)]
    assert "the type of the column mood of public.visits" in lacking(report)


def test_a_table_that_is_divided_by_a_missing_type_is_left_out_and_its_partitions_are_not(
    source: RoundTrip, there: RoundTrip
) -> None:
    """Where a row belongs depends on the type: as text it would be another partition."""
    source.fill(
        "CREATE TABLE moods (id int, mood ext.mood) PARTITION BY LIST (mood)",
        "CREATE TABLE calm PARTITION OF moods FOR VALUES IN ('calm')",
        "INSERT INTO moods SELECT g, 'calm' FROM generate_series(1, 20) g",
    )

    report = there.restore(source.back_up())

    assert value(there.copy, "SELECT count(*) FROM calm") == 20
    assert value(there.copy, "SELECT to_regclass('moods')") is None
    (extension,) = [left for left in report.left_out if left.what.startswith("extension ")]
    assert "table public.moods" in extension.reason


def test_what_builds_on_a_missing_type_is_named_and_the_rest_of_the_table_comes_back(
    source: RoundTrip, there: RoundTrip
) -> None:
    source.fill(
        "CREATE TABLE people (id int PRIMARY KEY, mood ext.mood UNIQUE)",
        "INSERT INTO people VALUES (1, 'calm'), (2, NULL)",
        "CREATE VIEW calm AS SELECT id FROM people WHERE mood = 'calm'::ext.mood",
        "CREATE INDEX loud ON people (ext.shout(id::text))",
        "CREATE TABLE pets (id int REFERENCES people)",
        "INSERT INTO pets VALUES (1)",
    )

    report = there.restore(source.back_up())

    assert value(there.copy, "SELECT count(*) FROM people JOIN pets USING (id)") == 1
    said = " ".join(report.exceptions)
    assert "view public.calm" in said
    assert "index public.loud" in said
    named = "SELECT conname::text FROM pg_constraint WHERE conname IN ('people_mood_key', 'pets_id_fkey') ORDER BY 1"
    assert rows(there.copy, named) == [("people_mood_key",), ("pets_id_fkey",)]


def test_a_function_that_only_a_superuser_can_make_costs_no_rows(
    round_trip_on: RoundTripOn, postgres_server: PostgresServer
) -> None:
    trip = round_trip_on(postgres_server)
    trip.create_role("reduced_owner", "LOGIN CREATEDB")
    trip.fill(
        "CREATE FUNCTION plain(text) RETURNS text LANGUAGE c IMMUTABLE AS '$libdir/unaccent', 'unaccent_dict'",
        "CREATE TABLE page (id int PRIMARY KEY, title text DEFAULT plain('none'),"
        " slug text GENERATED ALWAYS AS (lower(title)) STORED)",
        "INSERT INTO page SELECT g, 'T' || g FROM generate_series(1, 30) g",
    )

    report = trip.restore(trip.back_up(), trip.server.dsn(database_of(trip.copy), user="reduced_owner"))

    assert rows(trip.copy, "SELECT count(*), count(slug) FROM page") == [(30, 30)]
    assert "the default of the column title of public.page" in lacking(report)


def test_a_compression_that_the_server_does_not_have_costs_only_itself(
    round_trip_on: RoundTripOn, server_of_major: Callable[[int], PostgresServer], extended: PostgresServer
) -> None:
    """The embedded PostgreSQL knows no LZ4."""
    trip = round_trip_on(server_of_major(18))
    trip.fill(
        "CREATE TABLE page (id int, body text COMPRESSION lz4 DEFAULT 'x', title text)",
        "ALTER TABLE page ALTER COLUMN title SET STATISTICS 7",
        "INSERT INTO page SELECT g, 'body ' || g FROM generate_series(1, 30) g",
    )
    there = round_trip_on(extended)

    report = there.restore(trip.back_up())

    assert value(there.copy, "SELECT count(*) FROM page WHERE body LIKE 'body%'") == 30
    (left,) = report.left_out
    assert left.what == "a setting of public.page"
    assert left.sql == "ALTER TABLE ONLY public.page ALTER COLUMN body SET COMPRESSION lz4;\n"
    assert value(there.copy, "SELECT attstattarget FROM pg_attribute WHERE attname = 'title' AND attnum = 3") == 7


def test_a_drill_proves_the_rows_and_names_what_its_server_lacks(
    coffre: Coffre, source: RoundTrip, toolchain: Toolchain, monkeypatch: pytest.MonkeyPatch
) -> None:
    """An extension that the drill's server does not have says nothing about other servers: it is no warning."""
    source.fill("CREATE TABLE people (id int PRIMARY KEY, mood ext.mood)", "INSERT INTO people VALUES (1, 'calm')")
    backup = source.back_up()
    monkeypatch.setitem(coffre.environment, "COFFRE_POSTGRES_HOME", str(toolchain.embedded_postgresql()))

    answer = coffre.drill()

    assert answer["outcome"] == "passed"
    report = report_of(coffre, backup)
    assert {one.table: one.verdict for one in report.tables} == {"public.people": Verdict.EQUAL}
    assert any("the type of the column mood of public.people" in text for text in report.exceptions)


def test_strict_does_not_make_tables_with_less(source: RoundTrip, there: RoundTrip) -> None:
    source.fill("CREATE TABLE page (id int DEFAULT length(ext.shout('x')))", "INSERT INTO page VALUES (1)")
    backup = source.back_up()

    with pytest.raises(CoffreError) as caught:
        there.restore(backup, strict=True)

    assert caught.value.code == "SCHEMA_FAILED"


def test_a_chosen_table_comes_back_without_what_is_missing_and_no_other_is_touched(
    round_trip_on: RoundTripOn, postgres_server: PostgresServer
) -> None:
    trip = round_trip_on(postgres_server)
    owner = trip.create_role("reduced_owner", "LOGIN")
    trip.fill(
        "CREATE FUNCTION plain(text) RETURNS text LANGUAGE c IMMUTABLE AS '$libdir/unaccent', 'unaccent_dict'",
        "CREATE TABLE page (id int PRIMARY KEY, title text DEFAULT plain('none'))",
        "INSERT INTO page SELECT g, 'T' || g FROM generate_series(1, 30) g",
        "CREATE TABLE other AS SELECT 1 AS id",
        "ALTER TABLE page OWNER TO reduced_owner",
        "GRANT CREATE, USAGE ON SCHEMA public TO reduced_owner",
    )
    database = database_of(trip.source)
    run(trip.server.dsn(), f'GRANT CREATE, CONNECT ON DATABASE "{database}" TO reduced_owner')
    backup = trip.back_up()
    trip.fill("DROP TABLE page", "DROP FUNCTION plain")

    report = trip.restore(backup, owner, tables=["page"], with_dependencies=True)

    assert value(trip.source, "SELECT count(*) FROM page") == 30
    assert value(trip.source, "SELECT count(*) FROM other") == 1
    assert "the default of the column title of public.page" in lacking(report)
    assert rows(
        trip.source,
        "SELECT relname::text FROM pg_class WHERE relkind = 'r' AND relnamespace = 'public'::regnamespace ORDER BY 1",
    ) == [("other",), ("page",)]
