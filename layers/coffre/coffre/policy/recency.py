"""Which backup is the newest: a decision over times that Coffre's functions wrote, never over ids, which are chosen."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import datetime, timedelta
from typing import Final

from ulid import ULID

from coffre.model.backup import Backup
from coffre.model.errors import EventError

# Clocks of functions and of who asks differ by seconds at most: a backup that has just been completed is the newest.
_CLOCKS_DIFFER: Final = timedelta(minutes=5)
# An event can wait for 6 hours before it is delivered, and a clock that shows another zone's time is off by up to 14.
ID_WITHIN: Final = timedelta(hours=14)

type Completion = tuple[datetime, datetime, str]


def completion(backup: Backup) -> Completion:
    """Return when a backup was completed; what follows makes an order of any two."""
    return backup.completed_at or backup.created_at, backup.created_at, backup.id


def recency(backup: Backup, now: datetime) -> tuple[bool, Completion]:
    """Return what backups are ordered by: when they were completed.

    One of the future, which a clock that ran ahead has left, comes before all others: it would be the newest for ever.
    """
    completed = completion(backup)
    return completed[0] <= now + _CLOCKS_DIFFER, completed


def newest_first(backups: Iterable[Backup], now: datetime) -> list[Backup]:
    """Return backups in the order of their completion, the newest first and those of the future last."""
    return sorted(backups, key=lambda backup: recency(backup, now), reverse=True)


def refuse_distant_id(name: str, run_id: str, now: datetime) -> None:
    """Refuse an id that a caller chose for a new run, and whose time is not about now.

    Parameters
    ----------
    name
        The event's field.

    Raises
    ------
    EventError
        `ID_NOT_OF_NOW`
    """
    hours = ID_WITHIN // timedelta(hours=1)
    try:
        time = ULID.from_str(run_id).datetime
    except (ValueError, OverflowError):  # beyond the year 9999
        time = None
    if time is None or abs(now - time) > ID_WITHIN:
        raise EventError(
            f"The {name} {run_id} is not an id of this hour: a new run needs one whose time is about now.",
            code="ID_NOT_OF_NOW",
            detail=f"Its time is {f'{time:%Y-%m-%d %H:%M} UTC' if time else 'beyond the year 9999'}; "
            f"here it is {now:%Y-%m-%d %H:%M} UTC. {hours} hours are allowed.",
            hint="Make a new ULID, or leave the field out. If it was made just now, that machine's clock is wrong.",
        )
