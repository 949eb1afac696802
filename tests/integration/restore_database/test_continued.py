"""Whole restores in several attempts: paused in time, or killed anywhere. Nothing is lost or done twice."""

from __future__ import annotations

import json
import os
import signal
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest
from botocore.exceptions import ClientError
from tests.integration.conftest import Coffre, Context, new_id
from tests.integration.contents import RoundTrip, rows, run, value
from tests.integration.forked import forked, was_killed

from coffre.model.backup import Backup, Status
from coffre.model.errors import TransientError
from coffre.model.manifest import Entry
from coffre.model.restore_report import RestoreReport
from coffre.operations.restore_database import load_transactions
from coffre.operations.restore_database.job import RestoreJob
from coffre.operations.restore_database.restore import restore_database
from coffre.operations.runs.parallel_map import ThreadRunner
from coffre.operations.runs.progress import Meter
from coffre.policy import slicing
from coffre.postgres.connection.client_tools import Children
from coffre.postgres.connection.connection_secret import parse_secret
from coffre.postgres.destination import marks
from coffre.postgres.source import large_objects
from coffre.vault.codec import FrameDecoder
from coffre.vault.vault import Vault
from coffre_local.sample import fingerprint, sequences

# Rows of many slices, what salvage has to do with, keys with orphans, views that read others, and the rest.
SOURCE = (
    "CREATE TABLE large (id int PRIMARY KEY, v text)",
    "INSERT INTO large SELECT g, repeat(md5(g::text), 8) FROM generate_series(1, 4000) g",
    *(f"CREATE TABLE small_{n} (id int PRIMARY KEY, v text DEFAULT 'x')" for n in range(6)),
    *(f"INSERT INTO small_{n} SELECT generate_series(1, {10 + n})" for n in range(6)),
    "CREATE TABLE kinds (id int PRIMARY KEY)",
    "CREATE TABLE points (id serial PRIMARY KEY, kind int REFERENCES kinds)",
    "INSERT INTO kinds SELECT generate_series(1, 10)",
    "INSERT INTO points (kind) SELECT 1 + g % 10 FROM generate_series(1, 200) g",
    "SET session_replication_role = replica; DELETE FROM kinds WHERE id = 4",
    "CREATE FUNCTION positive(i int) RETURNS bool LANGUAGE sql IMMUTABLE AS 'SELECT true'",
    "CREATE TABLE checked (i int CHECK (positive(i)))",
    "INSERT INTO checked SELECT generate_series(-5, 5)",
    "CREATE OR REPLACE FUNCTION positive(i int) RETURNS bool LANGUAGE sql IMMUTABLE AS 'SELECT i > 0'",
    "CREATE INDEX ON large (v)",
    "CREATE INDEX ON large (md5(v))",
    "CREATE MATERIALIZED VIEW many AS SELECT id % 7 AS k, count(*) AS n FROM large GROUP BY 1",
    "CREATE MATERIALIZED VIEW most AS SELECT max(n) AS n FROM many",
    "CREATE VIEW positives AS SELECT * FROM checked WHERE i > 0",
    "SELECT lo_from_bytea(4711, 'something large'), lo_from_bytea(4712, 'another')",
    "GRANT SELECT ON large TO PUBLIC",
    "CREATE FUNCTION hears() RETURNS event_trigger LANGUAGE plpgsql AS 'BEGIN END'",
    "CREATE EVENT TRIGGER hears ON ddl_command_end EXECUTE FUNCTION hears()",
)


@pytest.fixture
def backup(round_trip: RoundTrip, monkeypatch: pytest.MonkeyPatch) -> Backup:
    """A backup that is restored in many units."""
    monkeypatch.setattr(slicing, "SLICE_BLOCKS", 8)
    monkeypatch.setattr(load_transactions, "_TABLES_AT_ONCE", 2)
    monkeypatch.setattr("coffre.operations.restore_database.job.MARKED_BYTES", 0)
    monkeypatch.setattr("coffre.operations.restore_database.load_plan.LARGEST_WHOLE_BYTES", 100_000)
    monkeypatch.setattr(load_transactions, "_SMALL_TABLE_BYTES", 5_000)
    round_trip.fill(*SOURCE)
    return round_trip.back_up()


class Lambda:
    """Takes asynchronous invocations."""

    def __init__(self) -> None:
        self.events: list[dict[str, Any]] = []

    def invoke(self, FunctionName: str, InvocationType: str, Payload: bytes) -> None:  # noqa: N803
        assert (FunctionName, InvocationType) == ("restore", "Event")
        self.events.append(json.loads(Payload))


