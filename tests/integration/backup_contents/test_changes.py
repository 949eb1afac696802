"""What others do to the database while a backup begins, and while it runs, does not get into it."""

from __future__ import annotations

import itertools
import threading
from collections.abc import Iterator
from contextlib import closing, contextmanager

import psycopg2
import pytest
from tests.integration.contents import (
    RoundTrip,
    after_plan,
    after_reading,
    before_locks,
    no_session_stays,
    rows,
    run,
    value,
    while_reading,
)
from tests.integration.expect import manifests

from coffre.model.backup import Status
from coffre.model.errors import DumpTransientError
from coffre.policy import slicing
from coffre.postgres.source.dump import ArchiveDumper
from coffre_local.sample import fingerprint


@pytest.fixture
def filled(round_trip: RoundTrip) -> RoundTrip:
    round_trip.fill(
        "CREATE TABLE t (id integer PRIMARY KEY, a text, b text)",
        "INSERT INTO t SELECT n, 'a' || n, 'b' || n FROM generate_series(1, 100) n",
        "CREATE TABLE other AS SELECT 1 AS id",
        "CREATE SEQUENCE s",
    )
    return round_trip


# What can happen in that moment, and what the backup must hold then: the state after the change.
CHANGES = {
    "truncated": "TRUNCATE t",
    "truncated and filled again": "TRUNCATE t; INSERT INTO t VALUES (1, 'new', 'new')",
    "rewritten": "VACUUM FULL t",
    "dropped": "DROP TABLE t",
    "dropped and made again": "DROP TABLE t; CREATE TABLE t (id integer, a text, b text); INSERT INTO t VALUES (7)",
    "swapped for another": "ALTER TABLE t RENAME TO old; CREATE TABLE t (id integer, a text, b text);"
    " INSERT INTO t VALUES (7)",
    "renamed": "ALTER TABLE t RENAME TO renamed",
    "moved to another schema": "CREATE SCHEMA elsewhere; ALTER TABLE t SET SCHEMA elsewhere",
    "a column dropped": "ALTER TABLE t DROP COLUMN a",
    "a column renamed": "ALTER TABLE t RENAME COLUMN a TO z",
    "columns swapped": "ALTER TABLE t RENAME COLUMN a TO z; ALTER TABLE t RENAME COLUMN b TO a;"
    " ALTER TABLE t RENAME COLUMN z TO b",
    "a column replaced": "ALTER TABLE t DROP COLUMN a; ALTER TABLE t ADD COLUMN a text DEFAULT 'new'",
    "a type changed": "ALTER TABLE t ALTER id TYPE bigint",
    "a sequence dropped": "DROP SEQUENCE s",
}


@pytest.mark.parametrize("change", CHANGES.values(), ids=CHANGES)
def test_a_change_between_snapshot_and_lock_takes_a_new_snapshot(
    filled: RoundTrip, monkeypatch: pytest.MonkeyPatch, change: str
) -> None:
    snapshots = before_locks(monkeypatch, lambda: run(filled.source, *change.split("; ")))

    backup = filled.back_up()

    # Then the first snapshot was given up, and the backup is of the state after the change
    assert len(snapshots) == 2
    assert len(set(snapshots)) == 2
    assert {
        (table.schema_name, table.table_name, table.columns, table.rows)
        for table in filled.manifest(backup).database.tables
    } == {
        (schema, name, tuple(columns), value(filled.source, f'SELECT count(*) FROM "{schema}"."{name}"'))
        for schema, name, columns in rows(filled.source, _COLUMNS)
    }


@pytest.mark.parametrize("change", ["swapped for another", "columns swapped", "a column replaced"])
def test_the_backup_after_such_a_change_is_the_database_after_it(
    filled: RoundTrip, monkeypatch: pytest.MonkeyPatch, change: str
) -> None:
    before_locks(monkeypatch, lambda: run(filled.source, *CHANGES[change].split("; ")))

    filled.make()

    filled.assert_equal()


_COLUMNS = """
SELECT n.nspname, c.relname, array_agg(a.attname::text ORDER BY a.attnum)
FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace
JOIN pg_attribute a ON a.attrelid = c.oid AND a.attnum > 0 AND NOT a.attisdropped
WHERE c.relkind = 'r' AND n.nspname IN ('public', 'elsewhere') GROUP BY 1, 2
"""


