"""Restores into databases in use in several attempts: paused, or killed anywhere. Nothing is lost or done twice."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from tests.integration.conftest import Context, new_id
from tests.integration.contents import RoundTrip, database_of, rows, run, value
from tests.integration.restore_database.test_continued import Time, chain, essence, killed

from coffre.model.backup import Backup
from coffre.model.errors import CoffreError
from coffre.model.restore import Scope
from coffre.model.restore_report import RestoreReport
from coffre.operations.restore_database import load_transactions, tables
from coffre.operations.restore_database.job import RestoreJob
from coffre.operations.restore_database.restore import restore_database
from coffre.operations.runs.parallel_map import ThreadRunner
from coffre.operations.runs.progress import Meter
from coffre.policy import slicing
from coffre.postgres.connection.client_tools import Children
from coffre.postgres.connection.connection_secret import parse_secret
from coffre_local.sample import fingerprint, sequences

# What is dropped later: rows of many slices, what salvage has to do with, keys with orphans, a partition, views.
# What is changed later: tables with keys, of one slice and of several.
SOURCE = (
    "CREATE TABLE large (id int PRIMARY KEY, v text)",
    "INSERT INTO large SELECT g, repeat(md5(g::text), 8) FROM generate_series(1, 2000) g",
    "CREATE TABLE kinds (id int PRIMARY KEY)",
    "CREATE TABLE points (id serial PRIMARY KEY, kind int REFERENCES kinds)",
    "INSERT INTO kinds SELECT generate_series(1, 10)",
    "INSERT INTO points (kind) SELECT 1 + g % 10 FROM generate_series(1, 200) g",
    "SET session_replication_role = replica; DELETE FROM kinds WHERE id = 4",
    "CREATE FUNCTION positive(i int) RETURNS bool LANGUAGE sql IMMUTABLE AS 'SELECT true'",
    "CREATE TABLE checked (i int CHECK (positive(i)))",
    "INSERT INTO checked SELECT generate_series(-5, 5)",
    "CREATE OR REPLACE FUNCTION positive(i int) RETURNS bool LANGUAGE sql IMMUTABLE AS 'SELECT i > 0'",
    "CREATE TABLE days (day int, v text) PARTITION BY LIST (day)",
    "CREATE TABLE day_1 PARTITION OF days FOR VALUES IN (1)",
    "CREATE TABLE day_2 PARTITION OF days FOR VALUES IN (2)",
    "INSERT INTO days SELECT 1 + g % 2, g FROM generate_series(1, 100) g",
    "CREATE INDEX ON large (v)",
    "CREATE MATERIALIZED VIEW many AS SELECT id % 7 AS k, count(*) AS n FROM large GROUP BY 1",
    "CREATE VIEW positives AS SELECT * FROM checked WHERE i > 0",
    "CREATE TABLE used (id int PRIMARY KEY, v text)",
    "INSERT INTO used SELECT g, repeat(md5(g::text), 8) FROM generate_series(1, 2000) g",
    *(f"CREATE TABLE small_{n} (id int PRIMARY KEY, v text DEFAULT 'x')" for n in range(3)),
    *(f"INSERT INTO small_{n} SELECT generate_series(1, {10 + n})" for n in range(3)),
    "CREATE TABLE unnamed (v text)",
    "INSERT INTO unnamed VALUES ('without a key')",
)
DAMAGE = (
    "DROP TABLE large, points, checked, day_2 CASCADE",
    "DELETE FROM used WHERE id % 3 = 0; UPDATE used SET v = 'changed' WHERE id % 3 = 1; INSERT INTO used VALUES (-1)",
    "UPDATE small_1 SET v = 'y'; INSERT INTO unnamed VALUES ('new')",
)
WHOLE = {"tables": ("*",), "with_dependencies": True}
KEYED = {"tables": ("large", "points", "checked", "day_2", "used", "small_*"), "with_dependencies": True}
LOOKED_AT = (
    (
        "SELECT conrelid::regclass::text, conname, convalidated, pg_get_constraintdef(oid) FROM pg_constraint"
        " WHERE connamespace = 'public'::regnamespace ORDER BY 1, 2"
    ),
    "SELECT indexdef FROM pg_indexes WHERE schemaname = 'public' ORDER BY 1",
    "SELECT viewname FROM pg_views WHERE schemaname = 'public' ORDER BY 1",
    "SELECT * FROM many ORDER BY 1",
    "SELECT inhrelid::regclass::text FROM pg_inherits WHERE inhparent = 'days'::regclass ORDER BY 1",
    "SELECT regexp_replace(nspname, '[^_]*$', '') FROM pg_namespace WHERE nspname !~ '^pg_' ORDER BY 1",
)


@pytest.fixture
def backup(round_trip: RoundTrip, monkeypatch: pytest.MonkeyPatch) -> Backup:
    """A backup of many units; the source is damaged afterwards, and so is a copy of it to compare with."""
    monkeypatch.setattr(slicing, "SLICE_BLOCKS", 8)
    monkeypatch.setattr(load_transactions, "_TABLES_AT_ONCE", 2)
    monkeypatch.setattr(load_transactions, "_SMALL_TABLE_BYTES", 5_000)
    monkeypatch.setattr("coffre.operations.restore_database.tables_attempts.MARKED_BYTES", 0)
    monkeypatch.setattr("coffre.operations.restore_database.load_plan.LARGEST_WHOLE_BYTES", 100_000)
    round_trip.fill(*SOURCE)
    made = round_trip.back_up()
    round_trip.fill(*DAMAGE)
    run(
        round_trip.server.dsn(),
        f'CREATE DATABASE "{database_of(round_trip.copy)}" TEMPLATE "{database_of(round_trip.source)}"',
    )
    return made


def attempt(
    trip: RoundTrip, backup: Backup, url: str, scratch: Path, restore_id: str, *, continues: bool | None, **scope: Any
) -> RestoreReport:
    """Restore as the function does it, in this process; None: in one attempt that keeps no marks."""
    children = Children(run_id=scope.get("resume") or restore_id)
    services = trip.coffre.restore_function().services
    with children.ending():
        job = RestoreJob(
            restore_id=restore_id,
            backup=backup,
            connection=children.watching(parse_secret(url, where="test")),
            children=children,
            vault=services.vault,
            decoder=services.decoder(backup.target),
            scratch=scratch,
            streams=3,
            runner=ThreadRunner(6, children.end_all),
            scope=Scope(**scope),
            consent=lambda plan: plan,
            remaining_seconds=lambda: 900.0,
            is_resumable=continues is not None,
            continues=bool(continues),
        )
        return restore_database(job, Meter())


def told(report: RestoreReport) -> dict[str, Any]:
    """Return what is equal in two reports of restores with different ids."""
    said: dict[str, Any] = json.loads(json.dumps(essence(report)).replace(report.id.lower(), "ID"))
    said["comparisons"] = sorted(said["comparisons"], key=str)
    return {name: one for name, one in said.items() if name not in ("plan", "safety")}


def assert_equal(trip: RoundTrip, report: RestoreReport, whole: RestoreReport) -> None:
    assert told(report) == told(whole)
    assert sequences(trip.source) == sequences(trip.copy)
    for query in LOOKED_AT:
        assert rows(trip.source, query) == rows(trip.copy, query), query
    names = f"restored_{report.id.lower()}", f"restored_{whole.id.lower()}"
    for url, name in zip((trip.source, trip.copy), names, strict=True):
        run(url, f'ALTER SCHEMA "{name}" RENAME TO staged')
    assert fingerprint(trip.source) == fingerprint(trip.copy)


def test_tables_that_do_not_fit_into_one_invocation_continue_in_the_next_and_are_merged_at_the_end(
    round_trip: RoundTrip, backup: Backup, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    coffre = round_trip.coffre
    whole = attempt(round_trip, backup, round_trip.copy, tmp_path, new_id(), continues=None, replace=True, **KEYED)
    event: dict[str, Any] = {"backup_id": backup.id, "replace": True, "no_safety": True, **KEYED}
    planned = coffre.restore_function().handle({**event, "dry_run": True}, Context(function_name="restore"))
    token = {"token": planned["token"], "name": planned["plan"]["name"]}
    time = Time(monkeypatch, 5)

    answers, report = chain(coffre, {**event, "confirmation": token, "restore_id": new_id()}, time.context)

    assert len(answers) >= 4
    assert_equal(round_trip, report, whole)
    assert value(round_trip.source, "SELECT count(*) FROM used") == 2000
    (used,) = [one for one in report.comparisons if one.table == "public.used"]
    assert (used.inserted, used.updated, used.deleted) == (666, 667, 1)


def test_killed_anywhere_it_continues_and_nothing_is_done_twice(
    round_trip: RoundTrip, backup: Backup, tmp_path: Path
) -> None:
    whole = attempt(round_trip, backup, round_trip.copy, tmp_path, new_id(), continues=None, **WHOLE)
    restore_id, begun = new_id(), False
    for die_at in (1, 3, 5, 8, 9):

        def work(continues: bool = begun) -> None:
            attempt(round_trip, backup, round_trip.source, tmp_path, restore_id, continues=continues, **WHOLE)

        killed(die_at, work)
        begun = True

    report = attempt(round_trip, backup, round_trip.source, tmp_path, restore_id, continues=True, **WHOLE)

    assert_equal(round_trip, report, whole)


class Died(BaseException):
    """The end of a process: nothing is cleared away."""


def dies(*_: object) -> None:
    raise Died


def test_after_the_merge_nothing_is_merged_again_and_only_the_same_restore_is_resumed(
    round_trip: RoundTrip, backup: Backup, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    scope = {**KEYED, "replace": True}
    whole = attempt(round_trip, backup, round_trip.copy, tmp_path, new_id(), continues=None, **scope)
    first, source = new_id(), round_trip.source

    def again(restore_id: str, *, continues: bool = False, **changes: Any) -> RestoreReport:
        return attempt(round_trip, backup, source, tmp_path, restore_id, continues=continues, **{**scope, **changes})

    with monkeypatch.context() as patch:
        patch.setattr(tables, "create_followers", dies)
        with pytest.raises(Died):
            again(first)
    for code, restore_id, changes in (
        ("RESUME_OTHER", new_id(), {"resume": first, "tables": ("used",), "replace": False}),
        ("RESUME_MISSING", new_id(), {"resume": new_id()}),
        ("RESUME_UNCLEAR", new_id(), {"continues": True, "replace": False}),
    ):
        with pytest.raises(CoffreError) as caught:
            again(restore_id, **changes)
        assert caught.value.code == code
        assert "small_" not in caught.value.message  # options that differ are named, and never their values
    # What its users write from now on stays.
    run(source, "INSERT INTO used VALUES (-2)")
    report = again(new_id(), resume=first)
    assert value(source, "SELECT count(*) FROM used WHERE id = -2") == 1
    assert "complete before the interruption" in again(first, continues=True).notes[0]

    run(source, "DELETE FROM used WHERE id = -2")
    assert_equal(round_trip, report.model_copy(update={"id": first}), whole)


def test_rows_alone_continue_after_their_process_was_killed_and_what_is_refused_is_empty(
    round_trip: RoundTrip, backup: Backup, tmp_path: Path
) -> None:
    round_trip.fill(
        "CREATE TABLE late (i int CHECK (i < 2000), v text)",
        "INSERT INTO late SELECT g, repeat(md5(g::text), 8) FROM generate_series(1, 1999) g",
    )
    again = round_trip.back_up()
    names = [f"{database_of(round_trip.source)}_{name}" for name in ("whole", "parts")]
    urls = [round_trip.server.dsn(name) for name in names]
    try:
        for url in urls:
            round_trip.restore(again, url, contents="schema")
            # Rows of its last slice are refused, when those of earlier ones are committed.
            run(url, "ALTER TABLE late DROP CONSTRAINT late_i_check, ADD CHECK (i < 1990)")
        data = {"contents": "data"}
        whole = attempt(round_trip, again, urls[0], tmp_path, new_id(), continues=None, **data)
        restore_id, begun = new_id(), False
        for die_at in (2, 5, 9):

            def work(continues: bool = begun) -> None:
                attempt(round_trip, again, urls[1], tmp_path, restore_id, continues=continues, **data)

            killed(die_at, work)
            begun = True
        report = attempt(round_trip, again, urls[1], tmp_path, restore_id, continues=True, **data)

        assert told(report) == told(whole)
        assert any("the rows of public.late" in one for one in report.exceptions)
        assert fingerprint(urls[1]) == fingerprint(urls[0])
        assert sequences(urls[1]) == sequences(urls[0])
        assert value(urls[1], "SELECT count(*) FROM pg_namespace WHERE nspname LIKE 'coffre%'") == 0
    finally:
        for name in names:
            round_trip.server.drop_database(name)
