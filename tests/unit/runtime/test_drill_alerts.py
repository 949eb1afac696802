"""What people hear of a drill, and what is over."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

import pytest

from coffre.alerts.alert import AlertKind
from coffre.model.backup import Backup, Failure, Status, Tier
from coffre.model.drill import Outcome
from coffre.model.drill_report import DrillReport
from coffre.model.journal_proof import JournalProof, ProofVerdict
from coffre.operations.monitoring.alerting import Review
from coffre.runtime.drill_alerts import review_of

NOW = datetime(2026, 11, 22, 6, 0, tzinfo=UTC)
BACKUP = Backup(id="01K9X0", target="shop", tiers=(Tier.DAILY,), status=Status.COMPLETED, created_at=NOW)
FAILURE = Failure(code="ROWS_DIFFER", message="public.orders is not as it was.")


def reviewed(outcome: Outcome, **changes: Any) -> Review:
    report = DrillReport(
        id="01K9X1",
        backup_id=BACKUP.id,
        target="shop",
        outcome=outcome,
        backup_created_at=NOW,
        started_at=NOW,
        completed_at=NOW,
        coffre_version="0.1.0",
        **changes,
    )
    return review_of(BACKUP, report, safe="Nothing is safe.", request_id="request-1")


@pytest.mark.parametrize(
    ("outcome", "changes", "told", "over"),
    [
        (
            Outcome.PASSED,
            {"restore_seconds": 9.0},
            [],
            {"DRILL_FAILED", "DRILL_INCOMPLETE", "DRILL_NOT_POSSIBLE", "RTO_EXCEEDED"},
        ),
        (
            Outcome.PASSED,
            {"restore_seconds": 61.0, "restore_limit_seconds": 60},
            ["RTO_EXCEEDED"],
            {"DRILL_FAILED", "DRILL_INCOMPLETE", "DRILL_NOT_POSSIBLE"},
        ),
        (
            Outcome.FAILED,
            {"restore_seconds": 61.0, "restore_limit_seconds": 60, "failure": FAILURE, "problems": ("wrong",)},
            ["DRILL_FAILED", "RTO_EXCEEDED"],
            {"DRILL_NOT_POSSIBLE"},
        ),
        (Outcome.FAILED, {"failure": FAILURE}, ["DRILL_FAILED"], {"DRILL_NOT_POSSIBLE"}),
        (
            Outcome.INCOMPLETE,
            {"left_out": ("Not restored: x: y.",), "failure": FAILURE},
            ["DRILL_INCOMPLETE"],
            {"DRILL_FAILED", "DRILL_NOT_POSSIBLE"},
        ),
        (Outcome.NOT_POSSIBLE, {"failure": FAILURE}, ["DRILL_NOT_POSSIBLE"], set()),
    ],
)
def test_what_is_told_and_what_is_over(
    outcome: Outcome, changes: dict[str, Any], told: list[str], over: set[str]
) -> None:
    review = reviewed(outcome, **changes)

    assert [alert.kind.value for alert in review.alerts] == told
    assert {kind.value for kind, target in review.checked if target == "shop"} - set(told) == over
    # A drill that did not find out what it was about has shown nothing of any target, and works again.
    of_none = {(AlertKind.DRILL_FAILED, "-")} if outcome in (Outcome.PASSED, Outcome.INCOMPLETE) else set()
    assert {(kind, target) for kind, target in review.checked if target != "shop"} == of_none


def test_a_drill_that_was_not_possible_ends_no_other_trouble() -> None:
    review = reviewed(Outcome.NOT_POSSIBLE, failure=FAILURE)

    assert (AlertKind.DRILL_FAILED, "shop") not in review.checked


def test_a_check_of_the_owners_that_fails_is_not_told_as_a_bad_backup() -> None:
    failure = Failure(code="CHECK_FAILED", message='The check "paid" failed.')

    (alert,) = reviewed(Outcome.FAILED, failure=failure, problems=(failure.message,)).alerts

    assert "the data is as it was backed up, but your own checks of it failed" in alert.text
    assert "Take a new full backup" not in alert.text


@pytest.mark.parametrize("outcome", [Outcome.PASSED, Outcome.NOT_POSSIBLE])
def test_a_journal_that_is_not_equal_is_said_whatever_became_of_the_backup(outcome: Outcome) -> None:
    proof = JournalProof(
        verdict=ProofVerdict.NOT_EQUAL, target="shop", drill_id="D", proven_at=NOW, newer="B", until=NOW, since=NOW
    )
    kind = (AlertKind.JOURNAL_NOT_EQUAL, "shop")

    def of(**changes: Any) -> Review:
        return reviewed(outcome, failure=FAILURE, journal=proof.model_copy(update=changes))

    found = of(differences=("public.orders: 1 rows by the journal, 2 in the backup.",))
    [alert] = [one for one in found.alerts if one.kind is AlertKind.JOURNAL_NOT_EQUAL]
    assert "public.orders: 1 rows" in alert.text
    assert kind in found.checked
    # One that is equal ends it, one that was not compared does not.
    assert kind in of(verdict=ProofVerdict.EQUAL).checked
    assert kind not in of(verdict=ProofVerdict.NOT_PROVEN, why="no time").checked