# Changes that leave the old rows readable: the first snapshot is as good as ever, and the backup is of that moment.
HARMLESS = {
    "rows changed": "UPDATE t SET a = 'new'; DELETE FROM t WHERE id > 50; INSERT INTO t VALUES (1000)",
    "a column added": "ALTER TABLE t ADD COLUMN c text DEFAULT 'new'",
    "an index added": "CREATE INDEX ON t (a)",
    "a table added": "CREATE TABLE later AS SELECT 1 AS id",
    "a default changed": "ALTER TABLE t ALTER a SET DEFAULT 'x'",
}


@pytest.mark.parametrize("change", HARMLESS.values(), ids=HARMLESS)
def test_other_changes_there_are_not_in_the_backup(
    filled: RoundTrip, monkeypatch: pytest.MonkeyPatch, change: str
) -> None:
    before = fingerprint(filled.source)
    snapshots = before_locks(monkeypatch, lambda: run(filled.source, *change.split("; ")))

    filled.make()

    assert len(snapshots) == 1
    assert fingerprint(filled.copy) == before


def test_a_database_that_changes_all_the_time_is_given_up(filled: RoundTrip, monkeypatch: pytest.MonkeyPatch) -> None:
    change = "CREATE OR REPLACE FUNCTION f() RETURNS integer LANGUAGE sql AS 'SELECT 1'"
    filled.fill(change)
    snapshots = before_locks(monkeypatch, lambda: run(filled.source, change), times=100)

    with pytest.raises(DumpTransientError) as caught:
        filled.back_up()

    assert caught.value.code == "SCHEMA_CHANGED"
    assert "changed or dropped while it was being read" in caught.value.message
    assert len(set(snapshots)) == 3
    (backup,) = filled.coffre.backups()
    assert backup.status is Status.FAILED
    assert filled.coffre.objects("v1/backups") == {}


def test_a_table_that_is_truncated_all_the_time_is_locked_before_the_next_snapshot(
    filled: RoundTrip, monkeypatch: pytest.MonkeyPatch
) -> None:
    # Given somebody who truncates between every snapshot and its locks (field note 24)
    refused: list[str] = []

    def truncate() -> None:
        try:
            run(filled.source, "SET lock_timeout = '200ms'; TRUNCATE t; INSERT INTO t VALUES (1, 'new', 'new')")
        except psycopg2.errors.LockNotAvailable:
            refused.append("locked")

    snapshots = before_locks(monkeypatch, truncate, times=100)

    filled.make()

    # Then the second attempt holds what the first one wanted, and is the state after the first truncation
    assert len(snapshots) == 2
    assert refused == ["locked"]
    filled.assert_equal()


def test_rows_that_change_while_tables_are_read_are_not_in_the_backup(
    filled: RoundTrip, monkeypatch: pytest.MonkeyPatch
) -> None:
    # Given somebody who writes after the plan was made and before the first row is read
    before = fingerprint(filled.source)
    changes = ("UPDATE t SET a = 'new'", "DELETE FROM other", "INSERT INTO t SELECT generate_series(200, 300)")
    after_plan(monkeypatch, lambda: run(filled.source, *changes))

    filled.make()

    assert fingerprint(filled.copy) == before
    assert fingerprint(filled.source) != before


@pytest.mark.parametrize("change", ["truncated and filled again", "dropped", "a column dropped"])
def test_what_is_changed_before_it_is_read_takes_a_new_snapshot(
    filled: RoundTrip, monkeypatch: pytest.MonkeyPatch, change: str
) -> None:
    snapshots = after_plan(monkeypatch, lambda: run(filled.source, *CHANGES[change].split("; ")), times=1)

    filled.make()

    assert len(set(snapshots)) == 2
    filled.assert_equal()


def test_what_is_changed_after_it_was_read_does_no_harm(filled: RoundTrip, monkeypatch: pytest.MonkeyPatch) -> None:
    # Given a part for each table
    monkeypatch.setattr(slicing, "SMALLEST_PART_BYTES", 1)
    before = fingerprint(filled.source)
    read: list[str] = []

    def drop(names: tuple[str, ...]) -> None:
        read.extend(names)
        run(filled.source, f"DROP TABLE {names[0]}")

    after_reading(monkeypatch, drop)
    filled.make(limits={"streams": 1})

    assert sorted(read) == ["other", "t"]
    assert fingerprint(filled.copy) == before


