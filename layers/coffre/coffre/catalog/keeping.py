"""What a backup's life depends on: pins, verification, damage, deletion. A deleted backup keeps its record for ever."""

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

    def mark_verified(self, backup_id: str, at: datetime | None, *, heals: bool = False) -> Backup:
        """Record that a backup was read back or restored with success `at`; None takes the mark away again.

        Parameters
        ----------
        heals
            Every byte of it was read: if it was known to be damaged, it is not any more.

        Raises
        ------
        BackupStateError
            `BACKUP_UNKNOWN`, `BACKUP_STATE`: only a COMPLETED backup can be verified; or `BACKUP_DAMAGED` (only without
            `heals`).
        """
        fields = {"verified_at": at, "read_until": None}
        if heals:
            fields |= {"damaged_at": None, "damage": None}
        where = None if heals or at is None else BackupItem.damaged_at.does_not_exist()
        try:
            return self._backups.change(backup_id, fields, allowed=(Status.COMPLETED,), where=where)
        except ConditionFailedError as error:
            found = self._backups.get(backup_id)
            if found.status is Status.COMPLETED and found.damaged_at is not None:
                raise _damaged(found) from error
            raise _refused(found, "cannot be verified") from error

    def mark_damaged(self, backup_id: str, damage: str, now: datetime) -> Backup:
        """Record that bytes of a backup are lost or changed; it does not count as verified any more.

        A DELETED one is marked too: others may still point at what it wrote. The first time of damage stays.

        Raises
        ------
        BackupStateError
            `BACKUP_UNKNOWN`, or `BACKUP_STATE`: it was never complete.
        """
        known = self._backups.get(backup_id)
        fields = {
            "damaged_at": known.damaged_at or now,
            "damage": damage,
            "verified_at": None,
            "read_until": None,
        }
        try:
            return self._backups.change(backup_id, fields, allowed=(Status.COMPLETED, Status.DELETED))
        except ConditionFailedError as error:
            raise _refused(self._backups.get(backup_id), "cannot be damaged") from error

    def note_read(self, backup_id: str, read_until: str) -> Backup:
        """Record up to which entry a reading has found a backup good, for the next one to go on from.

        Raises
        ------
        BackupStateError
            `BACKUP_UNKNOWN`, or `BACKUP_STATE`: it is not COMPLETED any more.
        """
        try:
            return self._backups.change(backup_id, {"read_until": read_until}, allowed=(Status.COMPLETED,))
        except ConditionFailedError as error:
            raise _refused(self._backups.get(backup_id), "cannot be read") from error

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


def _damaged(backup: Backup) -> BackupStateError:
    return BackupStateError(
        f'The backup {backup.id} of "{backup.target}" is damaged and cannot be verified: {backup.damage}',
        code="BACKUP_DAMAGED",
        hint=f"If it was mended, read all of it back: coffre verify {backup.id}",
    )


def _refused(backup: Backup, cannot: str) -> BackupStateError:
    return BackupStateError(
        f'The backup {backup.id} of "{backup.target}" is {backup.status} and {cannot}.',
        hint="`coffre list` shows the backups and their states.",
    )
