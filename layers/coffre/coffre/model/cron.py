"""Expressions of schedules: `cron(30 3 * * ? *)` and `rate(6 hours)`, as rules of EventBridge take them.

Source: Amazon EventBridge user guide, "Setting a schedule pattern" (November 2026). `W` is not taken.
"""

from __future__ import annotations

import re
from calendar import monthrange
from dataclasses import dataclass
from datetime import date, timedelta
from functools import lru_cache
from typing import Final

SHORTEST_MINUTES: Final = 5
"""The tick that looks for due targets comes this often: nothing can run more often."""

LAST: Final = -1
"""The last day of a month; the last of its kind of weekday."""

_SHAPE: Final = re.compile(r"(cron|rate)\(([^()]*)\)")
_RATE: Final = re.compile(r"([0-9]{1,5}) (minute|hour|day)s?")
_SECONDS: Final = {"minute": 60, "hour": 3600, "day": 86_400}
_MONTHS: Final = ("JAN", "FEB", "MAR", "APR", "MAY", "JUN", "JUL", "AUG", "SEP", "OCT", "NOV", "DEC")
_WEEKDAYS: Final = ("SUN", "MON", "TUE", "WED", "THU", "FRI", "SAT")
_LONGEST_MONTH: Final = (31, 29, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31)
_EXAMPLES: Final = "such as cron(30 3 * * ? *) or rate(6 hours)"


@dataclass(frozen=True)
class Rate:
    """Every `period`, counted from 1970-01-01T00:00Z."""

    period: timedelta


