"""Alerts: what a person reads at three in the morning, and what SNS takes."""

from collections.abc import Callable
from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from coffre.alerts.alert import Alert, AlertKind, Severity, digest_of
from coffre.alerts.drills import drill_failed, drill_incomplete, drill_not_possible, drill_stopped, rto_exceeded
from coffre.alerts.runs import (
    SAFE_UNKNOWN,
    backup_exceptions,
    backup_failed,
    backup_overdue,
    configuration_invalid,
    restore_completed,
    restore_failed,
    restore_started,
    rotation_failed,
    safe_backups,
    vault_inconsistent,
)
from coffre.alerts.verification import (
    journal_damaged,
    locks_too_short,
    verification_overdue,
    verification_stopped,
    verify_failed,
)
from coffre.model.backup import Backup, Failure, Restore, Status, Tier
from coffre.model.errors import DumpError
from coffre.model.kinds import TargetKind
from coffre.model.names import visible
from coffre.model.rotation import Problem
from coffre.model.words import size, span

TAKEN = datetime(2026, 10, 2, 2, 0, 7, tzinfo=UTC)
NOW = TAKEN + timedelta(hours=30)
FAILURE = Failure(code="LOCK_TIMEOUT", message="A table is locked.", hint="Find the session.")
GOOD = Backup(
    id="01JD0000000000000000000000", target="shop", tiers=(Tier.DAILY,), status=Status.COMPLETED, created_at=TAKEN
)
OLDER = GOOD.model_copy(
    update={"id": "01JC0000000000000000000000", "created_at": TAKEN - timedelta(days=1), "verified_at": TAKEN}
)
RESTORE = Restore(
    id="X1",
    backup_id="B1",
    target="shop",
    destination="h:5432/copy",
    status=Status.COMPLETED,
    created_at=TAKEN,
    tables=3,
    rows=1050,
    duration_ms=61_000,
    request_id="R1",
)


def failures(failure: Failure, *, target: str = "shop") -> list[Alert]:
    """Every alert that tells of an error."""
    return [
        backup_failed(target, failure, backup_id="B1", request_id="R1", safe=SAFE_UNKNOWN),
        restore_failed(target, failure, backup_id="B1", restore_id="X1", request_id="R1", destination="h:5432/copy"),
        restore_failed(None, failure, backup_id="latest", restore_id="X1", request_id="R1"),
        rotation_failed(target, failure, request_id="R1"),
        configuration_invalid(failure, function="backup-database", request_id="R1"),
        verification_stopped(target, failure, level="read", request_id="R1"),
        drill_stopped(target, failure, backup_id="B1", safe=SAFE_UNKNOWN, request_id="R1"),
        drill_not_possible(target, failure, backup_id="B1", request_id="R1"),
    ]


def findings(*, target: str = "shop", text: str = "The pack v1/packs/X/0 is gone.") -> list[Alert]:
    """Every alert that tells of something that was found."""
    changes = {"target": target, "exceptions": (text,)}
    backup, restore = GOOD.model_copy(update=changes), RESTORE.model_copy(update=changes)
    return [
        backup_overdue(target, due=TAKEN, now=NOW, safe=SAFE_UNKNOWN),
        backup_exceptions(backup),
        restore_started(restore),
        restore_completed(restore),
        vault_inconsistent([Problem(code="PACK_MISSING", target=target, text=text)], request_id="R1"),
        verify_failed(backup, [text], level="read", healthy=OLDER, request_id="R1"),
        locks_too_short([Problem(code="LOCK_TOO_SHORT", target=target, text=text)], request_id="R1"),
        journal_damaged(target, [Problem(code="JOURNAL_DAMAGED", target=target, text=text)], request_id="R1"),
        verification_overdue(target, since=TAKEN, now=NOW, safe=SAFE_UNKNOWN),
        drill_failed(backup, [text], code="ROWS_DIFFER", safe=SAFE_UNKNOWN, request_id="R1"),
        drill_incomplete(backup, [text], request_id="R1"),
        rto_exceeded(backup, took_seconds=4000, limit_seconds=3600),
    ]


def test_a_failed_backup_is_told_in_full() -> None:
    alert = backup_failed("shop", FAILURE, backup_id="B1", request_id="R1", safe=safe_backups(GOOD, OLDER))

    assert alert.kind is AlertKind.BACKUP_FAILED
    assert alert.severity is Severity.CRITICAL
    assert alert.target == "shop"
    assert alert.subject == "Backup of shop FAILED: LOCK_TIMEOUT"
    assert alert.text.splitlines() == [
        'The backup of "shop" failed. Older backups are untouched.',
        "",
        "Why: A table is locked. [LOCK_TIMEOUT]",
        safe_backups(GOOD, OLDER),
        "What to do: Find the session.",
        "",
        "    coffre backup database shop",
        "",
        "Ids: backup B1, request R1",
        "Runbook: docs/runbooks/BACKUP_FAILED.md",
    ]


def test_what_is_safe_is_named_or_its_absence_said() -> None:
    good, older = f"Last good backup: {GOOD.id}, taken 2026-10-02 02:00 UTC", f"{OLDER.id}, taken 2026-10-01 02:00 UTC"

    assert "NONE" in safe_backups(None, None)
    assert safe_backups(GOOD, None) == f"{good}. Last verified backup: none yet."
    assert safe_backups(GOOD, OLDER) == f"{good}. Last verified backup: {older}."
    assert safe_backups(OLDER, OLDER) == f"Last good backup: {older}, verified 2026-10-02 02:00 UTC."


