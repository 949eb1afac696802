"""Seal a restore point when all of its backups are COMPLETED."""

from __future__ import annotations

from datetime import datetime
from itertools import islice
from typing import Final

from coffre.catalog.catalog import Catalog
from coffre.model.backup import Backup, Status
from coffre.model.points import PointPart, PointRecord
from coffre.operations.points.find import find_backup
from coffre.operations.stored_backup.open_backup import manifest_of
from coffre.vault.points import read_seal, write_seal
from coffre.vault.vault import Vault

# Points of which a part failed wait for ever: no more of them are looked at each time.
_WAITING: Final = 10


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


def seal_earlier(catalog: Catalog, vault: Vault, name: str, now: datetime) -> list[PointRecord]:
    """Seal points of this name that wait for it: whose last part ended before it could. The newest ones are looked at.

    Raises
    ------
    CoffreError
        As `seal_point`.
    """
    waiting = islice((one for one in catalog.points.all(name) if one.sealed_at is None), _WAITING)
    found = (seal_point(catalog, vault, one.id, now) for one in waiting)
    return [one for one in found if one is not None and one.sealed_at is not None]


def _described(vault: Vault, part: PointPart, backup: Backup) -> PointPart:
    manifest = manifest_of(vault, backup)
    counts = manifest.point.counts if manifest.point else None
    return part.model_copy(update={"manifest_sha256": backup.manifest_sha256, "counts": counts})
