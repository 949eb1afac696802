"""Refuses to delete what a hold or a lock protects."""

from __future__ import annotations

from datetime import datetime

from coffre.model.backup import Backup
from coffre.model.errors import BackupStateError


def refuse_protected(backup: Backup, now: datetime) -> None:
    """Refuse the deletion of a backup that is on hold, or whose objects are locked.

    Raises
    ------
    BackupStateError
        `BACKUP_HELD`, `BACKUP_LOCKED`
    """
    if backup.held_at is not None:
        why = f": {backup.hold}" if backup.hold else ""
        raise BackupStateError(
            f'The backup {backup.id} of "{backup.target}" is on hold since {backup.held_at:%Y-%m-%d %H:%M} UTC{why}.',
            code="BACKUP_HELD",
            hint=f"If the reason is over, release it first: coffre release {backup.id}",
        )
    if backup.locked_until is not None and backup.locked_until > now:
        raise BackupStateError(
            f'The backup {backup.id} of "{backup.target}" is locked until {backup.locked_until:%Y-%m-%d %H:%M} UTC '
            "(Object Lock): nothing of it can be deleted before.",
            code="BACKUP_LOCKED",
            hint="Unless something else keeps it, rotation deletes it when its tiers and its lock have ended "
            "(docs/immutability.md).",
        )
