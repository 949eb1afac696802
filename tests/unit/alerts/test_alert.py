"""Alerts: what a person reads at three in the morning, and what SNS takes."""

from datetime import UTC, datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st

from coffre.alerts.alert import (
    Alert,
    AlertKind,
    Severity,
    backup_failed,
    configuration_invalid,
    last_good_backup,
    restore_failed,
)
from coffre.model.backup import Backup, Failure, Status, Tier
from coffre.model.errors import CatalogError, DumpError

FAILURE = Failure(code="LOCK_TIMEOUT", message="A table is locked.", hint="Find the session.")
GOOD = Backup(
    id="01JD0000000000000000000000",
    target="shop",
    tiers=(Tier.DAILY,),
    status=Status.COMPLETED,
    created_at=datetime(2026, 10, 2, 2, 0, 7, tzinfo=UTC),
)


def alerts(failure: Failure, *, target: str = "shop") -> list[Alert]:
    return [
        backup_failed(target, failure, backup_id="B1", request_id="R1", last_good="Last good backup: NONE."),
        restore_failed(target, failure, backup_id="B1", restore_id="X1", request_id="R1", destination="h:5432/copy"),
        restore_failed(None, failure, backup_id="latest", restore_id="X1", request_id="R1"),
        configuration_invalid(failure, function="backup-database", request_id="R1"),
    ]


def test_a_failed_backup_is_told_in_full() -> None:
    alert = backup_failed("shop", FAILURE, backup_id="B1", request_id="R1", last_good=last_good_backup(lambda: GOOD))

    assert alert.kind is AlertKind.BACKUP_FAILED
    assert alert.severity is Severity.CRITICAL
    assert alert.target == "shop"
    assert alert.subject == "Backup of shop FAILED: LOCK_TIMEOUT"
    assert alert.text.splitlines() == [
        'The backup of "shop" failed. Older backups are untouched.',
        "",
        "Why: A table is locked. [LOCK_TIMEOUT]",
        "What to do: Find the session.",
        "",
        "Last good backup: 01JD0000000000000000000000, taken 2026-10-02 02:00 UTC.",
        "Ids: backup B1, request R1",
        "Try again: coffre backup database shop",
    ]


def test_the_last_good_backup_is_named_or_its_absence_said() -> None:
    def silent() -> Backup | None:
        raise CatalogError("No answer.")

    assert "NONE" in last_good_backup(lambda: None)
    assert "not known" in last_good_backup(silent)
    assert GOOD.id in last_good_backup(lambda: GOOD)


def test_a_failed_restore_says_where_and_that_the_backup_is_untouched() -> None:
    alert = alerts(FAILURE)[1]

    assert alert.kind is AlertKind.RESTORE_FAILED
    assert 'The restore of "shop" into h:5432/copy failed. The backup itself is untouched.' in alert.text
    assert "Ids: backup B1, restore X1, request R1" in alert.text


def test_a_restore_whose_target_is_not_known_yet_names_the_backup() -> None:
    alert = alerts(FAILURE)[2]

    assert alert.target == "-"
    assert "The restore of backup latest failed" in alert.text
    assert "None" not in f"{alert.subject} {alert.text}"


@pytest.mark.parametrize("number", range(4))
def test_every_alert_holds_why_what_to_do_and_the_ids(number: int) -> None:
    alert = alerts(FAILURE)[number]

    assert "Why: A table is locked. [LOCK_TIMEOUT]" in alert.text
    assert "What to do: Find the session." in alert.text
    assert "request R1" in alert.text
    assert "LOCK_TIMEOUT" in alert.subject


@given(st.text(), st.text(), st.text(), st.text())
def test_whatever_went_wrong_sns_takes_the_subject(target: str, code: str, message: str, hint: str) -> None:
    for alert in alerts(Failure(code=code, message=message, hint=hint), target=target):
        assert 0 < len(alert.subject) <= 100
        assert alert.subject.isascii()
        assert alert.subject.isprintable()
        assert alert.subject[0].isalnum()
        assert message in alert.text


def test_an_unexpected_error_is_told_without_its_text() -> None:
    failure = Failure.of(ValueError("postgresql://app:hunter2@h/shop"))

    for alert in alerts(failure):
        assert "hunter2" not in f"{alert.subject} {alert.text}"
        assert "ValueError" in alert.text
    assert "hunter2" in alerts(Failure.of(DumpError("hunter2 is our own word")))[0].text
