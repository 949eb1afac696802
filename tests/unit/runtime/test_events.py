"""Events: every example is one, and what is none is named."""

import json
from collections.abc import Callable
from datetime import UTC, datetime, timedelta, timezone
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from coffre.model.backup import Tier
from coffre.model.errors import EventError
from coffre.runtime.events.backup import (
    BackupDatabaseEvent,
    BackupStorageEvent,
    parse_backup,
    parse_database_backup,
    slot_of,
)
from coffre.runtime.events.copy import CopyEvent
from coffre.runtime.events.drill import DrillEvent
from coffre.runtime.events.journal import JournalEvent
from coffre.runtime.events.notify import NotifyEvent
from coffre.runtime.events.restore import RestoreEvent, parse_restore
from coffre.runtime.events.rotate import RotateEvent, parse_rotate
from coffre.runtime.events.verify import VerifyEvent

ROOT = Path(__file__).parents[3]
EXAMPLES = sorted((ROOT / "events").glob("*/*.json"))
PARSERS: dict[str, Callable[[object], object]] = {
    "backup_database": parse_database_backup,
    "backup_storage": lambda event: parse_backup(event, BackupStorageEvent),
    "restore": parse_restore,
    "notify": NotifyEvent.parse,
    "rotate": parse_rotate,
    "copy": CopyEvent.parse,
    "drill": DrillEvent.parse,
    "verify": VerifyEvent.parse,
    "journal": JournalEvent.parse,
}
ULID = "01JD0000000000000000000000"


def refused(model: type[BackupDatabaseEvent | RestoreEvent | VerifyEvent], event: object) -> EventError:
    with pytest.raises(EventError) as caught:
        model.parse(event)
    return caught.value


@pytest.mark.parametrize("path", EXAMPLES, ids=lambda path: f"{path.parent.name}/{path.stem}")
def test_every_example_is_a_valid_event(path: Path) -> None:
    PARSERS[path.parent.name](json.loads(path.read_text()))


def test_every_function_has_examples() -> None:
    functions = {path.parent.name for path in (ROOT / "functions").glob("*/handler.py")}
    functions -= {"console"}  # it gets requests of HTTP: docs/openapi.json has them

    assert {path.parent.name for path in EXAMPLES} == functions == set(PARSERS)


@pytest.mark.parametrize("field", ["pin", "unpin", "cancel"])
def test_a_pin_is_of_one_backup_and_nothing_else(field: str) -> None:
    parsed = parse_rotate({field: ULID, "actor": "ada"})

    assert isinstance(parsed, RotateEvent)
    assert {name for name in ("pin", "unpin", "hold", "release", "cancel") if getattr(parsed, name) == ULID} == {field}
    others = {
        "pin": ULID,
        "unpin": ULID,
        "hold": ULID,
        "release": ULID,
        "cancel": ULID,
        "target": "shop",
        "after": ULID,
    }
    for extra in [{name: value} for name, value in others.items() if name != field] + [{"dry_run": True}]:
        with pytest.raises(EventError) as caught:
            parse_rotate({field: ULID, **extra})
        assert "hold, release, pin, unpin and cancel" in (caught.value.detail or "")
    for wrong in ("latest", "", "../x"):
        with pytest.raises(EventError) as caught:
            parse_rotate({field: wrong})
        assert f"{field}: " in (caught.value.detail or "")


def test_an_empty_event_is_a_manual_backup_of_every_target() -> None:
    event = BackupDatabaseEvent.parse({})

    assert (event.tier, event.target, event.scheduled_time) == (Tier.MANUAL, None, None)


@pytest.mark.parametrize(
    ("event", "detail"),
    [
        ({"tear": "DAILY"}, "tear: unknown field"),
        ({"tier": "SAFETY"}, "the tier SAFETY needs a target, and has no scheduled_time"),
        (
            {"tier": "SAFETY", "target": "shop", "scheduled_time": "2026-11-01T03:00:00Z"},
            "the tier SAFETY needs a target, and has no scheduled_time",
        ),
        ({"tier": "daily"}, "tier: should be 'DAILY', 'WEEKLY', 'MONTHLY', 'MANUAL' or 'SAFETY'"),
        ({"target": "../shop"}, "target: String should match pattern"),
        ({"target": "shop\n"}, "target: String should match pattern"),
        ({"scheduled_time": "2026-10-02T02:00:00"}, "scheduled_time: should have timezone info"),
        ({"scheduled_time": "soon"}, "scheduled_time: should be a valid datetime"),
        ({"scheduled_time": "0001-01-01T00:00:00+14:00"}, "scheduled_time: should be a time from year 1 to year 9999"),
        ({"scheduled_time": "9999-12-31T23:59:59-12:00"}, "scheduled_time: should be a time from year 1 to year 9999"),
        ({"keep": "7"}, "keep: should be a number of hours, days or weeks, up to 36500d: 12h, 7d, 4w"),
        ({"keep": "0d"}, "keep: should be a number of hours, days or weeks"),
        ({"keep": "36501d"}, "keep: should be a number of hours, days or weeks"),
        ({"keep": "999999w"}, "keep: should be a number of hours, days or weeks"),
        ({"keep": "7d", "tier": "DAILY"}, "keep is for the tier MANUAL"),
        ({"target": "shop", "backup_id": "x"}, "backup_id: String should match pattern"),
        ({"backup_id": ULID}, "backup_id needs a target"),
        ({"detail-type": "Scheduled Event", "source": "aws.events"}, "source: unknown field"),
    ],
)
def test_what_is_wrong_with_a_backup_event_is_named(event: dict[str, Any], detail: str) -> None:
    error = refused(BackupDatabaseEvent, event)

    assert error.code == "EVENT_INVALID"
    assert detail in (error.detail or "")
    assert "Known fields: tier, target, scheduled_time, backup_id" in (error.hint or "")


