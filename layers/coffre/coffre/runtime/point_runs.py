"""Restore points as the functions take them: what a run of the database starts."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

from ulid import ULID

from coffre.model.backup import NO_POINT, Backup, Failure, Tier
from coffre.model.configuration import Configuration
from coffre.model.errors import CoffreError, EventError, TransientError
from coffre.model.point_options import Point
from coffre.model.points import PartOf
from coffre.operations.backup_database.job import SnapshotFindings
from coffre.operations.points.begin import PointJob, begin_point
from coffre.operations.runs.admission import RunOutcome, gathered_tiers
from coffre.postgres.connection.address import Connection
from coffre.postgres.connection.client_tools import Children
from coffre.runtime.bootstrap import Services
from coffre.runtime.events.backup import BackupDatabaseEvent, slot_of
from coffre.runtime.function import utc_now
from coffre.runtime.invocations import start_each
from coffre.runtime.observability import log_failure
from coffre.runtime.point_parts import seal_left


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
        services.edge.attempt("points", lambda: seal_left(services, point.name))
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
