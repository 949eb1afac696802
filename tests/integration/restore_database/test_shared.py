"""Whole restores whose rows several invocations load together: killed, doubled, late. Each row is there once."""

from __future__ import annotations

import random
from datetime import UTC, datetime
from typing import Any

import pytest
from tests.integration.conftest import Context, new_id
from tests.integration.contents import RoundTrip, database_of, rows, run, value
from tests.integration.restore_database.test_continued import SOURCE, Time, assert_restored, chain
from tests.integration.share_machine import MACHINE, ShareFaults, share_machine

from coffre.model.audit import Actor
from coffre.model.backup import Backup, Status
from coffre.model.errors import BackupStateError, ConfirmationError, EventError, RunCancelledError
from coffre.model.restore_report import RestoreReport
from coffre.operations.admin.cancel import Cancelling
from coffre.operations.restore_database import load_transactions
from coffre.policy import slicing
from coffre.runtime.state_machine import RESTORE_TRANSITIONS, Machine, MachineError

MARKED = "SELECT count(*) FROM coffre_unfinished_restore.marks WHERE kind = 'rows'"
NAMES = ("restore", "sharing", "width", "streams")


@pytest.fixture
def backup(round_trip: RoundTrip, monkeypatch: pytest.MonkeyPatch) -> Backup:
    """A backup that is restored in many units, by several invocations."""
    monkeypatch.setattr(slicing, "SLICE_BLOCKS", 8)
    monkeypatch.setattr(load_transactions, "_TABLES_AT_ONCE", 2)
    monkeypatch.setattr("coffre.operations.restore_database.load_plan.LARGEST_WHOLE_BYTES", 100_000)
    monkeypatch.setattr(load_transactions, "_SMALL_TABLE_BYTES", 5_000)
    round_trip.fill(*SOURCE)
    made = round_trip.back_up()
    limits = {"spread": "always", "streams": 12}
    round_trip.coffre.configure(round_trip.source, target={"limits": limits})
    return made


def begin(trip: RoundTrip, backup: Backup, url: str, **more: Any) -> str:
    """Begin a restore, up to where others load its rows, and return its id."""
    trip.coffre.secret("coffre/database/destination", url)
    restore_id = new_id()
    event = {"backup_id": backup.id, "destination": "coffre/database/destination", "restore_id": restore_id, **more}
    answer = trip.coffre.restore_function().handle(event, Context(function_name="restore"))
    assert answer["status"] == "IN_PROGRESS"
    return restore_id


def report_of(trip: RoundTrip, restore_id: str) -> RestoreReport:
    record = trip.coffre.catalog.get_restore(restore_id)
    assert record.report_key is not None, record.failure
    return RestoreReport.model_validate_json(trip.coffre.objects(record.report_key)[record.report_key])


