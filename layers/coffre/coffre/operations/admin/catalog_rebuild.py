"""Rebuild the catalog's records from the manifests and marks of the vault, or of a copy of it.

What only the catalog knew is lost: failed and deleted runs, restores, audit events, slots, and the proof that a
manifest is the one that was written: every manifest is taken for genuine.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime

from coffre.catalog.catalog import Catalog
from coffre.model.backup import Backup, Status
from coffre.model.errors import BackupStateError, IntegrityError
from coffre.operations.stored_backup.backup_in_copy import completed_copy
from coffre.operations.stored_backup.catalog_record import described
from coffre.vault.layout import BACKUPS, MANIFEST, POINTS, point_of, record_of
from coffre.vault.points import read_seal
from coffre.vault.vault import Vault


@dataclass(frozen=True)
class Rebuilt:
    """The result for one manifest or seal: `outcome` is `added`, `known`, or the reason why it was left out."""

    target: str
    backup_id: str
    outcome: str
    backup: Backup | None = None


ADDED = "added"
KNOWN = "known"


def rebuild(
    catalog: Catalog, vault: Vault, *, dry_run: bool = False, copy: str | None = None, now: datetime | None = None
) -> Iterator[Rebuilt]:
    """Add a record for every manifest and every sealed restore point that has none, and yield the result for each.

    It can be repeated.

    An existing record is never changed: a backup that was deleted stays deleted.

    Parameters
    ----------
    vault
        The vault, or a copy of it.
    copy
        The name of the copy that `vault` is: it is recorded which backups it has, so that restores read them there.
        Needs `now`.
    """
    for info in vault.store.list(BACKUPS):
        record = record_of(info.key)
        if record is None or record.name != MANIFEST:
            continue
        found = _find(catalog, record.backup_id)
        if found is not None:
            if copy is not None and now is not None and not dry_run and found.target == record.target:
                _note_copy(catalog, found, copy, now)
            yield Rebuilt(record.target, record.backup_id, _about(found, record.target))
            continue
        try:
            backup = described(vault, record.target, record.backup_id)
        except IntegrityError as error:
            yield Rebuilt(record.target, record.backup_id, f"{error.message} [{error.code}]")
            continue
        if not dry_run:
            catalog.create_backup(backup)
            if copy is not None and now is not None:
                _note_copy(catalog, backup, copy, now)
        yield Rebuilt(record.target, record.backup_id, ADDED, backup)
    yield from _rebuild_points(catalog, vault, dry_run=dry_run)


def _rebuild_points(catalog: Catalog, vault: Vault, *, dry_run: bool) -> Iterator[Rebuilt]:
    """Add a record for every sealed restore point that has none: `target` is its name, `backup_id` its own id.

    A point that the catalog knows as begun alone is sealed in it too: the seal is in the vault.
    """
    for info in vault.store.list(POINTS):
        key = point_of(info.key)
        if key is None or not key.is_seal:
            continue
        known = catalog.points.find(key.id)
        if known is not None and known.sealed_at is not None:
            yield Rebuilt(key.name, key.id, KNOWN)
            continue
        try:
            point = read_seal(vault.store, key.name, key.id)
        except IntegrityError as error:
            yield Rebuilt(key.name, key.id, f"{error.message} [{error.code}]")
            continue
        if point is not None and not dry_run:
            catalog.points.keep(point)
        yield Rebuilt(key.name, key.id, ADDED)


def _note_copy(catalog: Catalog, backup: Backup, name: str, now: datetime) -> None:
    """Record that a copy has a backup, unless a record of it exists."""
    if catalog.copies.find(name, backup.id) is not None:
        return
    catalog.copies.keep(completed_copy(name, backup, now))


def _find(catalog: Catalog, backup_id: str) -> Backup | None:
    try:
        return catalog.get_backup(backup_id)
    except BackupStateError:
        return None


def _about(found: Backup, target: str) -> str:
    if found.target != target:
        return f"the catalog knows a backup of {found.target} by this id"
    return KNOWN if found.status is not Status.FAILED else "the catalog says FAILED"
