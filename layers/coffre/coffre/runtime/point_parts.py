"""The parts of a restore point: what a backup of buckets knows of its point, and who seals it."""

from __future__ import annotations

from coffre.model.backup import Backup
from coffre.model.errors import BackupStateError, CoffreError, EventError
from coffre.model.points import PartOf, PointRecord
from coffre.operations.backup_buckets.references import PointOfRun
from coffre.operations.points.seal import seal_earlier, seal_point
from coffre.operations.runs.admission import Result, RunOutcome
from coffre.runtime.bootstrap import Services
from coffre.runtime.events.backup import BackupStorageEvent
from coffre.runtime.function import utc_now
from coffre.runtime.observability import log_failure
from coffre.vault.points import read_references


def point_of_part(services: Services, wanted: BackupStorageEvent) -> PointRecord | None:
    """Return the point that an event's backup of buckets is a part of; None: of none.

    Raises
    ------
    EventError
        `POINT_UNKNOWN`: it was not begun, or this backup is no part of it.
    """
    if wanted.point is None or wanted.point_id is None:
        return None
    record = services.catalog.points.find(wanted.point_id)
    part = record.part(wanted.target or "") if record is not None and record.name == wanted.point else None
    if record is None or part is None or part.backup_id != wanted.backup_id:
        raise EventError(
            f'No restore point "{wanted.point}" with this id has this backup of {wanted.target} as a part.',
            code="POINT_UNKNOWN",
            hint=f"The backup of the database starts it: coffre backup point {wanted.point}",
        )
    return record


def point_of_run(services: Services, record: PointRecord) -> PointOfRun:
    """Return what a backup of buckets needs to know of its point."""
    store = services.vault.store
    known = record.references is not None
    return PointOfRun(
        part_of=PartOf(name=record.name, id=record.id),
        taken_at=record.taken_at,
        references=(lambda after: read_references(store, record.lists, after)) if known else None,
        listing=record.listing,
    )


def refuse_skipped(result: Result, wanted: BackupStorageEvent) -> Result:
    """Raise if a part of a point was not taken because another run of the target is in progress: Lambda tries again.

    Raises
    ------
    BackupStateError
        `POINT_PART_SKIPPED`
    """
    if wanted.point is not None and result.outcome is RunOutcome.SKIPPED and result.backup.id != wanted.backup_id:
        raise BackupStateError(
            f"The backup of {wanted.target} for the restore point {wanted.point} was not taken: {result.reason}.",
            code="POINT_PART_SKIPPED",
            hint="Lambda tries it again twice, within minutes. Otherwise take the point again: "
            f"coffre backup point {wanted.point}",
        )
    return result


def seal_after(services: Services, backup: Backup) -> None:
    """Seal the point of a backup that is COMPLETED, if it is the last part. An error is logged: the backup is good."""
    if backup.point is None:
        return
    try:
        sealed = seal_point(services.catalog, services.vault, backup.point, utc_now())
    except CoffreError as error:
        log_failure(services.edge.logger, error, target=backup.target, backup_id=backup.id, point=backup.point)
        return
    if sealed is not None and sealed.sealed_at is not None:
        _log_sealed(services, sealed)


def seal_left(services: Services, name: str) -> None:
    """Seal points of this name whose last part could not: its function was killed, or the vault did not answer then."""
    for point in seal_earlier(services.catalog, services.vault, name, utc_now()):
        _log_sealed(services, point)


def _log_sealed(services: Services, point: PointRecord) -> None:
    about = {"point": point.name, "point_id": point.id, "dangling": point.dangling}
    services.edge.logger.info("restore point sealed", extra=about)
