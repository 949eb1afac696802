"""Is a copy of the vault complete, and is what it holds good? Pure decisions over records (docs/copies-care.md)."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime, timedelta
from typing import Final

from coffre.model.backup import Backup, Status
from coffre.model.copies import Copy, CopyStatus, Destination
from coffre.model.freshness import Check, Checked, Component

_HOUR: Final = timedelta(hours=1)
# What the records say; the rest is found at the copy itself.
EMPTY, LATE, DAMAGED = "COPY_EMPTY", "COPY_LATE", "COPY_DAMAGED"


def newest_copied(backups: Iterable[Backup], copies: Mapping[str, Copy]) -> Backup | None:
    """Return the newest backup of which the copy is complete and not known to be damaged."""
    copied = (one for one in backups if _is_good(copies.get(one.id)))
    return max(copied, key=lambda backup: (backup.created_at, backup.id), default=None)


def check_copy(
    destination: Destination, target: str, backups: Sequence[Backup], copies: Mapping[str, Copy], now: datetime
) -> Check:
    """Decide whether a copy has the newest backup that it should have by now.

    A copy without any backup of the target is never in order, whatever the reason.

    Parameters
    ----------
    backups
        Of the target, in any order, of any status: a copy can be the last place that has a backup.
    copies
        The records of the destination, by the backup's id.
    """
    name = destination.name
    regular = [one for one in backups if not one.is_safety and one.created_at <= now]
    copied = newest_copied(regular, copies)
    if copied is None:
        text = f'The copy "{name}" has no good backup of {target}.'
        return _check(destination, target, None, now, EMPTY, text)
    allowed = timedelta(minutes=destination.complete_within_minutes)
    late = [
        one
        for one in regular
        if one.status is Status.COMPLETED
        and one.is_healthy
        and one.created_at > copied.created_at
        and now - (one.completed_at or one.created_at) > allowed
        and not _was_deleted(copies.get(one.id))
    ]
    if not late:
        return _check(destination, target, copied, now)
    newest = max(late, key=lambda backup: (backup.created_at, backup.id))
    why = _why(name, target, newest, copies.get(newest.id), allowed)
    return _check(destination, target, copied, now, *why)


def component(checks: Sequence[Check]) -> Component:
    """Put the checks of one component together. Its age is that of the oldest of its newest good backups."""
    if not checks:
        return Component(status="not_configured")
    aged = [check for check in checks if check.check in (Checked.BACKUP, Checked.OFFSITE)]
    oldest = None
    if aged and all(check.last_backup_at is not None for check in aged):
        oldest = max(aged, key=lambda check: check.age_hours or 0)
    return Component(
        status="ok" if all(check.is_ok for check in checks) else "failed",
        last_backup_at=oldest.last_backup_at if oldest else None,
        age_hours=oldest.age_hours if oldest else None,
    )


def _why(name: str, target: str, newest: Backup, copy: Copy | None, allowed: timedelta) -> tuple[str, str]:
    """Return code and text."""
    what = f"The newest backup of {target}, {newest.id}, is"
    if copy is not None and copy.status is CopyStatus.COMPLETED:
        return DAMAGED, f'{what} damaged in the copy "{name}": {copy.damaged}'
    if copy is not None and copy.status is CopyStatus.FAILED and copy.error is not None:
        return LATE, f'{what} not in the copy "{name}": {copy.error}'
    minutes = allowed // timedelta(minutes=1)
    return LATE, f'{what} not in the copy "{name}"; it should have been there within {minutes} minutes.'


def _check(
    destination: Destination,
    target: str,
    copied: Backup | None,
    now: datetime,
    code: str | None = None,
    text: str | None = None,
) -> Check:
    return Check(
        check=Checked.OFFSITE,
        target=target,
        status="failed" if text else "ok",
        copy_name=destination.name,
        code=code,
        last_backup=copied.id if copied else None,
        last_backup_at=copied.created_at if copied else None,
        age_hours=round((now - copied.created_at) / _HOUR, 2) if copied else None,
        text=text,
    )


def _is_good(copy: Copy | None) -> bool:
    return copy is not None and copy.is_good


def _was_deleted(copy: Copy | None) -> bool:
    return copy is not None and copy.status is CopyStatus.DELETED
