"""A target can ask for the schema alone, for rows alone, or for tables without their rows; the manifest says so."""

from __future__ import annotations

from typing import Any

import pytest
from tests.integration.contents import RoundTrip, before_locks, rows, run, schema_of, value

from coffre.model.kinds import Contents
from coffre.model.manifest import EntryKind, TableContent
from coffre.vault.codec import FrameDecoder
from coffre_local.sample import fingerprint, sequences


@pytest.fixture
def filled(round_trip: RoundTrip) -> RoundTrip:
    round_trip.fill(
        "CREATE TABLE customers (id serial PRIMARY KEY, name text)",
        "INSERT INTO customers (name) SELECT 'n' || n FROM generate_series(1, 100) n",
        'CREATE TABLE "Sessions" (id integer PRIMARY KEY, customer integer REFERENCES customers)',
        'INSERT INTO "Sessions" SELECT n, n FROM generate_series(1, 50) n',
        "CREATE TABLE events (id integer, at date) PARTITION BY RANGE (at)",
        "CREATE TABLE events_old PARTITION OF events FOR VALUES FROM (MINVALUE) TO ('2024-01-01')",
        "CREATE TABLE events_new PARTITION OF events DEFAULT PARTITION BY LIST (id)",
        "CREATE TABLE events_new_rest PARTITION OF events_new DEFAULT",
        "INSERT INTO events SELECT n, date '2023-12-01' + n FROM generate_series(1, 60) n",
        "CREATE MATERIALIZED VIEW counted AS SELECT count(*) FROM customers",
        "SELECT lo_from_bytea(7, 'bytes')",
    )
    return round_trip


def _without_rows(round_trip: RoundTrip) -> set[str]:
    (backup,) = round_trip.coffre.backups()
    tables: tuple[TableContent, ...] = round_trip.manifest(backup).database.tables
    assert all(table.rows == table.size == 0 for table in tables if table.rows_excluded)
    return {table.table_name for table in tables if table.rows_excluded}


def test_a_backup_of_the_schema_restores_everything_empty(filled: RoundTrip) -> None:
    backup = filled.back_up(contents="schema")
    report = filled.restore(backup)

    # Then every object is there, and nothing is in them
    assert schema_of(filled.home, filled.copy) == schema_of(filled.home, filled.source)
    assert report.rows == backup.rows == 0
    assert value(filled.copy, "SELECT count(*) FROM customers") == 0
    assert sequences(filled.copy)['"public"."customers_id_seq"'] == (1, False)
    assert value(filled.copy, "SELECT relispopulated FROM pg_class WHERE relname = 'counted'") is False
    assert rows(filled.copy, "SELECT oid FROM pg_largeobject_metadata") == []
    # And the manifest says why, so that nobody takes it for a loss
    assert filled.manifest(backup).database.contents is Contents.SCHEMA
    assert _without_rows(filled) == {"customers", "Sessions", "events_old", "events_new_rest"}
    assert {entry.kind for entry in filled.entries(backup)} == {EntryKind.SCHEMA, EntryKind.ROLES}


def test_a_backup_of_the_data_holds_rows_and_values_alone(filled: RoundTrip) -> None:
    backup = filled.back_up(contents="data")

    # Then the rows are those of a full backup, and can be copied into the tables
    manifest = filled.manifest(backup)
    assert manifest.database.contents is Contents.DATA
    assert _without_rows(filled) == set()
    entries = filled.entries(backup)
    assert {entry.kind for entry in entries} == {EntryKind.TABLE, EntryKind.LARGE_OBJECTS}
    assert backup.rows == 100 + 50 + 60
    assert {s.sequence_name: s.last_value for s in manifest.database.sequences} == {"customers_id_seq": 100}
    vault = filled.coffre.backup_function().services.vault
    decoder = FrameDecoder([filled.coffre.identity])
    (customers,) = [entry for entry in entries if entry.name.startswith("tables/public.customers/")]
    assert b"".join(vault.read_entry(customers, decoder)).startswith(b"1\tn1\n2\tn2\n")


def test_tables_without_their_rows_come_back_empty_and_are_no_loss(filled: RoundTrip) -> None:
    # Given patterns of a table, of a partitioned one (which stands for its partitions), and of none
    backup = filled.back_up(tables={"exclude_data": ['"Sess"*', "public.events", "nothing.like_this"]})
    report = filled.restore(backup)

    # Then the tables are there, and the rest of the database is whole
    assert schema_of(filled.home, filled.copy) == schema_of(filled.home, filled.source)
    assert _without_rows(filled) == {"Sessions", "events_old", "events_new_rest"}
    (said,) = report.exceptions
    assert said.startswith("The backup has no rows of ")
    copy, source = fingerprint(filled.copy), fingerprint(filled.source)
    assert {name for name, content in copy.items() if content != source[name]} == {
        '"public"."Sessions"',
        '"public"."events_old"',
        '"public"."events_new_rest"',
    }
    assert value(filled.copy, 'SELECT (SELECT count(*) FROM "Sessions") + (SELECT count(*) FROM events)') == 0
    assert sequences(filled.copy) == sequences(filled.source)
    assert value(filled.copy, "SELECT convert_from(lo_get(7), 'UTF8')") == "bytes"


def test_every_table_can_come_without_its_rows(filled: RoundTrip) -> None:
    backup = filled.back_up(tables={"exclude_data": ["*"]})
    filled.restore(backup)

    assert backup.rows == 0
    # The sequences go on where they were: their values are no rows
    assert sequences(filled.copy) == sequences(filled.source)


@pytest.mark.parametrize("target", [{"contents": "schema"}, {"tables": {"exclude_data": ['"Sessions"']}}])
def test_a_table_whose_rows_are_left_out_may_be_truncated_at_any_time(
    filled: RoundTrip, monkeypatch: pytest.MonkeyPatch, target: dict[str, Any]
) -> None:
    snapshots = before_locks(monkeypatch, lambda: run(filled.source, 'TRUNCATE "Sessions"'), times=100)

    backup = filled.back_up(**target)

    # Then there was no need for another snapshot, as nothing of the table is read
    assert len(snapshots) == 1
    assert not [entry for entry in filled.entries(backup) if "Sessions" in entry.name]


def test_a_partitioned_table_that_is_named_brings_its_partitions(filled: RoundTrip) -> None:
    backup = filled.back_up(tables={"include": ["public.events"]})
    filled.restore(backup)

    assert backup.rows == 60
    assert value(filled.copy, "SELECT count(*) FROM events") == 60
