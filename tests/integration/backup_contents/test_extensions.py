"""Extensions: what a user put into their configuration tables comes back, and only that."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest
from tests.integration.contents import RoundTrip, RoundTripOn, rows, run, value
from tests.integration.drills import report_of
from tests.integration.exports import Export, another_database, program

from coffre.model.drill_report import Verdict
from coffre_local.postgres_server import PostgresServer, ServerOptions
from coffre_local.sample import fingerprint, sequences
from coffre_local.toolchain import Toolchain

# Tables whose keys point against the order of their names, with rows of the extension's own.
_SCRIPT = r"""
CREATE TABLE settings (name text PRIMARY KEY, value text, is_default boolean NOT NULL DEFAULT false);
INSERT INTO settings VALUES ('colour', 'red', true), ('size', 'large', true);
SELECT pg_extension_config_dump('settings', E' \n where NOT is_default OR (value IS NULL\n)');
CREATE TABLE z_owners (id serial PRIMARY KEY, name text UNIQUE);
CREATE TABLE a_things (id integer PRIMARY KEY, owner integer NOT NULL REFERENCES z_owners, next integer
    REFERENCES a_things DEFERRABLE INITIALLY DEFERRED, twice integer GENERATED ALWAYS AS (id * 2) STORED);
CREATE TABLE not_configuration (id integer);
INSERT INTO not_configuration VALUES (1);
SELECT pg_extension_config_dump('a_things', '');
SELECT pg_extension_config_dump('z_owners', '');
SELECT pg_extension_config_dump('z_owners_id_seq', '');
CREATE SEQUENCE other_seq;
CREATE VIEW things AS SELECT * FROM a_things;
CREATE FUNCTION thing_count() RETURNS bigint LANGUAGE sql AS 'SELECT count(*) FROM @extschema@.a_things';
"""


def write_extension(share: Path) -> None:
    """Write the extension `coffre_config`, which is not trusted and not relocatable, for everybody to read."""
    place = share / "extension"
    place.mkdir()
    (place / "coffre_config.control").write_text("default_version = '1.0'\nrelocatable = false\n")
    (place / "coffre_config--1.0.sql").write_text(_SCRIPT)
    for path in (share, place, *place.iterdir()):
        path.chmod(0o755)


@pytest.fixture(scope="module")
def server(toolchain: Toolchain) -> Iterator[PostgresServer]:
    """A server that has the extension."""
    with tempfile.TemporaryDirectory(prefix="coffre-extension-") as directory:
        write_extension(Path(directory))
        options = ServerOptions(settings={"extension_control_path": f"{directory}:$system"})
        with PostgresServer(toolchain.embedded_postgresql(), options) as server:
            yield server


@pytest.fixture
def round_trip(round_trip_on: RoundTripOn, server: PostgresServer) -> RoundTrip:
    """A source with the extension in a schema of its own, and with rows of the user's."""
    round_trip = round_trip_on(server)
    round_trip.fill(
        'CREATE SCHEMA "Conf"',
        'CREATE EXTENSION coffre_config SCHEMA "Conf"',
        """INSERT INTO "Conf".settings VALUES ('speed', 'slow'), ('nothing', NULL)""",
        """INSERT INTO "Conf".z_owners (name) SELECT 'owner ' || n FROM generate_series(1, 50) n""",
        'INSERT INTO "Conf".a_things (id, owner, next) SELECT n, 1 + n % 50, 1 + (n + 1) % 100 FROM'
        " generate_series(1, 100) n",
        """SELECT nextval('"Conf".other_seq')""",
        'INSERT INTO "Conf".not_configuration VALUES (2)',
        'CREATE TABLE own (thing integer REFERENCES "Conf".a_things)',
        "INSERT INTO own VALUES (7)",
    )
    return round_trip


def test_rows_of_configuration_tables_come_back_beside_the_extensions_own(round_trip: RoundTrip) -> None:
    backup = round_trip.back_up()
    report = round_trip.restore(backup)

    # Then all that the extension marked as configuration is there, in whatever order its keys ask for
    source, copy = fingerprint(round_trip.source), fingerprint(round_trip.copy)
    assert source.pop('"Conf"."not_configuration"').rows == 2
    assert copy.pop('"Conf"."not_configuration"').rows == 1
    assert copy == source
    states = sequences(round_trip.copy)
    assert states['"Conf"."z_owners_id_seq"'] == (50, True)
    assert states['"Conf"."other_seq"'] == (1, False)
    assert {table.table: table.rows for table in report.tables} == {
        '"Conf".a_things': 100,
        '"Conf".settings': 2,
        '"Conf".z_owners': 50,
        "public.own": 1,
    }
    assert value(round_trip.copy, 'SELECT "Conf".thing_count()') == 100


