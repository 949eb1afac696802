"""Copies in `coffre status`: what of them makes targets unsafe, and the line about each."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import pytest
from tests.unit.policy.safety_scene import NOW, alert, database, facts, run

from coffre.model.copies import Copy, CopyStatus, Destination
from coffre.model.status import Standing
from coffre.model.status_facts import CopyFacts, Facts
from coffre.policy.safety import reasons
from coffre.policy.status_report import report_of

SHOP = database()
NEWEST, BEFORE = SHOP.recent[0], SHOP.recent[1]


def destination(**fields: Any) -> Destination:
    store = {"type": "s3", "bucket": "acme-offsite"}
    return Destination.model_validate({"name": "offsite", "store": store, **fields})


def copy(backup_id: str, status: CopyStatus = CopyStatus.COMPLETED, **fields: Any) -> Copy:
    known = {"started_at": NOW, "completed_at": NOW, "verified_at": NOW - timedelta(hours=30), **fields}
    names = {"destination": "offsite", "backup_id": backup_id, "target": "shop", "status": status}
    return Copy.model_validate(names | known)


def with_copies(*copies: Copy, alerts: tuple[Any, ...] = (), **fields: Any) -> Facts:
    known = CopyFacts(destination(**fields), ("shop",), {one.backup_id: one for one in copies})
    return facts(SHOP, copies=(known,), alerts=alerts)


def line(found: Facts) -> str:
    (state,) = report_of(found).copies
    return state.sentence


def test_a_complete_copy_is_one_line_with_the_date() -> None:
    found = with_copies(copy(NEWEST.id), copy(BEFORE.id))

    assert reasons(found) == ()
    (state,) = report_of(found).copies
    assert (state.standing, state.sentence) == (Standing.SAFE, "complete, verified on 2026-11-27")


def test_a_copy_that_was_never_looked_at_says_so() -> None:
    assert line(with_copies(copy(NEWEST.id, verified_at=None))) == "complete, not verified yet"


@pytest.mark.parametrize(
    ("copies", "code", "words"),
    [
        ((), "COPY_EMPTY", 'the copy "offsite" has no good backup of shop.'),
        ((copy(BEFORE.id),), "COPY_LATE", "should have been there within 60 minutes."),
        (
            (copy(BEFORE.id), copy(NEWEST.id, CopyStatus.FAILED, error="It is full. [STORE_FULL]")),
            "COPY_LATE",
            "It is full. [STORE_FULL]",
        ),
        ((copy(NEWEST.id, damaged="A pack is missing."), copy(BEFORE.id)), "COPY_DAMAGED", "is damaged in the copy"),
        ((copy(NEWEST.id), copy(BEFORE.id, damaged="A pack is missing.")), "COPY_DAMAGED", BEFORE.id),
    ],
)
def test_what_is_missing_makes_the_target_unsafe_and_names_its_cure(
    copies: tuple[Copy, ...], code: str, words: str
) -> None:
    found = with_copies(*copies)

    (reason,) = reasons(found)

    assert (reason.code, reason.standing, reason.targets) == (code, Standing.NOT_SAFE, ("shop",))
    assert words in reason.sentence
    assert "offsite" in (reason.cure or "")
    assert line(found) == reason.sentence


def test_a_copy_may_take_its_time() -> None:
    found = with_copies(copy(BEFORE.id), complete_within_minutes=660)

    assert reasons(found) == ()


def test_a_target_without_a_backup_has_that_reason_alone() -> None:
    nothing = database(recent=(), good=None, verified=None, drill=None)
    found = facts(nothing, copies=(CopyFacts(destination(), ("shop",)),))

    assert [reason.code for reason in reasons(found)] == ["NO_BACKUP"]
    (state,) = report_of(found).copies
    assert (state.standing, state.sentence) == (Standing.UNKNOWN, "no target has a backup to copy.")


def test_an_alert_about_a_copy_is_a_reason_for_its_targets_unless_the_records_say_the_same() -> None:
    silent = alert("VERIFY_FAILED", "copy:offsite")

    (reason,) = reasons(with_copies(copy(NEWEST.id), alerts=(silent,)))
    assert (reason.code, reason.targets) == ("VERIFY_FAILED", ("shop",))

    damaged = with_copies(copy(NEWEST.id, damaged="A pack is missing."), copy(BEFORE.id), alerts=(silent,))
    assert [one.code for one in reasons(damaged)] == ["COPY_DAMAGED"]


def test_replication_is_cured_by_its_owner() -> None:
    (reason,) = reasons(with_copies(copy(BEFORE.id), copied_by="replication"))

    assert reason.cure == "see docs/copies-care.md#your-own-replication"


def test_a_backup_of_the_last_hour_has_had_no_time_to_be_copied() -> None:
    late = database(recent=(run(0.5), *SHOP.recent), good=run(0.5))
    found = facts(late, copies=(CopyFacts(destination(), ("shop",), {NEWEST.id: copy(NEWEST.id)}),))

    assert reasons(found) == ()
