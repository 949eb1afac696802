"""The catalog's record of a backup, made from the vault."""

from __future__ import annotations

from coffre.model.backup import Backup, Status
from coffre.model.errors import IntegrityError
from coffre.model.manifest import Manifest
from coffre.operations.stored_backup.open_backup import refuse_other_backups
from coffre.vault.damage import read_damage
from coffre.vault.vault import Committed, Vault


def described(vault: Vault, target: str, backup_id: str) -> Backup:
    """Return the record of a backup from its manifest, and from the marks and reports that were stored with it later.

    Raises
    ------
    IntegrityError
        One of them is missing, cannot be read, or is another backup's.
    """
    backup = described_by_manifest(vault, target, backup_id)
    marks = vault.read_marks(target, backup_id)
    damage = read_damage(vault, target, backup_id)
    is_damaged = damage is not None and damage.total > 0
    return backup.model_copy(
        update={
            "tiers": tuple(sorted({*backup.tiers, *marks.tiers})),
            "pinned_at": marks.pinned_at,
            "held_at": marks.held_at,
            "hold": marks.hold,
            "verified_at": None if is_damaged else marks.verified_at,
            "damaged_at": damage.found_at if damage and is_damaged else None,
            "damage": damage.words if damage and is_damaged else None,
        }
    )


def described_by_manifest(vault: Vault, target: str, backup_id: str) -> Backup:
    """Return the record of a backup by its manifest alone; raises what `described` raises."""
    found = vault.find_manifest(target, backup_id)
    if found is None:
        raise IntegrityError(f"The manifest of {backup_id} was deleted while it was read.", code="MANIFEST_MISSING")
    manifest, committed = found
    refuse_other_backups(manifest, committed.key, target, backup_id)
    bare = Backup(
        id=backup_id,
        target=target,
        kind=manifest.kind,
        tiers=manifest.tiers,
        status=Status.COMPLETED,
        created_at=manifest.created_at,
        started_at=manifest.created_at,
        expires_at=manifest.expires_at,
    )
    return completed(bare, manifest, committed)


def completed(backup: Backup, manifest: Manifest, committed: Committed) -> Backup:
    """Return the catalog's record of a committed backup."""
    return backup.model_copy(
        update={
            "status": Status.COMPLETED,
            "tiers": manifest.tiers,
            "completed_at": manifest.completed_at,
            "duration_ms": int((manifest.completed_at - manifest.created_at).total_seconds() * 1000),
            "plaintext_bytes": manifest.plaintext_bytes,
            "stored_bytes": manifest.stored_bytes,
            "manifest_key": committed.key,
            "manifest_sha256": committed.sha256,
            "locked_until": manifest.locked_until,
            "encryption": manifest.encryption,
            "exceptions": manifest.exceptions,
            "notes": manifest.notes,
            "point": manifest.point.id if manifest.point else None,
            "point_name": manifest.point.name if manifest.point else None,
            **_contents(manifest),
        }
    )


def _contents(manifest: Manifest) -> dict[str, int | str]:
    if manifest.kind.has_objects:
        return {"objects": manifest.storage.objects, "unread": manifest.storage.unread}
    content = manifest.database
    return {"tables": len(content.tables), "rows": manifest.rows, "source_version": content.server_version}
