"""When a schedule of EventBridge fires next: `cron(0 2 * * ? *)`, in UTC.

What is understood is what EventBridge documents for rules ("Setting a schedule pattern for scheduled rules", read
2026-11-28): six fields with `*`, `?`, lists, ranges and steps, names of months and days, and `L`, `W` and `#` for days.
The time of a `rate(...)` counts from when the rule was made, which nothing says: it is unknown.
"""

from __future__ import annotations

import calendar
import re
from dataclasses import dataclass
from datetime import UTC, date, datetime, time, timedelta
from typing import Final

_CRON: Final = re.compile(r"cron\((.+)\)", re.DOTALL)
_MONTHS: Final = {name.upper(): number for number, name in enumerate(calendar.month_abbr) if name}
_DAYS: Final = {name: number for number, name in enumerate(("SUN", "MON", "TUE", "WED", "THU", "FRI", "SAT"), 1)}
# 29 February: eight years pass between two of them around 2100.
_LOOKED_AHEAD: Final = timedelta(days=8 * 366)
_YEARS: Final = (1970, 2199)


def next_fire(expression: str, after: datetime) -> datetime | None:
    """Return the first time after `after` (aware) at which a schedule fires, in UTC.

    None: it never does again, is a `rate(...)`, or is not understood.
    """
    found = _CRON.fullmatch(expression.strip())
    if found is None:
        return None
    try:
        cron = _Cron.parse(found[1])
    except ValueError:
        return None
    after = after.astimezone(UTC)
    day, last = after.date(), min(after.date(), date(_YEARS[1] - 10, 1, 1)) + _LOOKED_AHEAD
    while day <= last:
        if cron.is_on(day):
            for moment in cron.times(day):
                if moment > after:
                    return moment
        day += timedelta(days=1)
    return None


@dataclass(frozen=True)
class _Cron:
    minutes: frozenset[int]
    hours: frozenset[int]
    month_days: str
    months: frozenset[int]
    week_days: str
    years: frozenset[int]

    @classmethod
    def parse(cls, text: str) -> _Cron:
        minutes, hours, month_days, months, week_days, years = text.upper().split()
        cron = cls(
            minutes=_numbers(minutes, 0, 59),
            hours=_numbers(hours, 0, 23),
            month_days=month_days,
            months=_numbers(_named(months, _MONTHS), 1, 12),
            week_days=_named(week_days, _DAYS),
            years=_numbers(years, *_YEARS),
        )
        cron.is_on(date(2026, 1, 1))  # what is wrong with its days is an error now, not in some month
        return cron

    def is_on(self, day: date) -> bool:
        """Whether it fires on a day."""
        is_in = day.year in self.years and day.month in self.months
        return _is_month_day(self.month_days, day) and _is_week_day(self.week_days, day) and is_in

    def times(self, day: date) -> list[datetime]:
        """Return the times of a day, in order."""
        return [datetime.combine(day, time(h, m), UTC) for h in sorted(self.hours) for m in sorted(self.minutes)]


def _named(field: str, names: dict[str, int]) -> str:
    return re.sub(r"[A-Z]{3}", lambda found: str(names.get(found[0], found[0])), field)


def _numbers(field: str, first: int, last: int) -> frozenset[int]:
    """Return what a field of numbers stands for; `ValueError` when it is none."""
    found: set[int] = set()
    for part in field.split(","):
        span, _, step = part.partition("/")
        begin, _, end = span.partition("-")
        if span in ("*", "?"):
            low, high = first, last
        else:
            low = int(begin)
            high = int(end) if end else (last if step else low)
        if not first <= low <= high <= last:
            raise ValueError(part)
        found.update(range(low, high + 1, int(step) if step else 1))
    return frozenset(found)


def _is_month_day(field: str, day: date) -> bool:
    last = calendar.monthrange(day.year, day.month)[1]
    return any(_is_one(part, day, last) for part in field.split(","))


def _is_one(part: str, day: date, last: int) -> bool:
    if part == "L":
        return day.day == last
    if part.endswith("W"):  # the weekday of the same month that is nearest
        wanted = last if part == "LW" else int(part[:-1])
        return wanted <= last and day == _nearest_weekday(day.replace(day=wanted), last)
    return day.day in _numbers(part, 1, 31)


def _nearest_weekday(day: date, last: int) -> date:
    if day.weekday() == calendar.SATURDAY:
        return day - timedelta(days=1) if day.day > 1 else day + timedelta(days=2)
    if day.weekday() == calendar.SUNDAY:
        return day + timedelta(days=1) if day.day < last else day - timedelta(days=2)
    return day


def _is_week_day(field: str, day: date) -> bool:
    number = day.isoweekday() % 7 + 1  # Sunday is 1
    last = calendar.monthrange(day.year, day.month)[1]
    for part in field.split(","):
        if "#" in part:
            wanted, _, nth = part.partition("#")
            is_it = number == int(wanted) and (day.day - 1) // 7 + 1 == int(nth)
        elif part.endswith("L") and part != "L":
            is_it = number == int(part[:-1]) and day.day + 7 > last
        else:
            is_it = number in _numbers("7" if part == "L" else part, 1, 7)
        if is_it:
            return True
    return False
