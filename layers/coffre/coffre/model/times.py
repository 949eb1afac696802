"""Times that come from outside, and lengths of time as people write them."""

from __future__ import annotations

from datetime import UTC, datetime


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
