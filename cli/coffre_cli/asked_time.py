"""A time as a person writes it: with an offset or the name of a zone, or of today."""

from __future__ import annotations

import re
from datetime import UTC, datetime
from typing import Final
from zoneinfo import ZoneInfo

from coffre.model.times import in_utc

FORMS: Final = "2026-11-27 14:29:30, 2026-11-27 14:29:30+01:00, 2026-11-27 14:29:30 Europe/Paris, or 14:29 of today"
_OF_DAY: Final = re.compile(r"\d{1,2}:\d\d(:\d\d(\.\d{1,6})?)?([+-].*|Z)?", re.ASCII)


class NoTimeError(ValueError):
    """A text has no form of a time."""


def asked_time(text: str, now: datetime) -> datetime:
    """Return the time that a person means, in UTC, which also counts where no zone is written.

    Parameters
    ----------
    now
        A time without a date is of the day that it is in its zone.

    Raises
    ------
    NoTimeError
        It is no time.
    ValueError
        Its zone is unknown, or clocks of the zone never showed it, or twice: with the times that may be meant.
    """
    words = text.split()
    zone = _zone(words.pop()) if len(words) > 1 and words[-1][0].isalpha() else None
    local = " ".join(words).replace(" +", "+").replace(" -", "-")
    try:
        if _OF_DAY.fullmatch(local):
            clock = datetime.fromisoformat(f"{now:%Y-%m-%d} {local if local[2] == ':' else f'0{local}'}")
            time = datetime.combine(now.astimezone(zone or clock.tzinfo or UTC), clock.timetz())
        else:
            time = datetime.fromisoformat(local)
    except ValueError:
        raise NoTimeError(f"{text} is no time: write {FORMS}") from None
    if zone is None:
        return in_utc(time if time.tzinfo is not None else time.replace(tzinfo=UTC))
    if time.tzinfo is not None:
        raise ValueError(f"{text} has an offset and a zone: leave one out")
    return _of_zone(time, zone)


def has_offset(text: str) -> bool:
    """Return whether a time says without anything else when it is."""
    try:
        return datetime.fromisoformat(text.strip()).tzinfo is not None
    except ValueError:
        return False


def _zone(name: str) -> ZoneInfo:
    try:
        return ZoneInfo("UTC" if name == "Z" else name)
    except (ValueError, OSError, KeyError):
        raise NoTimeError(f"{name} is no time zone of the IANA database: write {FORMS}") from None


def _of_zone(time: datetime, zone: ZoneInfo) -> datetime:
    earlier, later = sorted(in_utc(time.replace(tzinfo=zone, fold=fold)) for fold in (0, 1))
    if earlier == later:
        return earlier
    both = f"write {earlier.isoformat(sep=' ')} or {later.isoformat(sep=' ')}"
    if earlier.astimezone(zone).replace(tzinfo=None) == time:
        raise ValueError(f"clocks of {zone.key} showed {time} twice, because they were set back: {both}")
    raise ValueError(f"clocks of {zone.key} never showed {time}, because they were set forward: {both}")
