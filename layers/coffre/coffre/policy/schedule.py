"""When a schedule runs: the next time, the last one, and which target is due. Pure: the caller gives the times.

A local time that does not exist (clocks go forward) runs by as much later as the clocks go forward. One that exists
twice (clocks go back) runs the first time only, unless the schedule runs in every hour: then it runs both times.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, date, datetime, time, timedelta
from functools import lru_cache
from typing import Final
from zoneinfo import ZoneInfo

from coffre.model.cron import Cron, Rate
from coffre.model.schedule import Schedule
from coffre.model.tier import Tier

# The longest pause of an expression is that of a fifth weekday in February: 40 years around 2100.
_MONTHS: Final = 12 * 41
_DAY: Final = timedelta(days=1)
_EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)


@dataclass(frozen=True)
class Due:
    """A run that is due: its scheduled time, in UTC, and the tiers of its backup."""

    slot: datetime
    tiers: tuple[Tier, ...]


def next_run(schedule: Schedule, after: datetime) -> datetime | None:
    """Return the first scheduled time after an instant, in UTC; None: it never runs again."""
    match schedule.parsed:
        case Rate(period):
            return _EPOCH + ((after - _EPOCH) // period + 1) * period
        case cron:
            return _nearest(cron, schedule.zone, after, forward=True)


def last_run(schedule: Schedule, until: datetime) -> datetime | None:
    """Return the last scheduled time at or before an instant, in UTC; None: it never ran."""
    match schedule.parsed:
        case Rate(period):
            return _EPOCH + ((until - _EPOCH) // period) * period
        case cron:
            return _nearest(cron, schedule.zone, until, forward=False)


def due(schedule: Schedule, after: datetime, until: datetime) -> Due | None:
    """Return the run that is due at `until`, when runs up to `after` were started.

    Of several scheduled times in between only the last is run, with the tiers of all of them: what was missed is caught
    up once.
    """
    slot = last_run(schedule, until)
    if slot is None or slot <= after:
        return None
    return Due(slot, _tiers(schedule.zone, last_run(schedule, after), slot))


def _tiers(zone: ZoneInfo, before: datetime | None, slot: datetime) -> tuple[Tier, ...]:
    """Return the tiers of a run: that of a week or a month belongs to the first run in it."""
    own = slot.astimezone(zone).date()
    earlier = before.astimezone(zone).date() if before is not None else None
    tiers = [Tier.DAILY]
    if earlier is None or _week(earlier) != _week(own):
        tiers.append(Tier.WEEKLY)
    if earlier is None or (earlier.year, earlier.month) != (own.year, own.month):
        tiers.append(Tier.MONTHLY)
    return tuple(tiers)


def _week(day: date) -> date:
    """Return the Sunday with which the week of a day begins."""
    return day - timedelta(days=day.isoweekday() % 7)


def _nearest(cron: Cron, zone: ZoneInfo, instant: datetime, *, forward: bool) -> datetime | None:
    """Return the first time after an instant, or the last one at or before it.

    The first day that has a fitting time is not enough: a zone that skips a whole day moves its times into the next.
    """
    local = instant.astimezone(zone).date()
    found: list[datetime] = []
    for day in _days(cron, local - _DAY if forward else local + _DAY, forward=forward):
        is_first = not found
        found += [at for at in _instants(cron, zone, day) if (at > instant if forward else at <= instant)]
        if found and not is_first:
            break
    return (min if forward else max)(found, default=None)


def _days(cron: Cron, start: date, *, forward: bool) -> Iterator[date]:
    """Yield the days that have runs, from a day on, forward or backward."""
    step, count = (1 if forward else -1), start.year * 12 + start.month - 1
    for number in range(count, count + step * _MONTHS, step):
        year, month = number // 12, number % 12 + 1
        if not date.min.year <= year <= date.max.year:
            return
        for day in cron.days(year, month)[::step]:
            one = date(year, month, day)
            if (one - start).days * step >= 0:
                yield one


@lru_cache(maxsize=256)
def _instants(cron: Cron, zone: ZoneInfo, day: date) -> frozenset[datetime]:
    """Return the instants, in UTC, at which a local day's times are."""
    found = set()
    for hour in cron.hours:
        for minute in cron.minutes:
            local = datetime.combine(day, time(hour, minute), tzinfo=zone)
            found.add(local.astimezone(UTC))
            again = local.replace(fold=1)
            if cron.is_hourly and _offset(again) < _offset(local):  # it exists twice
                found.add(again.astimezone(UTC))
    return frozenset(found)


def _offset(local: datetime) -> timedelta:
    return local.utcoffset() or timedelta()
