"""What a backup's life depends on: pins, verification, deletion. A deleted backup keeps its record for ever."""

from __future__ import annotations

from datetime import datetime
from typing import Final

from coffre.catalog.items import BackupItem
from coffre.catalog.runs import Runs
from coffre.catalog.tables import ConditionFailedError
from coffre.model.backup import Backup, Status
from coffre.model.errors import BackupStateError

_KEPT: Final = (Status.PENDING, Status.IN_PROGRESS, Status.COMPLETED)


class Keeping:
    """Marks on the records of backups."""

    def __init__(self, backups: Runs[Backup]) -> None:
        self._backups = backups

    def pin(self, backup_id: str, now: datetime) -> Backup:
        """Keep a backup whatever its age, and return it. A pin that is there stays as it is.

        Raises
        ------
        BackupStateError
            `BACKUP_UNKNOWN`, or `BACKUP_STATE` when the backup is FAILED or DELETED.
        """
        try:
            return self._backups.change(
                backup_id, {"pinned_at": now}, allowed=_KEPT, where=BackupItem.pinned_at.does_not_exist()
            )
        except ConditionFailedError as error:
            found = self._backups.get(backup_id)
            if found.status in _KEPT and found.pinned_at is not None:
                return found
            raise _refused(found, "cannot be pinned") from error

    def unpin(self, backup_id: str) -> Backup:
        """Let a backup's tiers decide again how long it lives, and return it (errors as for `pin`)."""
        try:
            return self._backups.change(backup_id, {"pinned_at": None}, allowed=_KEPT)
        except ConditionFailedError as error:
            raise _refused(self._backups.get(backup_id), "has no pin that could be removed") from error

    def mark_verified(self, backup_id: str, at: datetime | None) -> Backup:
        """Record that a backup was read back or restored with success `at`; None takes the mark away again.

        Raises
        ------
        BackupStateError
            `BACKUP_UNKNOWN`, or `BACKUP_STATE`: only a COMPLETED backup can be verified.
        """
        try:
            return self._backups.change(backup_id, {"verified_at": at}, allowed=(Status.COMPLETED,))
        except ConditionFailedError as error:
            raise _refused(self._backups.get(backup_id), "cannot be verified") from error

    def delete(self, seen: Backup, reason: str, now: datetime) -> Backup:
        """Mark a COMPLETED backup as DELETED if it is still as it was `seen`, and return the record.

        Nobody restores it and no later backup points at it any more; its objects are for the sweep to remove. Repeating
        the call is fine.

        Raises
        ------
        BackupStateError
            `BACKUP_UNKNOWN`, or `BACKUP_CHANGED`: it is pinned, carries another tier, or is in another state by now.
        """
        as_seen = BackupItem.pinned_at.does_not_exist() & (BackupItem.tiers == {tier.value for tier in seen.tiers})
        fields = {"deleted_at": now, "deletion": reason}
        try:
            return self._backups.change(
                seen.id, fields, allowed=(Status.COMPLETED,), status=Status.DELETED, where=as_seen
            )
        except ConditionFailedError as error:
            found = self._backups.get(seen.id)
            if found.status is Status.DELETED:
                return found
            raise BackupStateError(
                f'The backup {found.id} of "{found.target}" was not deleted: it is not as it was any more.',
                code="BACKUP_CHANGED",
                detail=f"It is {found.status}{', pinned' if found.pinned_at else ''}, tiers: {', '.join(found.tiers)}.",
                hint="A pin protects it (coffre unpin); otherwise look at it again: coffre show " + found.id,
            ) from error


def _refused(backup: Backup, cannot: str) -> BackupStateError:
    return BackupStateError(
        f'The backup {backup.id} of "{backup.target}" is {backup.status} and {cannot}.',
        hint="`coffre list` shows the backups and their states.",
    )
