"""What a backup's life depends on: pins, verification, damage, deletion. A deleted backup keeps its record for ever."""

from __future__ import annotations

from datetime import datetime
from typing import Any, Final

from pynamodb.expressions.condition import Condition

from coffre.catalog.run_items import BackupItem
from coffre.catalog.runs import Runs
from coffre.catalog.tables import ConditionFailedError
from coffre.model.backup import Backup, Status
from coffre.model.errors import BackupStateError

_KEPT: Final = (Status.IN_PROGRESS, Status.COMPLETED)


class LifecycleMarks:
    """Marks on the records of backups."""

    def __init__(self, backups: Runs[Backup]) -> None:
        self._backups = backups

    def pin(self, backup_id: str, now: datetime) -> Backup:
        """Keep a backup whatever its age, and return it. An existing pin stays as it is.

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

    def mark_verified(
        self, backup_id: str, at: datetime | None, *, seen: Backup | None = None, heals: bool = False
    ) -> Backup:
        """Record that a backup was read back or restored with success `at`; None takes the mark away again.

        Parameters
        ----------
        seen
            The record as it was before the look began: damage that was recorded since then refuses the mark, because
            it is unknown which of the two saw the later state.
        heals
            Every byte of it was read: the damage that was `seen` is gone. Needs `seen`.

        Raises
        ------
        BackupStateError
            `BACKUP_UNKNOWN`, `BACKUP_STATE`: only a COMPLETED backup can be verified; or `BACKUP_DAMAGED`: it is (only
            without `heals`), or damage was recorded since it was `seen`.
        """
        if heals and seen is None:
            raise ValueError("only the damage that was seen before a look began can be healed by it")
        fields: dict[str, Any] = {"verified_at": at, "read_until": None, "read_frames": None}
        where = None
        if at is not None:
            where = _no_damage_since(seen) if seen is not None else BackupItem.damaged_at.does_not_exist()
            if seen is not None and not heals:
                where &= BackupItem.damaged_at.does_not_exist()
        if heals:
            fields |= {"damaged_at": None, "damage": None}
        try:
            return self._backups.change(backup_id, fields, allowed=(Status.COMPLETED,), where=where)
        except ConditionFailedError as error:
            found = self._backups.get(backup_id)
            if found.status is Status.COMPLETED and found.damaged_at is not None:
                raise _damaged(found) from error
            if found.status is Status.COMPLETED:
                raise _looked_at_meanwhile(found) from error
            raise _refused(found, "cannot be verified") from error

    def mark_damaged(self, backup_id: str, damage: str, now: datetime) -> Backup:
        """Record that bytes of a backup are lost or changed; it does not count as verified any more.

        A DELETED one is marked too: others may still point at what it wrote. The first time of damage stays. Each call
        counts, so that a look which began before it cannot call the backup healthy.

        Raises
        ------
        BackupStateError
            `BACKUP_UNKNOWN`, or `BACKUP_STATE`: it was never complete.
        """
        fields = {"damage": damage, "verified_at": None, "read_until": None, "read_frames": None}
        also = (
            BackupItem.damaged_at.set(BackupItem.damaged_at | now),
            BackupItem.damage_count.add(1),
        )
        try:
            return self._backups.change(backup_id, fields, allowed=(Status.COMPLETED, Status.DELETED), also=also)
        except ConditionFailedError as error:
            raise _refused(self._backups.get(backup_id), "cannot be damaged") from error

    def note_read(self, seen: Backup, read_until: str, read_frames: int | None = None) -> Backup:
        """Record up to which entry a reading has found a backup good, for the next one to continue from.

        `read_frames` is how many frames of the entry after that were good too.

        Parameters
        ----------
        seen
            The record as it was before the reading began. What was read before damage was recorded has to be read
            again.

        Raises
        ------
        BackupStateError
            `BACKUP_UNKNOWN`, `BACKUP_STATE`: it is not COMPLETED any more; or `BACKUP_DAMAGED`: damage was recorded
            since it was `seen`.
        """
        try:
            return self._backups.change(
                seen.id,
                {"read_until": read_until, "read_frames": read_frames},
                allowed=(Status.COMPLETED,),
                where=_no_damage_since(seen),
            )
        except ConditionFailedError as error:
            found = self._backups.get(seen.id)
            if found.status is Status.COMPLETED:
                raise (_damaged(found) if found.damaged_at else _looked_at_meanwhile(found)) from error
            raise _refused(found, "cannot be read") from error

    def delete(self, seen: Backup, reason: str, now: datetime) -> Backup:
        """Mark a COMPLETED backup as DELETED if it is still as it was `seen`, and return the record.

        No restore takes it and no later backup points at it any more; the sweep removes its objects. Repeating
        the call is fine.

        Raises
        ------
        BackupStateError
            `BACKUP_UNKNOWN`, or `BACKUP_CHANGED`: it is pinned, on hold, locked, carries another tier, or is in another
            state by now.
        """
        as_seen = BackupItem.pinned_at.does_not_exist() & (BackupItem.tiers == {tier.value for tier in seen.tiers})
        as_seen &= BackupItem.held_at.does_not_exist()
        as_seen &= BackupItem.locked_until.does_not_exist() | (BackupItem.locked_until <= now)
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


def _no_damage_since(seen: Backup) -> Condition:
    """Return the condition that no damage was recorded since the record was read."""
    as_seen: Condition = BackupItem.damage_count == seen.damage_count
    # Records of before this was counted do not have it.
    return as_seen if seen.damage_count else as_seen | BackupItem.damage_count.does_not_exist()


def _looked_at_meanwhile(backup: Backup) -> BackupStateError:
    return BackupStateError(
        f'Damage of the backup {backup.id} of "{backup.target}" was recorded, and healed, while it was being read.',
        code="BACKUP_DAMAGED",
        hint=f"Nothing was changed. Read it once more: coffre verify {backup.id}",
    )


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
