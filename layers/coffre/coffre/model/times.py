"""Times that come from outside, and lengths of time as people write them."""

from __future__ import annotations

import re
from datetime import UTC, datetime, timedelta
from typing import Final

_SPAN: Final = re.compile(r"([1-9]\d{0,5})([hdw])")
_UNITS: Final = {"h": timedelta(hours=1), "d": timedelta(days=1), "w": timedelta(weeks=1)}
# As of the days of a tier: a hundred years.
_LONGEST: Final = timedelta(days=36_500)


def in_utc(time: datetime) -> datetime:
    """Return an aware time in UTC.

    Raises
    ------
    ValueError
        In UTC it is before the year 1 or after the year 9999, which no date can express.
    """
    try:
        return time.astimezone(UTC)
    except OverflowError:
        raise ValueError("should be a time from year 1 to year 9999 in UTC") from None


def parse_span(text: str) -> timedelta:
    """Return a length of time that is written as `12h`, `7d` or `4w`.

    Raises
    ------
    ValueError
        It is none, or longer than 36,500 days.
    """
    found = _SPAN.fullmatch(text)
    span = int(found[1]) * _UNITS[found[2]] if found else None
    if span is None or span > _LONGEST:
        raise ValueError("should be a number of hours, days or weeks, up to 36500d: 12h, 7d, 4w")
    return span
