"""What fields of requests may be, those of pages and of the API."""

from __future__ import annotations

from datetime import datetime
from typing import Final

ULID_PATTERN: Final = r"^[0-7][0-9A-HJKMNP-TV-Z]{25}$"


def within_calendar(at: datetime) -> datetime:
    """Return a time, to which days can be added; raises ValueError for one near the ends of what a time can be."""
    if not 1900 <= at.year <= 9000:
        raise ValueError("expected a year from 1900 to 9000")
    return at
