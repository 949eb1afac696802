"""Which restore points exist, whether each can be restored, and which references dangle in it."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Final, Protocol

from coffre.catalog.catalog import Catalog
from coffre.model.backup import Backup, Status
from coffre.model.copies import CopyStatus
from coffre.model.errors import BackupStateError, IntegrityError, TargetUnknownError
from coffre.model.points import PointRecord
from coffre.operations.stored_backup.open_backup import manifest_of
from coffre.vault.vault import Vault

# Of an id: fewer characters fit by accident.
_LEAST: Final = 4
_DANGLING: Final = "DANGLING: "


class _Points(Protocol):
    def all(self, name: str | None = None) -> Iterator[PointRecord]: ...


class PointCatalog(Protocol):
    """What is asked of a catalog, or of a vault alone (`VaultBackups`)."""

    @property
    def points(self) -> _Points: ...

    def get_backup(self, backup_id: str) -> Backup: ...


def find_backup(catalog: PointCatalog, backup_id: str) -> Backup | None:
    """Return a backup's record, if there is one that can be read."""
    try:
        return catalog.get_backup(backup_id)
    except (BackupStateError, IntegrityError):
        return None


def whole_points(catalog: PointCatalog, name: str | None = None) -> Iterator[PointRecord]:
    """Yield the points that are whole, the newest first: sealed ones whose backups are all COMPLETED and healthy."""
    for point in catalog.points.all(name):
        if point.sealed_at is not None and not bad_parts(catalog, point):
            yield point


def bad_parts(catalog: PointCatalog, point: PointRecord) -> list[str]:
    """Say which parts of a point are missing, or are known to be damaged; none of a whole point."""
    return [*missing_parts(catalog, point), *damaged_parts(catalog, point)]


def missing_parts(catalog: PointCatalog, point: PointRecord) -> list[str]:
    """Return what prevents that a point is restored: a sentence for each of its backups that is not COMPLETED."""
    said = []
    for part in point.parts:
        which = f"the backup {part.backup_id} of {part.target}"
        try:
            backup = catalog.get_backup(part.backup_id)
        except BackupStateError:
            said.append(f"{which} is not begun")
        except IntegrityError as error:  # of a vault alone, which reads its manifests
            said.append(f"{which} cannot be read: {error.message}")
        else:
            if backup.status is not Status.COMPLETED:
                said.append(f"{which} is {backup.status}")
    return said


def damaged_parts(catalog: PointCatalog, point: PointRecord) -> list[str]:
    """Return what is known to be damaged of a point, which by its id can be restored all the same."""
    backups = (find_backup(catalog, part.backup_id) for part in point.parts)
    return [
        f"the backup {backup.id} of {backup.target} is damaged: {backup.damage or 'coffre show has more'}"
        for backup in backups
        if backup is not None and backup.damaged_at is not None
    ]


def missing_in_copy(catalog: Catalog, point: PointRecord, source: str) -> list[str]:
    """Return what prevents that a point is restored from a copy alone, as far as the catalog knows."""
    said = []
    for part in point.parts:
        copy = catalog.copies.find(source, part.backup_id)
        if copy is None or copy.status is not CopyStatus.COMPLETED:
            said.append(f"the backup {part.backup_id} of {part.target} is not complete in the copy {source}")
    return said


def find_point(
    catalog: PointCatalog, wanted: str, missing: Callable[[PointRecord], list[str]] | None = None
) -> PointRecord:
    """Return the point of an id (its beginning or end is enough), or the newest whole one of a name; `latest`: of all.

    Parameters
    ----------
    missing
        Says what else prevents that a point is restored: such a point is not the newest.

    Raises
    ------
    TargetUnknownError
        `POINT_UNKNOWN`
    """
    points = list(catalog.points.all())
    named = [one for one in points if one.name == wanted]
    if wanted == "latest" or named:
        whole = whole_points(catalog, None if wanted == "latest" else wanted)
        if missing is not None:  # a backup that was deleted from the vault may be complete in a copy
            whole = (one for one in points if one.sealed_at and wanted in ("latest", one.name) and not missing(one))
        found = next(whole, None)
        if found is None:
            raise _unknown(f"No restore point{'' if wanted == 'latest' else f' {wanted}'} is whole yet.")
        return found
    text = wanted.upper()
    fitting = [one for one in points if one.id.startswith(text) or one.id.endswith(text)] if len(text) >= _LEAST else []
    if len(fitting) != 1:
        said = f"{len(fitting)} restore points have an id like {wanted}." if fitting else f"No restore point {wanted}."
        raise _unknown(said)
    return fitting[0]


def _unknown(message: str) -> TargetUnknownError:
    return TargetUnknownError(
        message, code="POINT_UNKNOWN", hint="`coffre list --points` shows them, and why one is not whole."
    )


def dangling_references(vault: Vault, backup: Backup) -> Iterator[tuple[str, str]]:
    """Yield the name (`<bucket>/<key>`) of each object of a part that is not as the point's rows mean it, and why."""
    for entry in vault.entries(manifest_of(vault, backup)):
        facts = entry.object
        if facts is not None and facts.dangling is not None:
            yield entry.name, facts.dangling
        elif facts is not None and facts.unread is not None and facts.unread.startswith(_DANGLING):
            yield entry.name, facts.unread.removeprefix(_DANGLING)