def test_members_that_are_asked_for_come_back_with_all_their_rows_and_none_twice(round_trip: RoundTrip) -> None:
    backup = round_trip.back_up(tables={"include_members": ["not_configuration"]})
    assert not any("not_configuration" in text for text in round_trip.manifest(backup).exceptions)

    round_trip.restore(backup)

    assert fingerprint(round_trip.copy) == fingerprint(round_trip.source)


def test_what_needs_a_missing_extension_is_left_out_and_said(
    round_trip: RoundTrip, round_trip_on: RoundTripOn, postgres_server: PostgresServer
) -> None:
    round_trip.fill(
        'CREATE VIEW owners AS SELECT * FROM "Conf".z_owners',
        "CREATE MATERIALIZED VIEW many AS SELECT count(*) FROM owners",
        "CREATE TABLE other (id serial)",
        "INSERT INTO other SELECT FROM generate_series(1, 3)",
    )
    there = round_trip_on(postgres_server)

    report = there.restore(round_trip.back_up())

    # Then everything else is there
    assert rows(there.copy, "SELECT thing FROM own") == [(7,)]
    assert value(there.copy, "SELECT nextval('other_id_seq')") == 4
    # And the report names all that is not
    said = " ".join(report.exceptions)
    assert "extension coffre_config: the destination's server does not have this extension" in said
    for name in ("view public.owners", "materialized view public.many", '"Conf".settings', 'Conf".a_things'):
        assert name in said, name


def test_extensions_that_the_destination_already_has_are_no_obstacle(round_trip: RoundTrip) -> None:
    # Given an empty database into which somebody has put an extension already, as platforms do
    round_trip.fill("CREATE EXTENSION pg_trgm", "CREATE TABLE words (w text)", "INSERT INTO words VALUES ('x')")
    name = round_trip.copy.rsplit("/", 1)[1]
    run(round_trip.server.dsn(), f"CREATE DATABASE {name}")
    run(round_trip.copy, "CREATE EXTENSION pg_trgm")

    report = round_trip.make()

    assert value(round_trip.copy, "SELECT w FROM words") == "x"
    assert not report.created_database


def test_an_export_loads_rows_of_configuration_tables_in_the_order_of_their_keys(
    round_trip: RoundTrip, toolchain: Toolchain, tmp_path: Path
) -> None:
    export = Export.of(round_trip, round_trip.back_up())
    home = toolchain.postgresql(18)
    custom = export.custom(tmp_path / "x.dump")

    for jobs in ("--jobs=1", "--jobs=3"):
        with another_database(round_trip) as copy:
            program(home, "pg_restore", "--exit-on-error", jobs, "--dbname", copy, custom)
            copied, source = fingerprint(copy), fingerprint(round_trip.source)
            copied.pop('"Conf"."not_configuration"')
            source.pop('"Conf"."not_configuration"')
            assert copied == source
            assert sequences(copy)['"Conf"."z_owners_id_seq"'] == (50, True)


def test_a_drill_compares_rows_of_configuration_tables_and_not_the_extensions_own(
    round_trip: RoundTrip, toolchain: Toolchain, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The role that drills may create every extension that its server has, trusted or not."""
    coffre, real = round_trip.coffre, toolchain.embedded_postgresql()
    round_trip.fill("DROP TABLE own", """UPDATE "Conf".z_owners SET name = 'first' WHERE id = 1""")
    made = round_trip.back_up()
    with tempfile.TemporaryDirectory(prefix="coffre-home-") as directory:
        home = Path(directory)
        (home / "share").mkdir()
        write_extension(home / "share")
        home.chmod(0o755)
        for part in ("bin", "lib"):
            (home / part).symlink_to(real / part)
        monkeypatch.setitem(coffre.environment, "COFFRE_POSTGRES_HOME", directory)

        answer = coffre.drill()

    assert (answer["outcome"], answer["problems"]) == ("passed", [])
    verdicts = {one.table: (one.verdict, one.rows_found) for one in report_of(coffre, made).tables}
    assert verdicts == {
        '"Conf".a_things': (Verdict.EQUAL, 100),
        '"Conf".settings': (Verdict.EQUAL, 2),
        '"Conf".z_owners': (Verdict.EQUAL, 50),
    }
