"""Many backups in a few numbers."""

from __future__ import annotations

from datetime import timedelta

from tests.unit.policy.safety_scene import NOW, run

from coffre.model.backup import Status, Tier
from coffre.policy.anomaly import Rate
from coffre.policy.statistics import statistics


def test_a_scheduled_time_counts_once_and_the_last_is_the_one_that_was_completed_last() -> None:
    slow = run(30, completed_at=NOW - timedelta(hours=1), slot="a", stored_bytes=7)
    backups = [
        run(2, Status.IN_PROGRESS),
        run(3, tiers=(Tier.SAFETY,), stored_bytes=1),
        run(9, damaged_at=NOW, damage="It is damaged."),
        run(10, slot="b"),
        run(11, Status.FAILED, slot="b"),
        run(12, Status.FAILED, slot="c"),
        slow,
        run(900, Status.DELETED, target="crm"),
    ]

    found = statistics(iter(backups))

    assert found.by_status == {Status.IN_PROGRESS: 1, Status.COMPLETED: 4, Status.FAILED: 2, Status.DELETED: 1}
    assert (found.damaged, found.plaintext_bytes, found.stored_bytes) == (1, 20_000_000, 8)
    assert (found.rate, found.runs) == (Rate(good=5, failed=1), 6)
    assert found.last == slow


def test_no_backup_is_no_rate() -> None:
    found = statistics([])

    assert (found.runs, found.last, sum(found.by_status.values())) == (0, None, 0)