@pytest.mark.parametrize(
    ("event", "detail"),
    [
        ({}, "backup_id: Field required"),
        ({"backup_id": ULID}, "a whole restore needs a destination"),
        ({"backup_id": ULID, "destination": "x", "streams": 17}, "streams: should be less than or equal to 16"),
        ({"backup_id": "newest", "destination": "x"}, "backup_id"),
        ({"backup_id": ULID, "destination": ""}, "destination: String should have at least 1 character"),
        ({"backup_id": ULID.lower(), "destination": "x"}, "backup_id"),
        ({"backup_id": ULID, "destination": "x", "dest": "y"}, "dest: unknown field"),
    ],
)
def test_what_is_wrong_with_a_restore_event_is_named(event: dict[str, Any], detail: str) -> None:
    error = refused(RestoreEvent, event)

    assert detail in (error.detail or "")
    assert "tables, schemas, with_dependencies, rows, apply, replace, strict, " in (error.hint or "")


@pytest.mark.parametrize("event", [None, [], "backup", 7, [{"tier": "DAILY"}]])
def test_an_event_that_is_no_object_is_refused(event: object) -> None:
    assert "must be a JSON object" in refused(BackupDatabaseEvent, event).message


def test_a_value_is_never_repeated() -> None:
    for event in ({"tier": "hunter2"}, {"target": "HUNTER hunter2"}, {"backup_id": "hunter2"}):
        error = refused(BackupDatabaseEvent, event)
        assert "hunter2" not in f"{error} {error.__cause__}"


@pytest.mark.parametrize(
    ("fields", "detail"),
    [
        ({"storage": {"keys": ["a"], "prefix": "b"}}, "storage: keys, prefix and names exclude each other"),
        ({"storage": {"keys": ["a"], "mode": "mirror"}}, "storage: mirror is for whole buckets or prefixes"),
        ({"storage": {"mode": "wipe"}}, "storage.mode: should be 'missing', 'overwrite' or 'mirror'"),
        ({"storage": {"to": "/a"}}, "storage.to: String should match pattern"),
        ({"storage": {"tables": ["a"]}}, "storage.tables: unknown field"),
        ({"storage": {}, "tables": ["a"]}, "tables: unknown field"),
        ({"storage": {}, "invocation": 2}, "invocation needs restore_id"),
    ],
)
def test_wrong_restores_of_objects_are_refused_by_name(fields: dict[str, object], detail: str) -> None:
    with pytest.raises(EventError) as caught:
        parse_restore({"backup_id": ULID, **fields})

    assert detail in (caught.value.detail or "")


@pytest.mark.parametrize("fields", [{}, {"target": "shop"}, {"tier": "DAILY"}])
def test_what_is_due_is_decided_by_schedules_alone(fields: dict[str, object]) -> None:
    time = {} if not fields else {"scheduled_time": "2026-11-01T02:00:00Z"}

    error = refused(BackupDatabaseEvent, {"due": True, **time, **fields})

    assert "due needs scheduled_time, and goes without target and tier" in (error.detail or "")


times = st.datetimes(
    min_value=datetime(2000, 1, 2),  # noqa: DTZ001 - the zone is drawn
    max_value=datetime(2099, 1, 1),  # noqa: DTZ001
    timezones=st.integers(-14 * 60, 14 * 60).map(lambda minutes: timezone(timedelta(minutes=minutes))),
)


@given(times)
def test_times_become_utc_and_slots_whole_minutes(time: datetime) -> None:
    event = BackupDatabaseEvent.parse({"scheduled_time": time.isoformat()})

    assert event.scheduled_time == time
    assert event.scheduled_time is not None
    assert event.scheduled_time.utcoffset() == timedelta(0)
    slot = slot_of(event.scheduled_time)
    assert slot is not None
    assert (slot.second, slot.microsecond, slot.utcoffset()) == (0, 0, timedelta(0))
    assert timedelta(0) <= time - slot < timedelta(minutes=1)


