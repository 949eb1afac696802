"""What about a backup, or about all of them, is not as usual: pure decisions. The reasons are in docs/alerts.md."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from itertools import dropwhile
from typing import Final

from coffre.model.backup import Backup, Status
from coffre.model.kinds import TargetKind

COMPARED: Final = 10
"""The mean is that of this number of backups before."""

# Fewer backups do not show what is usual.
_LEAST_COMPARED: Final = 3
# What changes by less than this is no sign of anything, however large the share: in a small database one import or one
# clean-up moves it. What an accident empties is reported at any size but the smallest (`_emptied`).
_FLOOR_BYTES: Final = 1_000_000
_FLOOR_COUNT: Final = 1_000
_EMPTIED_FROM: Final = 20

_DURATION_MINUTES: Final[Mapping[TargetKind, int]] = {
    TargetKind.DATABASE: 30,
    TargetKind.BUCKET: 120,
    TargetKind.SETTINGS: 15,
    TargetKind.REPOSITORY: 120,
}

QUOTA_PERCENT: Final = 80
RATE_DAYS: Final = 30
# One failure among 30 daily backups is 97 %, and was reported when it happened: a rate takes more than one.
_LEAST_FAILURES: Final = 2
_DIGITS: Final = re.compile(r"\d+")


@dataclass(frozen=True)
class Measures:
    """What is compared of a backup: bytes of plaintext, bytes of the vault that it needs, and counts by name.

    `counts` are the rows of tables, or the objects of buckets. `scope` says what was asked to be backed up: backups of
    another scope are not comparable.
    """

    plaintext_bytes: int
    needed_bytes: int
    counts: Mapping[str, int] = field(default_factory=dict)
    scope: str = ""


@dataclass(frozen=True, order=True)
class Deviation:
    """A number that is not as usual. `what` names it, `unit` is `bytes` or what is counted."""

    what: str
    unit: str
    value: int
    mean: float

    @property
    def grew(self) -> bool:
        """Whether it is more than usual."""
        return self.value > self.mean


def deviations(now: Measures, before: Sequence[Measures], change_percent: int) -> tuple[Deviation, ...]:
    """Return what of a backup is more than `change_percent` off the mean of the comparable ones before, sorted.

    Parameters
    ----------
    before
        The newest ones first; those of another scope, and more than `COMPARED`, are left out here.
    """
    comparable = [one for one in before if one.scope == now.scope][:COMPARED]
    if len(comparable) < _LEAST_COMPARED:
        return ()
    bytes_of = {
        "plaintext": (now.plaintext_bytes, [one.plaintext_bytes for one in comparable]),
        "in the vault": (now.needed_bytes, [one.needed_bytes for one in comparable]),
    }
    found = [
        Deviation(what, "bytes", value, _mean(usual))
        for what, (value, usual) in bytes_of.items()
        if _is_off(value, _mean(usual), change_percent, _FLOOR_BYTES)
    ]
    counted, usual_counts = grouped(now.counts), [grouped(one.counts) for one in comparable]
    for name in sorted({name for one in usual_counts for name in one}):
        usual = [one[name] for one in usual_counts if name in one]
        value = counted.get(name, 0)
        # What is younger than the other backups is new here, and not yet known well enough.
        if len(usual) >= _LEAST_COMPARED and (
            _is_off(value, _mean(usual), change_percent, _FLOOR_COUNT) or _emptied(value, usual)
        ):
            found.append(Deviation(name, "count", value, _mean(usual)))
    return tuple(sorted(found))


def grouped(counts: Mapping[str, int]) -> dict[str, int]:
    """Return counts by name, where names that differ in numbers only are one: partitions by date come and go."""
    groups: Counter[str] = Counter()
    for name, count in counts.items():
        groups[_DIGITS.sub("#", name)] += count
    return dict(groups)


def _is_off(value: int, mean: float, change_percent: int, floor: int) -> bool:
    change = abs(value - mean)
    return change >= floor and 100 * change > change_percent * mean


def _emptied(value: int, usual: Sequence[int]) -> bool:
    """Return whether nothing is left of what all backups before had; a queue is empty now and then."""
    before = list(dropwhile(lambda count: count == 0, usual))  # it may have been empty for some backups already
    return value == 0 and len(before) >= _LEAST_COMPARED and min(before) >= _EMPTIED_FROM


def _mean(values: Sequence[int]) -> float:
    return sum(values) / len(values)


def longest(kind: TargetKind, configured_minutes: int | None) -> timedelta:
    """Return how long a backup of this kind of target may take."""
    return timedelta(minutes=configured_minutes or _DURATION_MINUTES[kind])


@dataclass(frozen=True)
class Rate:
    """How many runs that were asked for made a backup, and how many did not."""

    good: int = 0
    failed: int = 0

    @property
    def percent(self) -> float:
        """The share that made one; 100 when nothing was asked for."""
        runs = self.good + self.failed
        return 100 * self.good / runs if runs else 100.0

    def is_low(self, wanted_percent: float) -> bool:
        """Return whether it is below what is wanted, and more than one mishap."""
        return self.failed >= _LEAST_FAILURES and self.percent < wanted_percent


def success_rates(backups: Iterable[Backup], now: datetime) -> dict[str, Rate]:
    """Return by target how many of the runs of the last `RATE_DAYS` days made a backup.

    A scheduled time counts once: when its first attempt failed and the next one made the backup, it is good. What was
    deleted since was good, and what has no end yet does not count.
    """
    since = now - timedelta(days=RATE_DAYS)
    runs: dict[tuple[str, str], bool] = {}
    for backup in backups:
        if backup.created_at >= since:
            count_run(runs, backup)
    return rates_of(runs)


def count_run(runs: dict[tuple[str, str], bool], backup: Backup) -> None:
    """Note whether a run, by target and scheduled time (without one: its id), made a backup; one without end does not
    count."""
    if backup.status.is_final:
        run = (backup.target, backup.slot or backup.id)
        runs[run] = runs.get(run, False) or backup.status is not Status.FAILED


def rates_of(runs: Mapping[tuple[str, str], bool]) -> dict[str, Rate]:
    """Return the rates by target of what `count_run` noted."""
    rates: dict[str, Rate] = {}
    for (target, _), good in runs.items():
        rate = rates.get(target, Rate())
        rates[target] = Rate(rate.good + good, rate.failed + (not good))
    return rates


def is_near_quota(used_bytes: int, quota_bytes: int) -> bool:
    """Return whether a vault is so full that the operator should act before it is full."""
    return 100 * used_bytes >= QUOTA_PERCENT * quota_bytes


def keys_due(first_used: Mapping[str, datetime], days: int, now: datetime) -> dict[str, datetime]:
    """Return which recipients have been in use for `days` or longer, and since when."""
    return {key: since for key, since in first_used.items() if now - since >= timedelta(days=days)}
