"""A backup as it is in one copy of the vault: what was recorded of it there counts, and not what the vault has now."""

from __future__ import annotations

from datetime import datetime

from coffre.model.backup import Backup, Status
from coffre.model.copies import Copy, CopyStatus
from coffre.operations.stored_backup.catalog_record import described
from coffre.vault.layout import manifest_key
from coffre.vault.vault import Vault


def as_copied(backup: Backup, copy: Copy) -> Backup:
    """Return the record of a backup in a copy, to be judged and read there.

    Tiers, pins and holds are those of the catalog. It counts as verified if it was proven to be good and the copy was
    found complete; as damaged only if the copy itself is: damage or deletion in the vault says nothing about the copy.

    Parameters
    ----------
    backup
        The catalog's record, of any status, or `described_copy`.
    """
    is_proven = backup.verified_at is not None and copy.damaged is None
    return backup.model_copy(
        update={
            "status": Status.COMPLETED,
            "manifest_key": manifest_key(copy.target, copy.backup_id),
            "manifest_sha256": copy.manifest_sha256 or backup.manifest_sha256,
            "verified_at": copy.verified_at if is_proven else None,
            "damaged_at": None if copy.damaged is None else copy.verified_at or copy.started_at,
            "damage": copy.damaged,
            "locked_until": copy.locked_until,
            "lock_progress": copy.lock_progress,
        }
    )


def described_copy(vault: Vault, copy: Copy) -> Backup:
    """Return the record of a backup that the catalog does not know, from its manifest in the copy; nothing proves it.

    Raises
    ------
    IntegrityError
        The manifest cannot be read.
    """
    return described(vault, copy.target, copy.backup_id).model_copy(update={"verified_at": None})


def completed_copy(name: str, backup: Backup, at: datetime, *, by_command: bool = False) -> Copy:
    """Return the record of a copy that is complete, and of which no more is known."""
    return Copy(
        destination=name,
        backup_id=backup.id,
        target=backup.target,
        status=CopyStatus.COMPLETED,
        started_at=at,
        completed_at=at,
        manifest_sha256=backup.manifest_sha256,
        by_command=by_command,
    )