def test_rules_that_fire_within_a_minute_have_one_slot_whatever_their_zone() -> None:
    paris = datetime(2026, 10, 2, 4, 0, 1, tzinfo=timezone(timedelta(hours=2)))
    events = [
        BackupDatabaseEvent.parse({"scheduled_time": text})
        for text in ("2026-10-02T02:00:00Z", "2026-10-02T02:00:59.999+00:00", paris.isoformat())
    ]

    assert {slot_of(event.scheduled_time) for event in events} == {datetime(2026, 10, 2, 2, tzinfo=UTC)}
    assert slot_of(None) is None


@given(st.sampled_from([tier for tier in Tier if tier is not Tier.SAFETY]), st.none() | times, st.booleans())
def test_the_event_for_one_target_is_an_event_that_differs_in_nothing_else(
    tier: Tier, time: datetime | None, full: bool
) -> None:
    event = BackupDatabaseEvent(tier=tier, scheduled_time=time, full=full)

    started = BackupDatabaseEvent.parse(json.loads(json.dumps(event.for_target("shop"))))

    assert started == event.model_copy(update={"target": "shop"})


@pytest.mark.parametrize(
    ("event", "detail"),
    [
        ({}, "level: Field required"),
        ({"level": "doctor", "share": 0.5}, "share goes with"),
        ({"level": "doctor", "backup_id": ULID}, "backup_id goes with"),
        ({"level": "drill"}, "level: should be 'fresh', 'inventory', 'read', 'doctor' or 'report'"),
        ({"level": "report", "target": "shop"}, "a report is about all targets"),
        ({"level": "fresh", "backup_id": ULID}, "backup_id goes with inventory and read, and without a target"),
        ({"level": "read", "backup_id": ULID, "target": "shop"}, "backup_id goes with inventory and read"),
        ({"level": "read", "backup_id": ULID, "share": 0.5}, "share goes with inventory, and with read of a target"),
        ({"level": "inventory", "share": 0}, "share: should be greater than 0"),
        ({"level": "inventory", "share": 1.1}, "share: should be less than or equal to 1"),
    ],
)
def test_a_verification_that_makes_no_sense_is_refused(event: dict[str, Any], detail: str) -> None:
    assert detail in (refused(VerifyEvent, event).detail or "")


HANDED_IN = {"content": "QT0x", "sealed": {"size": 3, "sha256": "0" * 64}}


@pytest.mark.parametrize("name", ["", "/etc/passwd", "..", "../x", "a/../b", "a/./b", "a//b", "a b", "x\n", "é"])
def test_a_name_of_a_file_that_may_lead_elsewhere_is_refused(name: str) -> None:
    refused(BackupStorageEvent, {"target": "settings", "files": {name: HANDED_IN}})
    refused(BackupStorageEvent, {"target": "settings", "forget": [name]})


@pytest.mark.parametrize(
    "event",
    [
        {"files": {".env": HANDED_IN}},
        {"forget": [".env"]},
        {"target": "settings", "files": {".env": {**HANDED_IN, "content": "A=1"}}},
        {"target": "settings", "files": {".env": {"content": "QT0x"}}},
    ],
)
def test_files_that_are_no_files_of_one_target_are_refused_without_being_repeated(event: dict[str, Any]) -> None:
    error = refused(BackupStorageEvent, event)

    assert "A=1" not in f"{error} {error.detail}"
    assert "QT0x" not in f"{error} {error.detail}"


def test_files_continue_with_their_run() -> None:
    event = BackupStorageEvent.parse({"target": "settings", "files": {"web/.env": HANDED_IN}})

    assert BackupStorageEvent.parse(event.after("settings", ULID, 1)).files == event.files


PLAN = {"bucket": "vault", "key": "v1/backups/shop/x/plan/groups.jsonl", "sha256": "0" * 64}


@pytest.mark.parametrize(
    ("fields", "detail"),
    [
        ({"step": "hold"}, "holder goes with the step hold"),
        ({"step": "work", "group": 1, "holder": "a"}, "holder goes with the step hold"),
        ({"step": "work"}, "group goes with the step work"),
        ({"step": "seal", "group": 1}, "group goes with the step work"),
        ({"step": "seal", "caught": {"Error": "x", "Cause": "y"}}, "caught goes with the step settle"),
        ({"step": "work", "group": -1}, "group: should be greater than or equal to 0"),
        ({"step": "hold", "holder": "c"}, "holder: should be 'a' or 'b'"),
        ({"step": "seal", "plan": {**PLAN, "sha256": "x"}}, "plan.sha256: String should match"),
        ({"step": "hold", "holder": "a", "tier": "DAILY"}, "tier: unknown field"),
        ({"step": "plan"}, "step: should be 'hold', 'work', 'seal' or 'settle'"),
    ],
)
def test_a_step_that_makes_no_sense_is_refused(fields: dict[str, Any], detail: str) -> None:
    with pytest.raises(EventError) as caught:
        parse_database_backup({"target": "shop", "backup_id": ULID, "plan": PLAN, **fields})

    assert detail in (caught.value.detail or "")
