"""Which backups have to be in a copy of the vault, and which are late there. Pure decisions (docs/copies.md)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime, timedelta

from coffre.model.backup import Backup, Status
from coffre.model.copies import Copy, CopyStatus, Destination, DirectoryDestination

# A destination that is new in the configuration gets its first copies with the next sweep, which runs daily; what the
# owner's replication has copied is recorded by the inventory, which runs daily too.
_A_DAY = timedelta(hours=26)


def due_copies(backups: Sequence[Backup], copies: Mapping[str, Copy]) -> list[Backup]:
    """Return the backups of one target that have to be copied to one destination, the newest first.

    Until a destination has a copy of the target, that is its newest backup alone. Afterwards it is every backup since
    the oldest one that it ever had, though the vault may have that one no more. Older ones are copied when a person
    asks for it. What a restore has overwritten (SAFETY) stays in the vault: it is kept for days.

    Parameters
    ----------
    backups
        All of the target.
    copies
        The records of the destination, by the backup's id.
    """
    found = sorted((one for one in backups if is_copied(one)), key=lambda one: one.id, reverse=True)
    targets = {one.target for one in found}
    there = {
        copy.backup_id
        for copy in copies.values()
        if copy.status in (CopyStatus.COMPLETED, CopyStatus.DELETED) and copy.target in targets
    }
    wanted = [one for one in found if one.id >= min(there)] if there else found[:1]
    return [one for one in wanted if one.id not in there]


def is_copied(backup: Backup) -> bool:
    """Return whether a backup is one that copies have."""
    return backup.status is Status.COMPLETED and not backup.is_safety


def overdue_copies(
    destination: Destination, backups: Sequence[Backup], copies: Mapping[str, Copy], now: datetime
) -> list[Backup]:
    """Return the due backups that should be in the destination by now, the newest first.

    A directory with no record but those of a command is one that the functions do not have, such as a disk: no one
    expects a copy there within minutes.
    """
    if isinstance(destination.store, DirectoryDestination) and all(copy.by_command for copy in copies.values()):
        return []
    is_new = not any(copy.status is CopyStatus.COMPLETED for copy in copies.values())
    within = timedelta(minutes=destination.complete_within_minutes)
    allowed = max(within, _A_DAY) if is_new or destination.copied_by == "replication" else within
    return [one for one in due_copies(backups, copies) if now - (one.completed_at or one.created_at) > allowed]
