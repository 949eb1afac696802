"""The function `drill`: which backup an event means, where its report goes, and which alerts follow."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, Final, Self

from coffre.alerts.alert import Alert
from coffre.alerts.drills import drill_stopped
from coffre.model.backup import Backup, Failure
from coffre.model.configuration import Configuration
from coffre.model.database_target import DatabaseTarget
from coffre.model.drill_options import BucketDrill, Drill
from coffre.model.drill_report import DrillReport, DrillState
from coffre.model.errors import BackupStateError, CoffreError, EventError, RunCancelledError
from coffre.model.kinds import TargetKind
from coffre.operations.drill.job import DrillJob, Proving
from coffre.operations.drill.scratch_bucket import ScratchPlace
from coffre.operations.drill.sealed_bucket import SealedBucket
from coffre.operations.monitoring.alerting import what_is_safe
from coffre.operations.runs.heartbeat import Watch
from coffre.operations.runs.parallel_map import ThreadRunner
from coffre.operations.stored_backup.open_backup import refuse_unrestorable
from coffre.postgres.connection.client_tools import Children, PostgresTools
from coffre.runtime.bootstrap import Services
from coffre.runtime.drill_copies import DrilledCopy, find_copy, open_copy
from coffre.runtime.drill_results import cancelled_summary, record_drill, report_drill, summary
from coffre.runtime.drill_running import DrillRunning
from coffre.runtime.environment import PostgresSettings
from coffre.runtime.events.drill import DrillEvent
from coffre.runtime.function import LambdaContext, clearing_seconds, remaining_seconds, utc_now
from coffre.runtime.invocations import start_each, start_next
from coffre.runtime.metering import metered
from coffre.runtime.rehearsals import note_rehearsal
from coffre.runtime.scratch import scratch_directory
from coffre.stores.s3_client import make_client
from coffre.vault.reports import DrillReports
from coffre.vault.vault import Vault

if TYPE_CHECKING:
    from coffre.postgres.scratch.given_server import GivenServer

_LOOK: Final = "List the backups: coffre list"
# Objects that are restored at the same time: requests take the time, not bytes.
OBJECT_STREAMS: Final = 8


@dataclass(frozen=True)
class DrillFunction:
    """Everything that lives as long as the function's process. `place` is where objects are restored to.

    `given` is the server that databases are restored into, if it is not one of the drill's own; `watched` gets the
    watch of each drill.
    """

    services: Services
    tools: PostgresTools
    place: ScratchPlace
    object_streams: int = OBJECT_STREAMS
    given: GivenServer | None = None
    watched: Callable[[Watch], None] = lambda _: None

    @classmethod
    def make(cls, environment: Mapping[str, str]) -> Self:
        """Put the function together from its environment."""
        settings = PostgresSettings.from_env(environment)
        services = Services("drill", settings)
        return cls(services, PostgresTools(settings.postgres_home), scratch_place(services))

    @metered
    def handle(self, event: object, context: LambdaContext) -> dict[str, Any]:
        """Drill the event's backup, or start one invocation for each target when it names none."""
        request_id = context.aws_request_id
        with self.services.edge.beginning(context, event):
            wanted = DrillEvent.parse(event)
            configuration = self.services.configuration()
            if wanted.rehearsed is not None:
                return note_rehearsal(self.services, configuration, wanted, wanted.rehearsed)
            if wanted.backup_id is None and wanted.target is None:
                return self._start_each(configuration, wanted, context.function_name)
        ids = {"request_id": request_id, "target": wanted.target, "backup_id": wanted.backup_id}
        with self.services.edge.reporting(lambda error: self._not_begun(wanted, error, request_id), **ids):
            backup = self._find(configuration, wanted)
        with self.services.edge.reporting(lambda error: self._stopped(backup, error, request_id), **ids):
            self.services.metering.about(backup.target)
            copied = find_copy(self.services, configuration, wanted, backup.target)
            if copied is not None:
                backup = copied.backup
            running = DrillRunning.of(self.services, backup, wanted.drill_id)
            try:
                with running.recorded():
                    report = self._drill(configuration, running, backup, wanted, context, copied)
            except RunCancelledError as error:
                return cancelled_summary(running.run, error)
            if isinstance(report, DrillState):
                return self._continue(report, wanted, context.function_name, copied)
            record_drill(self.services, backup, report, copied)
            running.end()
        report_drill(self.services, backup, report, request_id)
        return summary(report)

    def _not_begun(self, wanted: DrillEvent, error: Exception, request_id: str) -> Alert:
        """Return the alert about a drill of which it is not known what it is about: by an id alone, a request failed.

        It says nothing of any target, and no drill would end it.
        """
        if wanted.target is None and isinstance(error, CoffreError):
            return self.services.edge.refused(self.services.actor(wanted), "drill.started", error)
        return self._stopped(wanted, error, request_id)

    def _stopped(self, about: Backup | DrillEvent, error: Exception, request_id: str) -> Alert:
        target, backup_id = about.target, about.id if isinstance(about, Backup) else about.backup_id
        safe = what_is_safe(self.services.catalog, target) if target else _LOOK
        return drill_stopped(target, Failure.of(error), backup_id=backup_id, safe=safe, request_id=request_id)

    def _start_each(self, configuration: Configuration, wanted: DrillEvent, function: str) -> dict[str, Any]:
        """Invoke this function once for each target that has a backup, so that a slow one cannot hurt another."""
        sent = wanted.sent_by(self.services.actor(wanted))
        events, without_backup = [], []
        for target in configuration.targets:
            if not isinstance(target, DatabaseTarget) and not target.drill.objects:
                continue
            if self.services.catalog.latest_completed(target.name) is None:
                without_backup.append(target.name)
                continue
            events.append((target.name, sent.for_target(target.name)))
        started = start_each(self.services.functions, function, events, "drill")
        if without_backup and not started:
            raise BackupStateError(
                f"Nothing can be drilled: no target has a completed backup ({', '.join(without_backup)}).",
                code="NOTHING_TO_DRILL",
                hint=_LOOK,
            )
        return {"started": started, "without_backup": without_backup}

    def _find(self, configuration: Configuration, wanted: DrillEvent) -> Backup:
        if wanted.backup_id is None:
            target = configuration.target(wanted.target or "").name
            backup = self.services.catalog.latest_completed(target)
            if backup is None:
                raise BackupStateError(
                    f'There is no completed backup of "{target}" that is not known to be damaged.',
                    code="BACKUP_UNKNOWN",
                    hint="List the backups: coffre list",
                )
            return backup
        backup = self.services.catalog.get_backup(wanted.backup_id)
        if wanted.target not in (None, backup.target):
            raise EventError(
                f"Backup {backup.id} is of {backup.target}, not of {wanted.target}.",
                hint="Leave target out, or choose a backup of that target.",
            )
        refuse_unrestorable(backup)
        return backup

    def _drill(
        self,
        configuration: Configuration,
        running: DrillRunning,
        backup: Backup,
        wanted: DrillEvent,
        context: LambdaContext,
        copied: DrilledCopy | None,
    ) -> DrillReport | DrillState:
        if backup.kind is not TargetKind.DATABASE:
            drilled: DrillReport | DrillState = self._drill_buckets(configuration, running, backup, context, copied)
        else:
            drilled = self._drill_database(configuration, running, backup, wanted, context, copied)
        if isinstance(drilled, DrillState):
            return drilled
        return drilled.model_copy(update={"copy_name": copied.destination.name if copied else None})

    def _continue(
        self, state: DrillState, wanted: DrillEvent, function: str, copied: DrilledCopy | None
    ) -> dict[str, Any]:
        """Start the invocation that continues a drill. If that is done twice, the work is, and the report is one."""
        sha256 = self._reports.write_state(state)
        sent = wanted.sent_by(self.services.actor(wanted))
        event = sent.next_invocation(state, sha256, copied.destination.name if copied else None)
        hint = f"Drill the backup again, without a time limit: coffre verify --level drill {state.backup_id} --here"
        start_next(self.services.functions, function, event, what="The drill", hint=hint)
        answer = {"id": state.id, "backup_id": state.backup_id, "target": state.target, "outcome": "continues"}
        groups = {"groups_done": len(state.done), "groups_waiting": len(state.waiting)}
        self.services.edge.logger.info("drill continues in another invocation", extra={**answer, **groups})
        return {**answer, **groups, "invocation": state.invocation}

    def _vault(self, copied: DrilledCopy | None) -> Vault:
        return open_copy(self.services, copied.destination) if copied else self.services.vault

    def _proving(self, backup: Backup) -> Proving:
        """Return what is known of the target's journal. A drill from a copy proves none: bytes of two vaults mix."""
        catalog = self.services.catalog
        proving = Proving(lambda: catalog.completed_backups(backup.target))
        try:
            state, before = catalog.journals.find(backup.target), catalog.journal_proofs.of(backup.target)
        except CoffreError as error:  # the backup is drilled all the same
            extra = {"target": backup.target, "code": error.code, "error": error.message}
            self.services.edge.logger.warning("what is known of the journal cannot be read", extra=extra)
            return proving
        return replace(proving, state=state, before=before)

    @property
    def _reports(self) -> DrillReports:
        return DrillReports(self.services.vault.store)

    def _drill_buckets(
        self,
        configuration: Configuration,
        running: DrillRunning,
        backup: Backup,
        context: LambdaContext,
        copied: DrilledCopy | None,
    ) -> DrillReport:
        from coffre.operations.drill.buckets import (
            StorageDrillJob,
            drill_storage,
        )  # here, for no other kind waits for it

        named = (target.drill for target in configuration.object_targets if target.name == backup.target)
        job = StorageDrillJob(
            id=running.run.id,
            backup=backup,
            settings=next(named, BucketDrill()),
            vault=self._vault(copied),
            decoder=self.services.decoder(backup.target),
            place=self.place,
            streams=self.object_streams,
            now=utc_now,
            remaining_seconds=remaining_seconds(context),
            look_again=lambda: self.services.catalog.get_backup(backup.id),
            request_id=context.aws_request_id,
            watched=self.watched,
            beat=running.beat,
        )
        return drill_storage(job)

    def _drill_database(
        self,
        configuration: Configuration,
        running: DrillRunning,
        backup: Backup,
        wanted: DrillEvent,
        context: LambdaContext,
        copied: DrilledCopy | None,
    ) -> DrillReport | DrillState:
        from coffre.operations.drill.database import drill  # here, for no other kind waits for it

        state = None
        if wanted.drill_id is not None:
            which = (wanted.drill_id, wanted.invocation, wanted.state_sha256 or "")
            state = self._reports.state(backup.target, backup.id, *which)
        children = Children(clearing_seconds(context))
        streams = os.cpu_count() or 1
        with scratch_directory() as scratch:
            job = DrillJob(
                id=running.run.id,
                backup=backup,
                settings=_settings_of(configuration, backup.target),
                tools=self.tools,
                children=children,
                vault=self._vault(copied),
                decoder=self.services.decoder(backup.target),
                scratch=scratch,
                streams=streams,
                runner=ThreadRunner(2 * streams, children.end_all),
                now=utc_now,
                remaining_seconds=remaining_seconds(context),
                look_again=lambda: self.services.catalog.get_backup(backup.id),
                request_id=context.aws_request_id,
                state=state,
                given=self.given,
                proving=self._proving(backup) if copied is None else None,
                watched=self.watched,
                beat=running.beat,
            )
            return drill(job)


def scratch_place(services: Services) -> ScratchPlace:
    """Return where drills put objects: in the vault's own bucket."""
    settings = services.settings
    # Each large object has connections of its own for parts.
    client = make_client(session=services.session, max_connections=4 * OBJECT_STREAMS)
    services.metering.tally.watch(client, "vault")
    folder = settings.vault_prefix.removesuffix("/")
    bucket = SealedBucket(client, settings.vault_bucket, is_aws=settings.vault_checksum == "sha256")
    return ScratchPlace(bucket, f"{folder}/" if folder else "")


def _settings_of(configuration: Configuration, target: str) -> Drill:
    """Return the target's own; one that is not configured any more has none."""
    return next((database.drill for database in configuration.databases if database.name == target), Drill())