@dataclass(frozen=True)
class Cron:
    """Times of a day and the days that have them, in local time. All tuples are sorted.

    Either `month_days` (1 to 31, or `LAST`) or `week_days` (0, Sunday, to 6, with 0 for every such day of the month, 1
    to 5 for the first to the fifth, or `LAST`) say which days; the other is None. `years` None: all of them.
    """

    minutes: tuple[int, ...]
    hours: tuple[int, ...]
    months: tuple[int, ...]
    years: tuple[int, ...] | None
    month_days: tuple[int, ...] | None
    week_days: tuple[tuple[int, int], ...] | None

    @property
    def is_hourly(self) -> bool:
        """Whether every hour of a day has a run."""
        return len(self.hours) == 24

    def days(self, year: int, month: int) -> list[int]:
        """Return the days of a month that have runs, in order."""
        if month not in self.months or (self.years is not None and year not in self.years):
            return []
        length = monthrange(year, month)[1]
        return [day for day in range(1, length + 1) if self._has(year, month, day, length)]

    def _has(self, year: int, month: int, day: int, length: int) -> bool:
        if self.week_days is None:
            wanted = self.month_days or ()
            return day in wanted or (day == length and LAST in wanted)
        weekday = date(year, month, day).isoweekday() % 7
        kinds = {0, (day - 1) // 7 + 1} | ({LAST} if day + 7 > length else set())
        return any(weekday == wanted and which in kinds for wanted, which in self.week_days)


@lru_cache(maxsize=256)
def parse_expression(text: str) -> Cron | Rate:
    """Return what an expression means.

    Raises
    ------
    ValueError
        Says which part is wrong, and what it may be.
    """
    found = _SHAPE.fullmatch(text.strip())
    if found is None:
        raise ValueError(f"should be cron(...) or rate(...), {_EXAMPLES}")
    return _cron(found[2].split()) if found[1] == "cron" else _rate(found[2].strip())


def _rate(text: str) -> Rate:
    found = _RATE.fullmatch(text)
    if found is None:
        raise ValueError("a rate is a number of minutes, hours or days, such as rate(6 hours)")
    seconds = int(found[1]) * _SECONDS[found[2]]
    if seconds < SHORTEST_MINUTES * 60:
        raise ValueError(f"runs more often than every {SHORTEST_MINUTES} minutes, which is the shortest")
    return Rate(timedelta(seconds=seconds))


def _cron(fields: list[str]) -> Cron:
    if len(fields) != 6:
        raise ValueError(
            f"cron has {len(fields)} fields; it takes 6: minutes, hours, day of month, month, day of week, year"
        )
    minutes, hours, month_day, month, week_day, year = fields
    if (month_day == "?") == (week_day == "?"):
        raise ValueError('cron: exactly one of day of month and day of week has to be "?", such as cron(30 3 * * ? *)')
    cron = Cron(
        minutes=_numbers("minutes", minutes, 0, 59),
        hours=_numbers("hours", hours, 0, 23),
        months=_numbers("month", month, 1, 12, _MONTHS),
        years=None if year == "*" else _numbers("year", year, 1970, 2199),
        month_days=None if month_day == "?" else _month_days(month_day),
        week_days=None if week_day == "?" else _week_days(week_day),
    )
    _refuse_too_often(cron)
    _refuse_never(cron)
    return cron


def _refuse_too_often(cron: Cron) -> None:
    following = [*cron.minutes[1:], cron.minutes[0] + 60]
    if min(later - minute for minute, later in zip(cron.minutes, following, strict=True)) < SHORTEST_MINUTES:
        raise ValueError(f"runs more often than every {SHORTEST_MINUTES} minutes, which is the shortest")


def _refuse_never(cron: Cron) -> None:
    days = cron.month_days
    if days and LAST not in days and min(days) > max(_LONGEST_MONTH[month - 1] for month in cron.months):
        raise ValueError(f"never runs: none of its months has a day {min(days)}")


def _month_days(field: str) -> tuple[int, ...]:
    parts = field.split(",")
    days = {LAST} if "L" in parts else set()
    others = [part for part in parts if part != "L"]
    return tuple(sorted(days | set(_numbers("day of month", ",".join(others), 1, 31) if others else ())))


def _week_days(field: str) -> tuple[tuple[int, int], ...]:
    days: set[tuple[int, int]] = set()
    for part in field.split(","):
        name, mark, which = part.partition("#")
        if mark:
            nth = _number("day of week", which, 1, 5, ())
            days.add((_number("day of week", name, 1, 7, _WEEKDAYS) - 1, nth))
        elif part == "L":
            days.add((6, 0))  # as EventBridge has it: the last day of the week
        elif part.endswith("L") and len(part) > 1:
            days.add((_number("day of week", part[:-1], 1, 7, _WEEKDAYS) - 1, LAST))
        else:
            days |= {(number - 1, 0) for number in _numbers("day of week", part, 1, 7, _WEEKDAYS)}
    return tuple(sorted(days))


def _numbers(what: str, field: str, least: int, most: int, names: tuple[str, ...] = ()) -> tuple[int, ...]:
    """Return the numbers of a field: `*`, `5`, `1-5`, `*/15`, `1-10/3`, `5/10`, and lists of these."""
    numbers: set[int] = set()
    for part in field.split(","):
        span, has_step, step = part.partition("/")
        first, is_span, last = span.partition("-")
        if span == "*":
            low, high = least, most
        else:
            low = _number(what, first, least, most, names)
            high = _number(what, last, least, most, names) if is_span else (most if has_step else low)
        if low > high:
            raise ValueError(f'cron, {what}: in "{_short(part)}" the first is greater than the last')
        numbers |= set(range(low, high + 1, _number(what, step, 1, most, ()) if has_step else 1))
    return tuple(sorted(numbers))


def _number(what: str, text: str, least: int, most: int, names: tuple[str, ...]) -> int:
    if text.upper() in names:
        return names.index(text.upper()) + least
    if text.isascii() and text.isdigit() and least <= int(text[:5]) <= most:
        return int(text[:5])
    named = f", or {names[0]} to {names[-1]}" if names else ""
    raise ValueError(f'cron, {what}: "{_short(text)}" is none of {least} to {most}{named}')


def _short(text: str) -> str:
    return text if len(text) <= 20 else f"{text[:20]}..."