def test_labels_that_are_renamed_all_the_time_are_given_up(filled: RoundTrip, monkeypatch: pytest.MonkeyPatch) -> None:
    filled.fill("CREATE TYPE mood AS ENUM ('a', 'b')", "CREATE TABLE moods AS SELECT 'a'::mood AS m")
    names = itertools.cycle([("a", "c"), ("c", "a")])
    rename = "ALTER TYPE mood RENAME VALUE '{}' TO '{}'"
    snapshots = after_plan(monkeypatch, lambda: run(filled.source, rename.format(*next(names))))

    with pytest.raises(DumpTransientError) as caught:
        filled.back_up()

    assert caught.value.code == "SCHEMA_CHANGED"
    assert "A label of an enum" in caught.value.message
    assert len(set(snapshots)) == 6
    assert manifests(filled.coffre) == []


@contextmanager
def locked(url: str, statement: str) -> Iterator[None]:
    """Hold a lock in another session."""
    with closing(psycopg2.connect(url)) as session, session.cursor() as cursor:
        cursor.execute(statement)
        yield


def test_a_lock_that_stays_fails_the_backup_with_a_clear_message(filled: RoundTrip) -> None:
    with (
        locked(filled.source, "LOCK TABLE t IN ACCESS EXCLUSIVE MODE"),
        pytest.raises(DumpTransientError) as caught,
    ):
        filled.back_up(limits={"lock_timeout_seconds": 1})

    assert caught.value.code == "LOCK_TIMEOUT"
    assert "limits.lock_timeout_seconds" in caught.value.message
    assert "ALTER TABLE" in (caught.value.hint or "")
    (backup,) = filled.coffre.backups()
    assert backup.status is Status.FAILED
    assert backup.failure is not None
    assert backup.failure.code == "LOCK_TIMEOUT"
    assert filled.coffre.objects("v1/backups") == {}
    # And nobody queues behind the backup any more
    assert rows(filled.source, "SELECT pid FROM pg_locks WHERE NOT granted") == []


def test_a_lock_that_goes_away_in_time_does_not_matter(filled: RoundTrip, monkeypatch: pytest.MonkeyPatch) -> None:
    # Given a lock that is held until the first attempt has failed
    released = threading.Event()
    tried: list[str] = []
    dump_schema = ArchiveDumper.schema

    def schema(dumper: ArchiveDumper, snapshot: str, file: object) -> None:
        tried.append(snapshot)
        if len(tried) == 2:
            blocker.__exit__(None, None, None)
            released.set()
        dump_schema(dumper, snapshot, file)  # type: ignore[arg-type]

    monkeypatch.setattr(ArchiveDumper, "schema", schema)
    blocker = locked(filled.source, "LOCK TABLE t IN ACCESS EXCLUSIVE MODE")
    blocker.__enter__()

    filled.make(limits={"lock_timeout_seconds": 1})

    filled.assert_equal()
    assert len(set(tried)) == 2
    assert released.is_set()


def test_only_what_is_being_read_is_locked_and_others_may_read_and_write_it(
    filled: RoundTrip, monkeypatch: pytest.MonkeyPatch
) -> None:
    def locks() -> list[tuple[str, str]]:
        return rows(
            filled.source,
            "SELECT c.relname, l.mode FROM pg_locks l JOIN pg_class c ON c.oid = l.relation"
            " WHERE c.oid >= 16384 AND c.relkind IN ('r', 'S') ORDER BY 1",
        )

    monkeypatch.setattr(slicing, "SMALLEST_PART_BYTES", 1)
    seen: dict[str, list[tuple[str, str]]] = {}
    after_plan(monkeypatch, lambda: seen.update({"planned": locks()}))
    while_reading(monkeypatch, lambda names: seen.update({names[0]: locks()}))
    after_reading(monkeypatch, lambda names: seen.update({f"after {names[0]}": locks()}))

    filled.back_up(limits={"streams": 1})

    assert seen == {
        "planned": [],
        "other": [("other", "AccessShareLock")],
        "after other": [],
        "t": [("t", "AccessShareLock")],
        "after t": [],
    }
    no_session_stays(filled.source)
