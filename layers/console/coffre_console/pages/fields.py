"""Values of fields of a page's address, or one clear error."""

from __future__ import annotations

import re
from datetime import UTC, datetime
from enum import StrEnum

from coffre_console.problems import ProblemError, WrongField


def one_of[E: StrEnum](values: type[E], where: str, text: str) -> E | None:
    """Return one of the values; None for an empty field."""
    if not text:
        return None
    try:
        return values(text)
    except ValueError:
        raise wrong(where, f"expected one of {', '.join(values)}") from None


def day_of(where: str, text: str) -> datetime | None:
    """Return the begin of a day, UTC; None for an empty field."""
    if not text:
        return None
    try:
        return datetime.strptime(text, "%Y-%m-%d").replace(tzinfo=UTC)
    except ValueError:
        raise wrong(where, "expected a day, as 2026-11-17") from None


def refuse_unlike(where: str, text: str, pattern: str, what: str) -> None:
    """Refuse a text that is not what it should be."""
    if not re.fullmatch(pattern, text):
        raise wrong(where, f"expected {what}")


def wrong(where: str, what: str) -> ProblemError:
    """Return the error about one field."""
    errors = (WrongField(where=where, what=what),)
    return ProblemError(422, "REQUEST_INVALID", "A field cannot be read.", errors=errors)
