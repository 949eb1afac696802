"""Many backups in a few numbers."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass

from coffre.model.backup import Backup
from coffre.model.kinds import Status
from coffre.policy.anomaly import Rate, count_run, rates_of
from coffre.policy.recency import completion


@dataclass(frozen=True)
class Statistics:
    """How many backups are in which state, and what those COMPLETED hold; `last` is the healthy one completed last.

    `plaintext_bytes` are what they hold, `stored_bytes` what they added to the vault. `rate` counts a scheduled time
    once (`policy.anomaly`).
    """

    by_status: Counter[Status]
    damaged: int
    plaintext_bytes: int
    stored_bytes: int
    rate: Rate
    last: Backup | None

    @property
    def runs(self) -> int:
        """The number of runs that have ended, a scheduled time with several attempts counted once."""
        return self.rate.good + self.rate.failed


def statistics(backups: Iterable[Backup]) -> Statistics:
    """Count backups."""
    by_status: Counter[Status] = Counter()
    damaged = plaintext_bytes = stored_bytes = 0
    last: Backup | None = None
    runs: dict[tuple[str, str], bool] = {}
    for backup in backups:
        by_status[backup.status] += 1
        count_run(runs, backup)
        if backup.status is not Status.COMPLETED:
            continue
        plaintext_bytes += backup.plaintext_bytes or 0
        stored_bytes += backup.stored_bytes or 0
        damaged += not backup.is_healthy
        if backup.is_healthy and not backup.is_safety and (last is None or completion(backup) > completion(last)):
            last = backup
    rates = rates_of(runs).values()
    rate = Rate(sum(one.good for one in rates), sum(one.failed for one in rates))
    return Statistics(by_status, damaged, plaintext_bytes, stored_bytes, rate, last)
