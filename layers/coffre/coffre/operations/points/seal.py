"""Seal a restore point when all of its backups are COMPLETED, and what can be said of points later."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import datetime

from coffre.catalog.catalog import Catalog
from coffre.model.backup import Backup, Status
from coffre.model.errors import BackupStateError, TargetUnknownError
from coffre.model.points import PointPart, PointRecord
from coffre.operations.stored_backup.open import manifest_of
from coffre.vault.points import read_seal, write_seal
from coffre.vault.vault import Vault


def seal_point(catalog: Catalog, vault: Vault, point_id: str, now: datetime) -> PointRecord | None:
    """Seal a point if all its parts are COMPLETED, in the vault and then in the catalog; None: a part is missing.

    Each part calls it at its end, so the last one seals. Repeating it is fine.

    Raises
    ------
    CoffreError
        It is not sealed. The backups themselves do not depend on it.
    """
    point = catalog.points.find(point_id)
    if point is None or point.sealed_at is not None:
        return point
    parts = []
    for part in point.parts:
        backup = find_backup(catalog, part.backup_id)
        if backup is None or backup.status is not Status.COMPLETED or backup.point != point_id:
            return None
        parts.append(_described(vault, part, backup))
    sealed = read_seal(vault.store, point.name, point.id)  # by another part, which could not record it
    if sealed is None:
        sealed = point.model_copy(update={"parts": tuple(parts), "sealed_at": now})
        write_seal(vault.store, sealed)
    catalog.points.keep(sealed)
    return sealed


def _described(vault: Vault, part: PointPart, backup: Backup) -> PointPart:
    manifest = manifest_of(vault, backup)
    counts = manifest.point.counts if manifest.point else None
    return part.model_copy(update={"manifest_sha256": backup.manifest_sha256, "counts": counts})


def find_backup(catalog: Catalog, backup_id: str) -> Backup | None:
    """Return a backup's record, if there is one."""
    try:
        return catalog.get_backup(backup_id)
    except BackupStateError:
        return None


def whole_points(catalog: Catalog, name: str | None = None) -> Iterator[PointRecord]:
    """Yield the points that can be restored, the newest first: sealed ones whose backups are all COMPLETED."""
    for point in catalog.points.all(name):
        if point.sealed_at is not None and not missing_parts(catalog, point):
            yield point


def missing_parts(catalog: Catalog, point: PointRecord) -> list[str]:
    """Return what prevents that a point is restored: a sentence for each of its backups that is not COMPLETED."""
    said = []
    for part in point.parts:
        backup = find_backup(catalog, part.backup_id)
        if backup is None or backup.status is not Status.COMPLETED:
            said.append(f"the backup {part.backup_id} of {part.target} is {backup.status if backup else 'not begun'}")
    return said


def find_point(catalog: Catalog, wanted: str) -> PointRecord:
    """Return the point of an id (its beginning or end is enough), or the newest whole one of a name; `latest`: of all.

    Raises
    ------
    TargetUnknownError
        `POINT_UNKNOWN`
    """
    points = list(catalog.points.all())
    named = [one for one in points if one.name == wanted]
    if wanted == "latest" or named:
        found = next(whole_points(catalog, None if wanted == "latest" else wanted), None)
        if found is None:
            raise _unknown(f"No restore point{'' if wanted == 'latest' else f' {wanted}'} is whole yet.")
        return found
    text = wanted.upper()
    fitting = [one for one in points if one.id.startswith(text) or one.id.endswith(text)] if len(text) >= 4 else []
    if len(fitting) != 1:
        said = f"{len(fitting)} restore points have an id like {wanted}." if fitting else f"No restore point {wanted}."
        raise _unknown(said)
    return fitting[0]


def _unknown(message: str) -> TargetUnknownError:
    return TargetUnknownError(
        message, code="POINT_UNKNOWN", hint="`coffre list --points` shows them, and why one is not whole."
    )
