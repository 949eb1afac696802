"""Until when the objects of a backup have to be locked: a pure decision (docs/immutability.md).

The lock follows the longest tier of every backup that refers to an object. Where no end is known (a pin, a backup taken
by hand without an end, a tier kept by number, a backup that rotation holds back) the lock is bounded all the same:
`ROLLING` from now, which rotation extends before it ends. So nothing is ever locked for ever.
"""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime, time, timedelta
from typing import Final

from coffre.model.backup import Backup, Tier
from coffre.model.errors import ConfigurationError
from coffre.model.retention import Retention
from coffre.model.tier import KEPT_BY_RETENTION

# What a run stores is locked for this long at first, and until its real end right before the manifest is written: what
# a failed run leaves must not stay for a year.
FIRST: Final = timedelta(days=7)
ROLLING: Final = timedelta(days=30)
# Rotation runs daily: a rolling lock is extended once in two weeks, and the check of it has a week's notice.
_EXTENDED_BEFORE: Final = timedelta(days=15)
_LEAST: Final = timedelta(days=7)
# Ends are midnights (UTC): backups of the same day need no extension of each other's packs.
_ROUNDED_BY: Final = timedelta(days=1)


def first_lock_until(backup: Backup, retention: Retention, now: datetime) -> datetime:
    """Return until when a run locks what it stores, before it is known whether a backup comes of it."""
    return min(_midnight(now + FIRST), lock_until(backup, retention, now))


def lock_until(backup: Backup, retention: Retention | None, now: datetime, *, held_back: bool = False) -> datetime:
    """Return until when everything that a backup refers to is to be locked, as a midnight.

    Parameters
    ----------
    retention
        That of its target; None when the target is not configured any more: rotation then deletes nothing of it.
    held_back
        Rotation keeps it although its tiers have ended.
    """
    ends = [*_ends(backup, retention)]
    if held_back or _is_endless(backup, retention):
        ends.append(now + ROLLING)
    return _midnight(max(ends, default=backup.created_at))


def extension_of(
    backup: Backup, retention: Retention | None, now: datetime, *, held_back: bool = False
) -> datetime | None:
    """Return until when the locks of a backup have to be extended now; None: `backup.locked_until` is enough."""
    known, ends = backup.locked_until, [*_ends(backup, retention)]
    if held_back or _is_endless(backup, retention):
        ends.append(now + _EXTENDED_BEFORE)
    needed = max((end for end in ends if end > now), default=None)
    if needed is None or (known is not None and known >= needed):
        return None
    return lock_until(backup, retention, now, held_back=held_back)


def least_until(backup: Backup, retention: Retention | None, now: datetime) -> datetime | None:
    """Return the earliest end of its locks that is in order at this moment; None: they may have ended."""
    ends = [*_ends(backup, retention)]
    if _is_endless(backup, retention):
        ends.append(now + _LEAST)
    return max((end for end in ends if end > now), default=None)


def refuse_longer_than(max_days: int, retention: Retention, target: str) -> None:
    """Refuse a retention whose locks the stack does not allow.

    Raises
    ------
    ConfigurationError
        `LOCK_LIMIT`
    """
    for tier in KEPT_BY_RETENTION:
        days = retention.days(tier) or 0
        if timedelta(days=days) + _ROUNDED_BY > timedelta(days=max_days):
            field = f"{tier.word}_days"
            raise ConfigurationError(
                f'The target "{target}" keeps {days} days ({field}), and the stack allows locks of {max_days} days.',
                code="LOCK_LIMIT",
                hint=f"Deploy with ObjectLockMaxDays={days + 2} or more, or lower {field}.",
            )


def _ends(backup: Backup, retention: Retention | None) -> Iterator[datetime]:
    """Yield the ends that are known: of tiers kept by age, and the one that was asked for."""
    if backup.expires_at is not None:
        yield backup.expires_at
    for tier in backup.tiers:
        if retention is not None and (days := retention.days(tier)) is not None:
            yield backup.created_at + timedelta(days=days)


def _is_endless(backup: Backup, retention: Retention | None) -> bool:
    """Tell whether a backup stays until a person or newer backups say otherwise."""
    if backup.pinned_at is not None or retention is None:
        return True
    if Tier.MANUAL in backup.tiers and backup.expires_at is None:
        return True
    return any(retention.days(tier) is None for tier in backup.tiers if tier is not Tier.MANUAL)


def _midnight(moment: datetime) -> datetime:
    """Return the first midnight (UTC) that is not before it."""
    day = datetime.combine(moment.astimezone(UTC).date(), time(), UTC)
    return day if day == moment else day + _ROUNDED_BY