@pytest.mark.filterwarnings("ignore::pytest.PytestUnhandledThreadExceptionWarning")  # threads of what is killed
def test_rows_are_loaded_once_whatever_happens_to_those_who_load_them(
    round_trip: RoundTrip, backup: Backup, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Killed at any call, doubled, delivered when the restore is over, and killed until the state machine gives up."""
    name = database_of(round_trip.copy)
    reference = round_trip.server.create_database(f"{name}_reference")
    whole = round_trip.restore(backup, reference)
    chance = random.Random(59)
    faults = [
        ShareFaults(
            kill_at={n: [chance.randint(3, 60) for _ in range(chance.randint(1, 2))] for n in range(3)},
            doubled=frozenset({chance.randint(0, 2)}),
            late=frozenset({chance.randint(0, 2)}),
        ),
        ShareFaults(kill_at={0: [chance.randint(3, 12) for _ in range(9)], 1: [4], 2: [20]}, doubled=frozenset({1})),
    ]
    for number, fault in enumerate(faults):
        url = round_trip.server.create_database(f"{name}_{number}")
        with share_machine(round_trip.coffre, monkeypatch, fault) as played:
            restore_id = begin(round_trip, backup, url)
            played.wait()

        report = report_of(round_trip, restore_id)
        assert_restored(round_trip, url, report, whole, reference)
        assert [answer["over"] for answer in played.answers if "over" in answer] == [True] * len(fault.late)
        assert any("Hand the rows out to 3 functions with 4 connections each" in step for step in report.steps)
        assert sum("Killed" in error for error in played.errors) >= 1


def test_shares_are_told_apart_from_the_restore_and_say_how_far_they_are(
    round_trip: RoundTrip, backup: Backup, monkeypatch: pytest.MonkeyPatch
) -> None:
    """One after the other: out of time, again, twice, and late. What the first leaves, the second takes."""
    coffre, started = round_trip.coffre, dict[str, Any]()
    coffre.environment |= {"COFFRE_SPREAD_MACHINE": MACHINE}
    monkeypatch.setattr(Machine, "start", lambda _, name, given: started.update(given, name=name))
    handle, time = coffre.restore_function().handle, Time(monkeypatch, 3)
    restore_id = begin(round_trip, backup, round_trip.copy)

    def share(number: int, context: Context | None = None, **other: Any) -> dict[str, Any]:
        event = {"step": "load", "share": number, **{name: started[name] for name in NAMES}, **other}
        return handle(event, context or Context(function_name="restore"))

    with pytest.raises(ConfirmationError, match="of another backup"):
        share(0, restore={**started["restore"], "destination": "coffre/database/shop"})
    with pytest.raises(EventError, match="wrong fields"):
        share(3)
    with pytest.raises(BackupStateError, match="There is no restore"):
        share(0, restore={**started["restore"], "restore_id": new_id()})
    assert share(0, sharing=new_id()) == {"over": True}  # of another load
    assert value(round_trip.copy, MARKED) == 0

    assert share(0, time.context()) == {"over": False}
    some = value(round_trip.copy, MARKED)
    assert share(1) == {"over": True}
    most = value(round_trip.copy, MARKED)
    assert share(0) == share(1) == {"over": True}  # nothing is left but what was refused

    assert 0 < some < most == value(round_trip.copy, MARKED)
    groups = {group.number: group for group in coffre.catalog.spread.groups(started["sharing"])}
    assert [groups[number].is_over for number in (0, 1)] == [True, True]
    assert 0 < groups[0].done_bytes < groups[1].done_bytes
    record = coffre.catalog.get_restore(restore_id)
    assert record.status is Status.IN_PROGRESS
    assert record.heartbeat_at is not None
    assert record.heartbeat_at > datetime.now(UTC)
    rows_before = rows(round_trip.copy, "SELECT ctid, xmin, id FROM large ORDER BY id")
    assert handle(started["restore"], Context(function_name="restore"))["status"] == "COMPLETED"
    assert share(2) == {"over": True}
    assert rows(round_trip.copy, "SELECT ctid, xmin, id FROM large ORDER BY id") == rows_before
    used = coffre.catalog.usages.find(restore_id)
    assert used is not None
    shares = 7  # those of this restore
    begun = RESTORE_TRANSITIONS["begin"] + 3 * RESTORE_TRANSITIONS["share"]
    assert used.transitions == begun + shares * RESTORE_TRANSITIONS["load"]
    assert started["name"] == f"{restore_id}-2-{restore_id}"
    assert handle({"stopped": started["name"], "status": "FAILED"}, Context())["status"] == "COMPLETED"


def test_a_replacement_is_shared_stopped_by_hand_and_resumed_and_a_cancelled_share_ends(
    round_trip: RoundTrip, backup: Backup, monkeypatch: pytest.MonkeyPatch
) -> None:
    coffre, started = round_trip.coffre, dict[str, Any]()
    coffre.environment |= {"COFFRE_SPREAD_MACHINE": MACHINE}
    monkeypatch.setattr(Machine, "start", lambda _, name, given: started.update(given, name=name))
    handle = coffre.restore_function().handle
    restore_id = begin(round_trip, backup, round_trip.copy)
    coffre.alerts()

    stopped = handle({"stopped": started["name"], "status": "ABORTED"}, Context(function_name="restore"))

    assert stopped["status"] == "FAILED"
    failure = coffre.catalog.get_restore(restore_id).failure
    assert failure is not None
    assert failure.code == "SPREAD_STOPPED"
    (alert,) = coffre.alerts()
    assert f"--to ADDRESS --resume {restore_id} --here" in alert["Message"]
    event = {"step": "load", "share": 0, **{name: started[name] for name in NAMES}}
    assert handle(event, Context(function_name="restore")) == {"over": True}
    assert value(round_trip.copy, MARKED) == 0

    denied = MachineError("The right to do so is missing.", code="MACHINE_DENIED")

    def refuse(*_: object) -> None:
        raise denied

    with monkeypatch.context() as patch:
        patch.setattr(Machine, "start", refuse)
        resuming = {"backup_id": backup.id, "destination": "coffre/database/destination", "resume": restore_id}
        chain(coffre, {**resuming, "restore_id": new_id()}, lambda: Context(function_name="restore"))
    assert value(round_trip.copy, "SELECT count(*) FROM large") == 4000
    assert any("MACHINE_DENIED" in line for line in coffre.log_lines)

    run(round_trip.source, "DELETE FROM large WHERE id > 10")
    replacing: dict[str, Any] = {"backup_id": backup.id, "replace": True, "no_safety": True, "accept_exceptions": True}
    planned = handle({**replacing, "dry_run": True}, Context(function_name="restore"))
    token = {"token": planned["token"], "name": planned["plan"]["name"]}
    answer = handle({**replacing, "confirmation": token}, Context(function_name="restore"))
    event = {"step": "load", "share": 1, **{name: started[name] for name in NAMES}}
    assert handle(event, Context(function_name="restore")) == {"over": True}
    alongside = f"{round_trip.source}_restored_{answer['id'].lower()}"
    assert value(alongside, "SELECT count(*) FROM large") == 4000
    assert handle(started["restore"], Context(function_name="restore"))["status"] == "COMPLETED"
    assert value(round_trip.source, "SELECT count(*) FROM large") == 4000
    (kept,) = report_of(round_trip, answer["id"]).kept
    run(round_trip.server.dsn(), kept.remove)

    another = round_trip.server.create_database(f"{database_of(round_trip.copy)}_cancelled")
    cancelled = begin(round_trip, backup, another)
    Cancelling(coffre.catalog, Actor("Ada"), datetime.now(UTC)).cancel(cancelled)
    event = {"step": "load", "share": 0, **{name: started[name] for name in NAMES}}
    with pytest.raises(RunCancelledError):
        handle(event, Context(function_name="restore"))
