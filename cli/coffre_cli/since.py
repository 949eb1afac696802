"""`--since`: a span before now, a day, or a time."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Final

import typer

from coffre.model.times import parse_span
from coffre_cli.asked_time import NoTimeError, asked_time

FORMS: Final = "24h, 7d, 2026-11-01 or 2026-11-01T08:00Z"


def since_time(text: str, option: str = "--since") -> datetime:
    """Return the time that a person means: a span before now, a date, or a time, which is UTC unless it says.

    Raises
    ------
    BadParameter
        It is none of them.
    """
    try:
        return datetime.now(UTC) - parse_span(text)
    except ValueError:
        pass
    try:
        return asked_time(text, datetime.now(UTC))
    except NoTimeError:
        raise typer.BadParameter(f"{option} {text} is neither a span nor a time: write {FORMS}") from None
    except ValueError as error:
        raise typer.BadParameter(f"{option} {text}: {error}") from error
