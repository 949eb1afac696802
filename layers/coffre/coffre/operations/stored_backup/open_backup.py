"""Opens a stored backup: it must be completed, and its manifest the one that the catalog recorded."""

from __future__ import annotations

from coffre.model.backup import Backup, Status
from coffre.model.errors import BackupStateError, IntegrityError
from coffre.model.kinds import TargetKind
from coffre.model.manifest import Manifest
from coffre.vault.vault import Vault


def open_manifest(vault: Vault, backup: Backup) -> Manifest:
    """Return the manifest of a completed backup, checked against the catalog.

    Raises
    ------
    BackupStateError
        The backup is not completed.
    IntegrityError
        What `manifest_of` raises.
    """
    refuse_unrestorable(backup)
    return manifest_of(vault, backup)


def manifest_of(vault: Vault, backup: Backup) -> Manifest:
    """Return the manifest that the catalog recorded, in any state of the backup.

    Raises
    ------
    IntegrityError
        As `Vault.read_manifest`, and `MANIFEST_SWAPPED` for a manifest that is another backup's by its own content.
    """
    manifest = vault.read_manifest(backup.manifest_key or "", sha256=backup.manifest_sha256 or "")
    refuse_other_backups(manifest, backup.manifest_key or "", backup.target, backup.id)
    return manifest


def refuse_other_backups(manifest: Manifest, key: str, target: str, backup_id: str) -> None:
    """Refuse a manifest that, by its own content, is not the one of the backup under whose key it was found.

    Raises
    ------
    IntegrityError
        `MANIFEST_SWAPPED`
    """
    if (manifest.target, manifest.backup_id) != (target, backup_id):
        raise IntegrityError(
            f"The manifest {key} is of backup {manifest.backup_id} of {manifest.target}, not of {backup_id} of "
            f"{target}.",
            code="MANIFEST_SWAPPED",
            hint="The vault was changed. Use an older backup, and find out who can write to the bucket.",
        )


def refuse_unrestorable(backup: Backup) -> None:
    """Refuse a backup that is not COMPLETED.

    Raises
    ------
    BackupStateError
        Code `BACKUP_NOT_COMPLETED`.
    """
    if backup.status is Status.COMPLETED and backup.manifest_key and backup.manifest_sha256:
        return
    why = {
        Status.FAILED: f"it failed ({backup.failure.code}: {backup.failure.message})"
        if backup.failure
        else "it failed",
        Status.DELETED: "it was deleted",
    }.get(backup.status, "it is still running")
    raise BackupStateError(
        f"Backup {backup.id} of {backup.target} cannot be restored: {why}.",
        code="BACKUP_NOT_COMPLETED",
        hint=f"Choose a COMPLETED one: coffre list {backup.target} --status COMPLETED.",
    )


def refuse_database(backup: Backup) -> None:
    """Refuse the backup of a database where a bucket backup is needed.

    Raises
    ------
    BackupStateError
        `BACKUP_KIND`
    """
    if backup.kind is not TargetKind.BUCKET:
        raise BackupStateError(
            f'Backup {backup.id} is a backup of the {backup.kind} "{backup.target}", not of buckets.',
            code="BACKUP_KIND",
            hint=f"Restore it with: coffre restore {backup.kind.word} {backup.id}"
            if backup.kind.has_objects
            else "Choose another backup: coffre list",
        )
