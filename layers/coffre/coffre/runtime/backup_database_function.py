"""The function `backup_database`: which targets an event means, and what each needs."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping
from contextlib import ExitStack
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, Self

from coffre.alerts.alert import AlertKind
from coffre.alerts.anomalies import certificate_expires
from coffre.model.backup import Backup
from coffre.model.configuration import Configuration
from coffre.model.database_target import DatabaseTarget
from coffre.model.manifest import Manifest
from coffre.operations.backup_database.backup import backup_or_spread
from coffre.operations.backup_database.job import DatabaseBackupJob, Spreading
from coffre.operations.monitoring.alerting import Review
from coffre.operations.runs.admission import Request, Result
from coffre.operations.runs.backup_lifecycle import Lifecycle
from coffre.operations.runs.heartbeat import Watch
from coffre.operations.runs.parallel_map import ThreadRunner, width_for
from coffre.operations.runs.run import Run, Spread
from coffre.operations.runs.unfinished_runs import UnfinishedRun, find_unfinished
from coffre.policy.certificates import ends_soon
from coffre.policy.connection_counts import default_streams
from coffre.postgres.connection.address import Connection
from coffre.postgres.connection.certificates import verified_until
from coffre.postgres.connection.client_tools import Children, PostgresTools
from coffre.postgres.connection.connect import connect
from coffre.postgres.connection.poolers import refuse_transaction_pooler
from coffre.runtime.backup_runs import BackupRuns
from coffre.runtime.bootstrap import Services
from coffre.runtime.credentials import checked_connection
from coffre.runtime.environment import PostgresSettings
from coffre.runtime.events.backup import BackupDatabaseEvent, DoctorEvent, parse_database_backup
from coffre.runtime.function import LambdaContext, clearing_seconds, remaining_seconds, utc_now
from coffre.runtime.metering import metered
from coffre.runtime.point_runs import PointRun
from coffre.runtime.scratch import scratch_directory
from coffre.runtime.server_backup import ServerBackup, refuse_server
from coffre.runtime.spread_planning import SpreadPlanning
from coffre.runtime.start_runs import StartRuns
from coffre.vault.codec import FrameEncoder
from coffre.vault.vault import Committed

if TYPE_CHECKING:
    from coffre.runtime.spread_backup import SpreadBackup


@dataclass(frozen=True)
class BackupDatabaseFunction:
    """Everything that lives as long as the function's process.

    `watched` gets the watch of each run. `spreads` says how backups are spread over several functions; None: never.
    """

    services: Services
    tools: PostgresTools
    watched: Callable[[Watch], None] = lambda _: None
    spreads: PostgresSettings | None = None

    @classmethod
    def make(cls, environment: Mapping[str, str]) -> Self:
        """Put the function together from its environment."""
        settings = PostgresSettings.from_env(environment)
        tools = PostgresTools(settings.postgres_home)
        return cls(Services("backup_database", settings), tools, spreads=settings)

    @property
    def _runs(self) -> BackupRuns:
        return BackupRuns(self.services)

    @property
    def _spread(self) -> SpreadBackup:
        from coffre.runtime.spread_backup import SpreadBackup  # here, for few backups wait for it

        return SpreadBackup(self.services, self.spreads, self._job, watched=self.watched)

    @metered
    def handle(self, event: object, context: LambdaContext) -> dict[str, Any]:
        """Back up the event's target, or start one invocation for each target when it names none."""
        with self.services.edge.beginning(context, event):
            wanted = parse_database_backup(event)
            configuration = self.services.configuration()
            if isinstance(wanted, BackupDatabaseEvent) and wanted.target is not None:
                target = configuration.database(wanted.target)
                if target.databases is not None:
                    refuse_server(target, wanted)
                point = PointRun.of(self.services, configuration, wanted)
            elif isinstance(wanted, DoctorEvent):
                return self._look(configuration.database(wanted.target), wanted, context)
            elif isinstance(wanted, BackupDatabaseEvent):
                return StartRuns(self.services, context.function_name).start(wanted, configuration.started_databases)
        if not isinstance(wanted, BackupDatabaseEvent):
            return self._spread.handle(configuration, wanted, context)

        if target.databases is not None:
            server = ServerBackup(self.services, context.function_name)
            return server.start(configuration, target, wanted, context.aws_request_id)

        def run(request: Request) -> Result:
            planning = SpreadPlanning(self.services, self.spreads)
            spreading = planning.spreading(target, self.services.actor(wanted), context)
            return self._run(
                configuration, target, request, context, full=wanted.full, point=point, spreading=spreading
            )

        if point is None:
            return self._runs.back_up(configuration, target, wanted, context, run)
        with point.never_without_buckets() as answer:
            answer.update(self._runs.back_up(configuration, target, wanted, context, run))
        return answer

    def _run(
        self,
        configuration: Configuration,
        target: DatabaseTarget,
        request: Request,
        context: LambdaContext,
        *,
        full: bool,
        point: PointRun | None,
        spreading: Spreading | None,
    ) -> Result:
        children = Children(clearing_seconds(context))
        lifecycle = Lifecycle(
            catalog=self.services.catalog,
            vault=self.services.vault,
            now=utc_now,
            remaining_seconds=remaining_seconds(context),
            stop=children.end_all,
            report_died=self._runs.report_died,
            watched=self.watched,
        )

        def work(run: Run) -> tuple[Manifest, Committed] | Spread:
            # The CA's file is needed until the last session is ended.
            with scratch_directory() as scratch, children.ending():
                job = self._job(configuration, target, children, scratch)
                self._watch_certificate(target.name, job.connection)
                previous = None if full else self._previous(target.name)
                in_snapshot = partial(point.in_snapshot, job.connection, children) if point else None
                unfinished = () if full else self._unfinished(target.name, previous)
                job = replace(job, previous=previous, unfinished=unfinished)
                return backup_or_spread(replace(job, in_snapshot=in_snapshot, spreading=spreading), run)

        return lifecycle.run(request, work)

    def _look(self, target: DatabaseTarget, wanted: DoctorEvent, context: LambdaContext) -> dict[str, Any]:
        """Look for what prevents backups of a target, and return it."""
        # Here, for no backup waits for it.
        from coffre.operations.doctor.database import DatabaseLook
        from coffre.runtime.checkup_readers import readers_of_every_target
        from coffre.runtime.doctor import look_once, see_doctor

        with scratch_directory() as scratch, ExitStack() as stack:
            look = DatabaseLook(
                target=target,
                connection=lambda: self._address(target, scratch),
                client_version=self.tools.version,
                backups=lambda: self.services.catalog.completed_backups(target.name),
                streams=target.limits.streams or default_streams(os.cpu_count() or 1),
                now=utc_now,
            )
            if wanted.journal is not None:
                needed = look.journal_readers(stack, wanted.journal, wanted.slots)
                return look_once(self.services, wanted, needed, context.aws_request_id)
            readers = (
                *look.readers(stack),
                *readers_of_every_target(self.services, target, probe=wanted.probe),
            )
            return see_doctor(self.services, wanted, readers, context.aws_request_id)

    def _previous(self, target: str) -> Backup | None:
        return self.services.catalog.latest_completed(target, damaged_too=True, safety_too=True)

    def _unfinished(self, target: str, previous: Backup | None) -> tuple[UnfinishedRun, ...]:
        return find_unfinished(self.services.catalog, target, previous, utc_now())

    def _job(
        self, configuration: Configuration, target: DatabaseTarget, children: Children, scratch: Path
    ) -> DatabaseBackupJob:
        streams = target.limits.streams or default_streams(os.cpu_count() or 1)
        recipients = configuration.recipients_of(target.name)
        return DatabaseBackupJob(
            target=target,
            connection=children.watching(self._connection(target, scratch)),
            tools=self.tools,
            children=children,
            vault=self.services.vault,
            encoder=FrameEncoder(recipients, level=target.limits.compression_level),
            recipients=recipients,
            scratch=scratch,
            streams=streams,
            runner=ThreadRunner(width_for(streams), children.end_all),
            now=utc_now,
        )

    def _connection(self, target: DatabaseTarget, scratch: Path) -> Connection:
        connection = self._address(target, scratch)
        refuse_transaction_pooler(connection)
        return connection

    def _address(self, target: DatabaseTarget, scratch: Path) -> Connection:
        return checked_connection(self.services.secret, target, scratch)

    def _watch_certificate(self, target: str, connection: Connection) -> None:
        """Report a server's certificate, or the authority that it is checked with, before its end stops the backups."""
        if not connection.sslmode.startswith("verify-"):
            return
        with connect(connection) as session:
            valid = verified_until(session)
        is_due = valid is not None and ends_soon(valid.begins, valid.ends, utc_now())
        alerts = (certificate_expires(target, connection.host, valid.name, valid.ends),) if valid and is_due else ()
        checked = frozenset({(AlertKind.CERTIFICATE_EXPIRES, target)})
        self.services.edge.review(lambda: Review(alerts, checked), target=target)
