"""Restore points as the functions take them: what a run of the database starts, and who seals."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

from ulid import ULID

from coffre.model.backup import NO_POINT, Backup, Failure, Tier
from coffre.model.configuration import Configuration
from coffre.model.errors import BackupStateError, CoffreError, EventError, TransientError
from coffre.model.point_options import Point
from coffre.model.points import PartOf, PointRecord
from coffre.operations.backup_buckets.references import PointOfRun
from coffre.operations.backup_database.job import SnapshotFindings
from coffre.operations.points.begin import PointJob, begin_point
from coffre.operations.points.seal import seal_earlier, seal_point
from coffre.operations.runs.admission import Result, RunOutcome, gathered_tiers
from coffre.postgres.connection.address import Connection
from coffre.postgres.connection.client_tools import Children
from coffre.runtime.bootstrap import Services
from coffre.runtime.events.backup import BackupDatabaseEvent, BackupStorageEvent, slot_of
from coffre.runtime.function import utc_now
from coffre.runtime.invocations import start_each
from coffre.runtime.observability import log_failure
from coffre.vault.points import read_references


@dataclass
class PointRun:
    """One run of a database that is the first part of a restore point.

    The backups of the buckets are started while the snapshot is held: the sooner they look, the less has changed.
    """

    services: Services
    configuration: Configuration
    point: Point
    wanted: BackupDatabaseEvent
    part_of: PartOf
    has_started: bool = field(default=False, init=False)

    @classmethod
    def of(cls, services: Services, configuration: Configuration, wanted: BackupDatabaseEvent) -> PointRun | None:
        """Return the point that an event's run belongs to; None: to none.

        Every scheduled run of a point's database is one of the point. By hand the event names the point.

        Raises
        ------
        EventError, TargetUnknownError
            The named point is not configured, or has another database.
        """
        if wanted.point is not None:
            point: Point | None = configuration.point(wanted.point)
            if point is not None and point.database != wanted.target:
                raise EventError(
                    f'The restore point "{point.name}" is of the database {point.database}, not of {wanted.target}.',
                    hint=f'Send {{"target": "{point.database}", "point": "{point.name}"}}.',
                )
        else:
            point = configuration.point_of(wanted.target or "") if wanted.scheduled_time is not None else None
        if point is None:
            return None
        part_of = PartOf(name=point.name, id=wanted.point_id or str(ULID.from_datetime(utc_now())))
        return cls(services, configuration, point, wanted, part_of)

    def in_snapshot(
        self, connection: Connection, children: Children, backup: Backup, snapshot: str, taken_at: datetime
    ) -> SnapshotFindings:
        """Begin the point, and start the backups of its buckets. What fails here does not fail the database's."""
        parts = {name: str(ULID.from_datetime(utc_now())) for name in self.point.buckets}
        job = PointJob(
            point=self.point,
            part_of=self.part_of,
            parts=parts,
            buckets=tuple(self.configuration.bucket(name) for name in self.point.buckets),
            connection=connection,
            children=children,
            vault=self.services.vault,
            catalog=self.services.catalog,
            taken_at=taken_at,
        )
        try:
            begun = begin_point(job, backup, snapshot)
            self._start(parts, {"point": self.part_of.name, "point_id": self.part_of.id})
        except Exception as error:  # noqa: BLE001 - the backup of the database does not depend on the point
            children.check()
            log_failure(self.services.edge.logger, error, target=backup.target, backup_id=backup.id)
            failure = Failure.of(error)
            why = f"{failure.message} ({failure.code})"
            return SnapshotFindings(exceptions=(f"{NO_POINT} {self.point.name}: {why}",))
        return SnapshotFindings(notes=tuple(begun.notes), part_of=self.part_of)

    @contextmanager
    def never_without_buckets(self) -> Iterator[dict[str, Any]]:
        """Start the scheduled backups of the buckets without the point, if the database's run has not started them.

        The answer of that run is put into what this yields. A run that joined another leaves it to that one.
        """
        answer: dict[str, Any] = {}
        try:
            yield answer
        finally:
            if not self.has_started and answer.get("outcome") != RunOutcome.JOINED.value:
                self._start_without()

    def _start_without(self) -> None:
        """Start them with every tier that the database's run had: those that joined it leave the buckets to it."""
        slot = self.wanted.scheduled_time
        if slot is None:
            return
        ids, tiers = dict.fromkeys(self.point.buckets), {self.wanted.tier}
        try:
            tiers |= gathered_tiers(self.services.catalog, self.point.database, slot_of(slot) or slot)
        except CoffreError as error:
            log_failure(self.services.edge.logger, error, target=self.point.database)
        for tier in sorted(tiers):
            try:
                self._start(ids, {"scheduled_time": slot, "tier": tier})
            except TransientError as error:
                log_failure(self.services.edge.logger, error, target=self.point.database)

    def _start(self, ids: dict[str, str] | dict[str, None], fields: dict[str, str | datetime | Tier]) -> None:
        sent = self.wanted.sent_by(self.services.actor(self.wanted))
        changes = {"scheduled_time": None, "point": None, "point_id": None, "backup_id": None, **fields}
        events = [
            (name, sent.model_copy(update={**changes, "backup_id": backup_id}).for_target(name))
            for name, backup_id in ids.items()
        ]
        function = self.services.settings.backup_storage_function or "backup-storage"
        start_each(self.services.functions, function, events, "backup")
        self.has_started = True


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
    """Seal the point of a backup that is COMPLETED, if it is the last part, and earlier ones that wait for it.

    An error is logged: the backup is good, and the next point of this name seals what was left.
    """
    if backup.point is None:
        return
    found: list[PointRecord] = []
    try:
        sealed = seal_point(services.catalog, services.vault, backup.point, utc_now())
        if sealed is not None and sealed.sealed_at is not None:
            found = [sealed]
            found += seal_earlier(services.catalog, services.vault, sealed, utc_now())
    except CoffreError as error:
        log_failure(services.edge.logger, error, target=backup.target, backup_id=backup.id, point=backup.point)
    for one in found:
        services.edge.logger.info(
            "restore point sealed", extra={"point": one.name, "point_id": one.id, "dangling": one.dangling}
        )
