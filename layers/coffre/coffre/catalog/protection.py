"""What protects a backup besides its tiers: a hold, and the locks of its objects (docs/immutability.md)."""

from __future__ import annotations

import contextlib
from collections.abc import Mapping
from datetime import datetime

from coffre.catalog.run_items import BackupItem
from coffre.catalog.runs import Runs
from coffre.catalog.tables import ConditionFailedError
from coffre.model.backup import Backup, HoldProgress, Status
from coffre.model.errors import BackupStateError
from coffre.model.locks import LockProgress


class Protection:
    """Holds and locks on the records of backups."""

    def __init__(self, backups: Runs[Backup]) -> None:
        self._backups = backups

    def hold(self, backup_id: str, reason: str | None, now: datetime) -> Backup:
        """Put a COMPLETED backup on hold, and return it. An existing hold keeps its time and reason.

        Raises
        ------
        BackupStateError
            `BACKUP_UNKNOWN`; `BACKUP_STATE`: it is not COMPLETED.
        """
        fields = {"held_at": now, "hold": reason}
        try:
            return self._backups.change(
                backup_id, fields, allowed=(Status.COMPLETED,), where=BackupItem.held_at.does_not_exist()
            )
        except ConditionFailedError as error:
            found = self._backups.get(backup_id)
            if found.status is Status.COMPLETED and found.held_at is not None:
                return found
            raise _refused(found, "only a COMPLETED one can be put on hold") from error

    def note_hold(self, backup_id: str, progress: HoldProgress) -> Backup:
        """Record how far setting or removing the legal holds of a held backup is."""
        return self._change_held(backup_id, {"hold_progress": progress.model_dump()})

    def release(self, backup_id: str) -> Backup:
        """End the hold of a backup, and return it. Of one that is not on hold nothing changes."""
        return self._change_held(backup_id, {"held_at": None, "hold": None, "hold_progress": None})

    def note_locked(self, backup_id: str, until: datetime) -> Backup:
        """Record that everything a COMPLETED backup refers to is locked at least until then. It only ever grows."""
        fields = {"locked_until": until, "lock_progress": None}
        shorter = BackupItem.locked_until.does_not_exist() | (BackupItem.locked_until < until)
        try:
            return self._backups.change(backup_id, fields, allowed=(Status.COMPLETED,), where=shorter)
        except ConditionFailedError:
            return self._backups.get(backup_id)

    def note_locking(self, backup_id: str, progress: LockProgress) -> None:
        """Record how far an extension is, for the next rotation to continue. Of a backup that is gone nothing is."""
        with contextlib.suppress(ConditionFailedError):
            self._backups.change(backup_id, {"lock_progress": progress.model_dump()}, allowed=(Status.COMPLETED,))

    def _change_held(self, backup_id: str, fields: Mapping[str, object]) -> Backup:
        try:
            return self._backups.change(
                backup_id, fields, allowed=(Status.COMPLETED,), where=BackupItem.held_at.exists()
            )
        except ConditionFailedError:
            return self._backups.get(backup_id)


def _refused(backup: Backup, why: str) -> BackupStateError:
    return BackupStateError(
        f'The backup {backup.id} of "{backup.target}" is {backup.status}: {why}.',
        hint="`coffre list` shows the backups and their states.",
    )