class Time:
    """Time that is nearly over once this number of marks was made since it began."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, marks_each: int) -> None:
        self.made = 0
        self._each = marks_each
        adding = marks.adding

        def counted(kind: str, said: Mapping[str, marks.Said], schema: str = marks.SCHEMA) -> bytes:
            self.made += len(said)
            return adding(kind, said, schema)

        monkeypatch.setattr(marks, "adding", counted)

    def context(self) -> Context:
        self.made = 0
        return Context(lambda: 900.0 if self.made < self._each else 80.0, function_name="restore")


def chain(
    coffre: Coffre, event: dict[str, Any], context: Callable[[], Context]
) -> tuple[list[dict[str, Any]], RestoreReport]:
    """Send an event, and each that the function sends itself; return the answers and the last report."""
    answers: list[dict[str, Any]] = []
    while True:
        function, functions = coffre.restore_function(), Lambda()
        function.services.__dict__["functions"] = functions
        answers.append(function.handle(event, context()))
        if answers[-1]["status"] != "IN_PROGRESS":
            break
        [event] = functions.events
    record = coffre.catalog.get_restore(answers[-1]["id"])
    assert record.report_key is not None
    return answers, RestoreReport.model_validate_json(coffre.objects(record.report_key)[record.report_key])


def essence(report: RestoreReport) -> dict[str, Any]:
    """Return what two restores of the same backup report alike: all but ids, times, and names of the destination."""
    said = report.model_dump(mode="json", exclude={"id", "destination", "phases_ms", "steps"})
    said["tables"] = sorted((one["table"], one["rows"], one["size_bytes"]) for one in said["tables"])
    for name in ("exceptions", "left_out"):
        said[name] = sorted(said[name], key=str)
    said["script"] = sorted((said["script"] or "").splitlines())
    return said


def assert_restored(trip: RoundTrip, url: str, report: RestoreReport, whole: RestoreReport, reference: str) -> None:
    """A restore in several attempts is what one in one attempt is."""
    assert essence(report) == essence(whole)
    assert fingerprint(url) == fingerprint(reference)
    assert sequences(url) == sequences(reference)
    for query in (
        "SELECT conname, convalidated, pg_get_constraintdef(oid) FROM pg_constraint ORDER BY 1, 3",
        (
            "SELECT indexdef, indisvalid FROM pg_indexes JOIN pg_index ON indexrelid = (quote_ident(schemaname)"
            " || '.' || quote_ident(indexname))::regclass WHERE schemaname = 'public' ORDER BY 1"
        ),
        "SELECT * FROM many ORDER BY 1",
        "SELECT * FROM most",
        "SELECT loid, data FROM pg_largeobject ORDER BY 1, pageno",
        "SELECT relname, relacl::text FROM pg_class WHERE relnamespace = 'public'::regnamespace ORDER BY 1",
        "SELECT evtname FROM pg_event_trigger",
        "SELECT nspname FROM pg_namespace WHERE nspname !~ '^pg_' ORDER BY 1",
    ):
        assert rows(url, query) == rows(reference, query), query


def beside(trip: RoundTrip, stack: ExitStack) -> str:
    """Return the URL of another database, dropped at the end."""
    url = f"{trip.copy}_in_one"
    stack.callback(trip.server.drop_database, url.rpartition("/")[2])
    return url


@pytest.mark.parametrize("existed", [False, True], ids=["a new database", "an empty database"])
def test_what_does_not_fit_into_one_invocation_continues_in_the_next(
    round_trip: RoundTrip, backup: Backup, monkeypatch: pytest.MonkeyPatch, existed: bool
) -> None:
    with ExitStack() as stack:
        reference = beside(round_trip, stack)
        if existed:
            for url in (round_trip.copy, reference):
                run(round_trip.server.dsn(), f'CREATE DATABASE "{url.rpartition("/")[2]}" TEMPLATE template0')
        whole = round_trip.restore(backup, reference)
        round_trip.coffre.secret("coffre/database/destination", round_trip.copy)
        event = {"backup_id": backup.id, "destination": "coffre/database/destination", "restore_id": new_id()}
        time = Time(monkeypatch, 6)

        answers, report = chain(round_trip.coffre, event, time.context)

        assert len(answers) >= 4
        assert {one["id"] for one in answers} == {event["restore_id"]}
        assert_restored(round_trip, round_trip.copy, report, whole, reference)
        assert report.created_database is not existed
        record = round_trip.coffre.catalog.get_restore(event["restore_id"])
        assert (record.status, record.rows, record.tables) == (Status.COMPLETED, whole.rows, len(whole.tables))
        told = [alert["MessageAttributes"]["kind"]["Value"] for alert in round_trip.coffre.alerts()]
        assert told == ["RESTORE_STARTED", "RESTORE_INCOMPLETE"] * 2


def test_a_replacement_is_built_in_several_invocations_and_put_in_place_by_the_last(
    round_trip: RoundTrip, backup: Backup, monkeypatch: pytest.MonkeyPatch
) -> None:
    coffre = round_trip.coffre
    run(round_trip.source, "DELETE FROM large WHERE id > 10")
    event: dict[str, Any] = {"backup_id": backup.id, "replace": True, "no_safety": True, "accept_exceptions": True}
    planned = coffre.restore_function().handle({**event, "dry_run": True}, Context(function_name="restore"))
    token = {"token": planned["token"], "name": planned["plan"]["name"]}
    time = Time(monkeypatch, 8)

    answers, report = chain(coffre, {**event, "confirmation": token, "restore_id": new_id()}, time.context)

    assert len(answers) >= 3
    assert value(round_trip.source, "SELECT count(*) FROM large") == 4000
    assert value(round_trip.source, "SELECT sum(i) FROM checked") == 0
    (kept,) = report.kept
    assert "_before_" in kept.what
    run(round_trip.server.dsn(), kept.remove)


class NoLambda(Lambda):
    """Takes no invocation."""

    def invoke(self, FunctionName: str, InvocationType: str, Payload: bytes) -> None:  # noqa: N803
        raise ClientError({"Error": {"Code": "TooManyRequestsException"}}, "Invoke")


def test_a_replacement_whose_chain_broke_is_finished_and_put_in_place_by_the_commands_of_the_alert(
    round_trip: RoundTrip, backup: Backup, monkeypatch: pytest.MonkeyPatch
) -> None:
    coffre, first = round_trip.coffre, new_id()
    run(round_trip.source, "DELETE FROM large WHERE id > 10")

    def confirmed(event: dict[str, Any]) -> dict[str, Any]:
        planned = coffre.restore_function().handle({**event, "dry_run": True}, Context(function_name="restore"))
        token = {"token": planned["token"], "name": planned["plan"]["name"]}
        return {**event, "confirmation": token, "restore_id": new_id()}

    event = {"backup_id": backup.id, "replace": True, "no_safety": True, "accept_exceptions": True}
    function = coffre.restore_function()
    function.services.__dict__["functions"] = NoLambda()
    with pytest.raises(TransientError, match="could not continue in another invocation"):
        function.handle({**confirmed(event), "restore_id": first}, Time(monkeypatch, 8).context())

    alert = coffre.alerts()[-1]["Message"]
    assert f"coffre restore database {backup.id} --to ADDRESS --resume {first} --here" in alert
    assert f"coffre restore database {backup.id} --replace --swap {first}" in alert
    alongside = f"{round_trip.source.rpartition('/')[2]}_restored_{first.lower()}"
    coffre.secret("coffre/database/alongside", f"{round_trip.source.rpartition('/')[0]}/{alongside}")
    resuming = {"backup_id": backup.id, "destination": "coffre/database/alongside", "resume": first}
    chain(coffre, {**resuming, "restore_id": new_id()}, lambda: Context(function_name="restore"))
    swap = {"backup_id": backup.id, "replace": True, "no_safety": True, "swap": first}
    _, report = chain(coffre, confirmed(swap), lambda: Context(function_name="restore"))

    assert value(round_trip.source, "SELECT count(*) FROM large") == 4000
    (kept,) = report.kept
    run(round_trip.server.dsn(), kept.remove)


# --- killed ---


def attempt(trip: RoundTrip, backup: Backup, restore_id: str, scratch: Path, threads: int = 6) -> RestoreReport:
    """Restore as the function does it, in this process."""
    children = Children(run_id=restore_id)
    services = trip.coffre.restore_function().services
    with children.ending():
        job = RestoreJob(
            restore_id=restore_id,
            backup=backup,
            connection=children.watching(parse_secret(trip.copy, where="test")),
            children=children,
            vault=services.vault,
            decoder=services.decoder(backup.target),
            scratch=scratch,
            streams=3,
            runner=ThreadRunner(threads, children.end_all),
            is_resumable=True,
        )
        return restore_database(job, Meter())


def killed(die_at: int | str, work: Callable[[], object]) -> None:
    """Do work in a process of its own, which is killed when it makes the mark of this number, or of this name."""

    def work_and_die() -> None:
        made, adding = 0, marks.adding

        def dies(kind: str, said: Mapping[str, marks.Said], schema: str = marks.SCHEMA) -> bytes:
            nonlocal made
            made += 1
            if made == die_at or die_at in said:
                os.kill(os.getpid(), signal.SIGKILL)
            return adding(kind, said, schema)

        marks.adding = dies
        work()

    assert was_killed(forked(work_and_die)), "it ended before it was to be killed"


@pytest.mark.parametrize("die_at", [(1, 3, 6), (9, 14)], ids=str)
def test_killed_anywhere_it_continues_and_nothing_is_done_twice(
    round_trip: RoundTrip, backup: Backup, tmp_path: Path, die_at: tuple[int, ...]
) -> None:
    with ExitStack() as stack:
        reference, restore_id = beside(round_trip, stack), new_id()
        whole = round_trip.restore(backup, reference)

        for number in die_at:
            killed(number, lambda: attempt(round_trip, backup, restore_id, tmp_path))
        report = attempt(round_trip, backup, restore_id, tmp_path)

        assert_restored(round_trip, round_trip.copy, report, whole, reference)


def test_large_objects_continue_where_their_archive_was_read_to(
    round_trip: RoundTrip, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr("coffre.operations.restore_database.job.MARKED_BYTES", 0)
    for name, number in (("_PIECE_BYTES", 256 * 1024), ("_OBJECTS_AT_ONCE", 2)):
        monkeypatch.setattr(large_objects, name, number)
    monkeypatch.setattr("coffre.operations.restore_database.large_objects._STATEMENTS_AT_ONCE", 2)
    round_trip.create_role("keeper")
    random = "decode(string_agg(md5(n::text), ''), 'hex')"
    round_trip.fill(
        "CREATE TABLE t (i int)",
        "SELECT lo_from_bytea(o, o::text::bytea) FROM generate_series(100, 104) o",
        f"SELECT lo_from_bytea(200, {random}) FROM generate_series(1, 150000) n",
        f"SELECT lo_from_bytea(300, {random}) FROM generate_series(1, 40000) n",
        "SELECT lo_from_bytea(o, o::text::bytea) FROM generate_series(400, 404) o",
        *(f"ALTER LARGE OBJECT {oid} OWNER TO keeper" for oid in (100, 101, 200, 300, 404)),
        *(f"COMMENT ON LARGE OBJECT {oid} IS 'no. {oid}'" for oid in (100, 102, 200, 403)),
    )
    backup = round_trip.back_up()
    with ExitStack() as stack:
        reference, restore_id = beside(round_trip, stack), new_id()
        whole = round_trip.restore(backup, reference)
        # Few are written side by side, then the others one after another, so that the last mark follows all of them.
        for number in (2, 4, 6):
            killed(number, lambda: attempt(round_trip, backup, restore_id, tmp_path))
        killed("owners 0", lambda: attempt(round_trip, backup, restore_id, tmp_path, threads=1))
        begun: list[int] = []
        read = Vault.read_entry_from

        def reading(vault: Vault, entry: Entry, decoder: FrameDecoder, start: int) -> Iterator[bytes]:
            begun.append(start)
            return read(vault, entry, decoder, start)

        monkeypatch.setattr(Vault, "read_entry_from", reading)
        report = attempt(round_trip, backup, restore_id, tmp_path)

        assert [start > 2_400_000 for start in begun] == [True]  # after the largest
        assert essence(report) == essence(whole)
        for query in (
            (
                "SELECT oid, lomowner::regrole, obj_description(oid, 'pg_largeobject'), md5(lo_get(oid))"
                " FROM pg_largeobject_metadata ORDER BY 1"
            ),
            "SELECT nspname FROM pg_namespace WHERE nspname !~ '^pg_' ORDER BY 1",
        ):
            assert rows(round_trip.copy, query) == rows(reference, query) == rows(round_trip.source, query)


def test_what_an_unfinished_restore_knows_is_in_no_backup(round_trip: RoundTrip) -> None:
    round_trip.fill(
        "CREATE TABLE t (i int)",
        f"CREATE SCHEMA {marks.SCHEMA}",
        f"CREATE TABLE {marks.SCHEMA}.marks AS SELECT 1 AS one",
    )

    backup = round_trip.back_up()

    assert [table.table_name for table in round_trip.manifest(backup).database.tables] == ["t"]
    # Of an archive that has it, the schema could not be made next to the restore's own.
    assert round_trip.restore(backup).exceptions == ()