def test_a_failed_restore_says_where_and_that_the_backup_is_untouched() -> None:
    alert = failures(FAILURE)[1]

    assert alert.kind is AlertKind.RESTORE_FAILED
    assert 'The restore of "shop" into h:5432/copy failed. The backup itself is untouched.' in alert.text
    assert "Ids: backup B1, restore X1, request R1" in alert.text


def test_an_event_that_somebody_wrote_wrongly_does_not_sound_like_the_end_of_all_backups() -> None:
    wrong, broken = (
        configuration_invalid(FAILURE.model_copy(update={"code": code}), function="rotate", request_id="R1")
        for code in ("EVENT_INVALID", "CONFIGURATION_INVALID")
    )

    assert wrong.subject == "Coffre was called with a wrong event: EVENT_INVALID"
    assert broken.subject == "Coffre cannot run: CONFIGURATION_INVALID"


def test_a_full_backup_of_buckets_is_asked_for_by_its_own_command() -> None:
    problem = Problem(code="PACK_MISSING", target="files", text="x")

    alert = vault_inconsistent([problem], request_id="R1", kinds={"files": TargetKind.BUCKET})

    assert "    coffre backup buckets files --full" in alert.text


def test_a_restore_whose_target_is_not_known_yet_names_the_backup() -> None:
    alert = failures(FAILURE)[2]

    assert alert.target == "-"
    assert "The restore of backup latest failed" in alert.text
    assert "None" not in f"{alert.subject} {alert.text}"


def test_a_completed_restore_is_told_with_what_it_left_out() -> None:
    alert = restore_completed(RESTORE.model_copy(update={"exceptions": tuple(f"view {n}" for n in range(12))}))

    assert (alert.kind, alert.severity) == (AlertKind.RESTORE_INCOMPLETE, Severity.WARNING)
    assert "3 tables with 1,050 rows in 1 min 1 s" in alert.text
    assert "- view 9\n... and 2 more" in alert.text


def test_a_restore_of_everything_is_no_warning() -> None:
    alert = restore_completed(RESTORE)

    assert (alert.kind, alert.severity) == (AlertKind.RESTORE_COMPLETED, Severity.INFO)
    assert "What to do" not in alert.text


def test_a_damaged_backup_names_the_one_to_go_back_to() -> None:
    damaged = verify_failed(GOOD, ["x"], level="read", healthy=OLDER)
    hopeless = verify_failed(GOOD, ["x"], level="read", healthy=None)

    assert f"Backup to restore: {OLDER.id}" in damaged.text
    assert "NONE is known to be good" in hopeless.text


@pytest.mark.parametrize("alert", failures(FAILURE), ids=lambda alert: alert.kind)
def test_every_failure_holds_why_what_to_do_and_the_ids(alert: Alert) -> None:
    assert "Why: A table is locked. [LOCK_TIMEOUT]" in alert.text
    assert "What to do: Find the session." in alert.text
    assert "request R1" in alert.text
    assert "LOCK_TIMEOUT" in alert.subject


@pytest.mark.parametrize("alert", [*failures(FAILURE), *findings()], ids=lambda alert: alert.kind)
def test_every_alert_says_what_to_do_and_names_its_runbook(alert: Alert) -> None:
    assert "What to do: " in alert.text
    assert f"Runbook: docs/runbooks/{alert.kind}.md" in alert.text
    assert "\n    coffre " in alert.text
    assert "None" not in alert.text


@given(st.text(), st.text(), st.text(), st.text())
def test_whatever_went_wrong_sns_takes_the_subject(target: str, code: str, message: str, hint: str) -> None:
    for alert in failures(Failure(code=code, message=message, hint=hint), target=target):
        assert_is_taken(alert)
        assert visible(message, breaks=True) in alert.text


@given(st.text(), st.text(max_size=400))
def test_whatever_was_found_sns_takes_the_subject(target: str, text: str) -> None:
    for alert in findings(target=target, text=text):
        assert_is_taken(alert)


def assert_is_taken(alert: Alert) -> None:
    assert 0 < len(alert.subject) <= 100
    assert alert.subject.isascii()
    assert alert.subject.isprintable()
    assert alert.subject[0].isalnum()


def test_thousands_of_problems_are_a_message_that_can_be_read() -> None:
    alert = verify_failed(GOOD, ["x" * 9000] * 9000, level="read", healthy=None)

    assert len(alert.text) < 10_000
    assert "... and 8,990 more" in alert.text


def test_an_unexpected_error_is_told_without_its_text() -> None:
    failure = Failure.of(ValueError("postgresql://app:hunter2@h/shop"))

    for alert in failures(failure):
        assert "hunter2" not in f"{alert.subject} {alert.text}"
        assert "ValueError" in alert.text
    assert "hunter2" in failures(Failure.of(DumpError("hunter2 is our own word")))[0].text


def test_a_fingerprint_tells_problems_apart_and_not_their_order() -> None:
    assert digest_of("a", "b") == digest_of("b", "a")
    assert digest_of("a", "b") != digest_of("ab")


@pytest.mark.parametrize(
    ("show", "value", "text"),
    [
        (span, 0, "0 s"),
        (span, 59.6, "1 min"),
        (span, 3600 * 26, "1 day 2 h"),
        (span, 3600 * 48 + 5, "2 days"),
        (size, 999, "999 B"),
        (size, 1_500_000, "1.5 MB"),
        (size, 2.5e15, "2.5 PB"),
    ],
)
def test_durations_and_sizes_are_written_as_people_do(show: Callable[[float], str], value: float, text: str) -> None:
    assert show(value) == text
