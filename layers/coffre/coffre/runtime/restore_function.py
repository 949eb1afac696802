"""The function `restore`: what an event asks for, whether it may begin, and what it answers."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from typing import Any, Self

from ulid import ULID

from coffre.alerts.alert import Alert
from coffre.alerts.runs import restore_failed
from coffre.model.audit import Actor
from coffre.model.backup import Backup, Failure, Restore
from coffre.model.errors import BackupStateError, ConfirmationError, CopyUnknownError, EventError
from coffre.operations.confirm.confirm import Confirming
from coffre.operations.runs.dead_runs import STALE_AFTER, is_silent, settle_restores
from coffre.operations.runs.heartbeat import Watch
from coffre.operations.stored_backup.open_backup import refuse_unrestorable
from coffre.policy.recency import refuse_distant_id
from coffre.runtime.bootstrap import Services
from coffre.runtime.confirming import (
    approve,
    confirming_of,
    consent_of,
    give_out,
    logged,
    refuse_bare,
)
from coffre.runtime.environment import RestoreSettings
from coffre.runtime.events.approval import ApprovalEvent
from coffre.runtime.events.restore import (
    ExportEvent,
    RestoreEvent,
    RestoreShareEvent,
    RestoreStoppedEvent,
    StorageRestoreEvent,
    parse_restore,
)
from coffre.runtime.function import LambdaContext, utc_now
from coffre.runtime.metering import metered
from coffre.runtime.reading import OpenBackup, Reading
from coffre.runtime.restore_reporter import RestoreReporter, summary
from coffre.vault.vault import Vault


@dataclass(frozen=True)
class _Asked:
    """What an event asks for, under which id, and how its sender confirms it."""

    wanted: RestoreEvent | StorageRestoreEvent
    restore_id: str
    request_id: str
    confirming: Confirming

    @property
    def actor(self) -> Actor:
        return self.confirming.actor

    @property
    def ids(self) -> dict[str, str]:
        """What each line of the log says of it."""
        return {"restore_id": self.restore_id, "backup_id": self.wanted.backup_id, "request_id": self.request_id}

    def failed(self, error: Exception, target: str | None) -> Alert:
        """Return the alert about its failure."""
        return restore_failed(
            target,
            Failure.of(error),
            backup_id=self.wanted.backup_id,
            restore_id=self.restore_id,
            request_id=self.request_id,
            destination=self.wanted.place,
        )


@dataclass(frozen=True)
class RestoreFunction:
    """Everything that lives as long as the function's process.

    `watched` gets the watch of each run; `machine` is the state machine that has rows loaded by several invocations.
    """

    services: Services
    watched: Callable[[Watch], None] = lambda _: None
    machine: str | None = None

    @classmethod
    def make(cls, environment: Mapping[str, str]) -> Self:
        """Put the function together from its environment."""
        settings = RestoreSettings.from_env(environment)
        return cls(Services("restore", settings), machine=settings.spread_machine)

    @property
    def _reporter(self) -> RestoreReporter:
        return RestoreReporter(self.services)

    @metered
    def handle(self, event: object, context: LambdaContext) -> dict[str, Any]:
        """Restore the event's backup into its destination."""
        with self.services.edge.beginning(context, event):
            wanted = parse_restore(event)
        if isinstance(wanted, ExportEvent):
            from coffre.runtime.export_function import Exports  # here, for no restore waits for it

            return Exports(self.services).handle(wanted, context)
        if isinstance(wanted, RestoreShareEvent | RestoreStoppedEvent):
            return self._share(wanted, context)
        confirming = confirming_of(self.services, wanted)
        if isinstance(wanted, ApprovalEvent):
            with logged(self.services, plan=wanted.approve.plan):
                return approve(confirming, wanted)
        new_id = str(ULID.from_datetime(utc_now()))
        asked = _Asked(wanted, wanted.restore_id or new_id, context.aws_request_id, confirming)
        with self.services.edge.reporting(lambda error: self._not_begun(asked, error), **asked.ids):
            if wanted.restore_id is None:  # however often the event is delivered, it is one restore
                restore_id = self.services.catalog.deliveries.run_of(asked.request_id, new_id, utc_now())
                asked = replace(asked, restore_id=restore_id)
            if (known := self._begun_before(asked)) is not None:
                return self._delivered_before(known, asked, asked.ids)
            found = self._begin(asked)
        return self._run(found, asked, context)

    def _not_begun(self, asked: _Asked, error: Exception) -> Alert:
        """Return the alert about a restore that has not begun."""
        target = asked.wanted.target
        if isinstance(error, EventError | BackupStateError | ConfirmationError | CopyUnknownError):
            return self.services.edge.refused(asked.actor, "restore.started", error, target=target)
        return asked.failed(error, target)

    def _begin(self, asked: _Asked) -> OpenBackup:
        """Find and open the backup, and refuse what must not begin."""
        wanted, continues = asked.wanted, self._continues(asked)
        if wanted.restore_id is not None and not continues:
            refuse_distant_id("restore_id", wanted.restore_id, utc_now())
        reading = Reading(self.services, wanted.source)
        backup = _chosen(reading, wanted)
        refuse_unrestorable(backup)
        found = reading.open(backup)
        if not continues:
            refuse_bare(wanted, backup)
            self._refuse_running(wanted)
        return found

    def _run(self, found: OpenBackup, asked: _Asked, context: LambdaContext) -> dict[str, Any]:
        """Restore a backup, and report how that ends."""
        backup = found.backup
        ids = {**asked.ids, "target": backup.target, "backup_id": backup.id}
        self.services.metering.about(backup.target, asked.restore_id)
        try:
            with self.services.edge.reporting(lambda error: asked.failed(error, backup.target), **ids):
                restore = self._restore(found, asked, context)
        except Exception as error:
            failure, dry_run = Failure.of(error), asked.wanted.dry_run
            self._reporter.failed(asked.actor, backup.target, asked.restore_id, failure, dry_run=dry_run)
            raise
        if restore is None:
            return self._delivered_before(self.services.catalog.get_restore(asked.restore_id), asked, ids)
        self._reporter.ended(restore, ids, asked.actor)
        with logged(self.services, **ids):
            return self._answer(restore, asked, lambda: found.vault)

    def _answer(self, restore: Restore, asked: _Asked, vault: Callable[[], Vault]) -> dict[str, Any]:
        """Return the summary; of a dry run of what overwrites with its plan and a token, which nothing else has."""
        if not (restore.dry_run and asked.wanted.overwrites and restore.report_key):
            return summary(restore)
        report = vault().read_report(restore.report_key)
        return {**summary(restore), **give_out(asked.confirming, asked.wanted, restore, report)}

    def _delivered_before(self, known: Restore, asked: _Asked, ids: Mapping[str, str]) -> dict[str, Any]:
        self.services.edge.logger.info("the event was delivered before", extra={**ids, "status": known.status.value})
        reading = Reading(self.services, asked.wanted.source)
        return self._answer(known, asked, lambda: reading.vault(reading.backup(known.backup_id)))

    def _begun_before(self, asked: _Asked) -> Restore | None:
        """Return the restore that an event has already started: an id names exactly one run."""
        wanted = asked.wanted
        try:
            known = self.services.catalog.get_restore(asked.restore_id)
        except BackupStateError:
            return None
        if known.status.is_final or wanted.invocation > 1:
            return known if known.status.is_final else None
        if isinstance(wanted, RestoreEvent) and wanted.is_resumable and is_silent(known, utc_now(), STALE_AFTER):
            return None  # its process died: this one takes it up
        settle_restores(self.services.catalog, self.services.vault, utc_now(), STALE_AFTER, self._reporter.died)
        return self.services.catalog.get_restore(known.id)

    def _restore(self, found: OpenBackup, asked: _Asked, context: LambdaContext) -> Restore | None:
        wanted = asked.wanted
        consent = consent_of(asked.confirming, wanted, asked.restore_id)

        def started(restore: Restore) -> None:
            self._reporter.started(restore, wanted, asked.actor)

        # What restores is imported here: each kind waits for its own alone.
        if isinstance(wanted, StorageRestoreEvent):
            from coffre.runtime.restore_storage_function import StorageRestores

            of_objects = StorageRestores(
                self.services,
                report_started=started,
                report_died=self._reporter.died,
                watched=self.watched,
                consent=consent,
            )
            decoder = self.services.decoder(found.backup.target)
            return of_objects.restore(found, wanted, asked.restore_id, decoder, context)
        from coffre.runtime.restore_database_function import DatabaseRestores
        from coffre.runtime.restore_sharing import SharingRestores

        of_databases = DatabaseRestores(
            self.services,
            report_started=started,
            report_died=self._reporter.died,
            consent=consent,
            watched=self.watched,
            sharing=SharingRestores(self.services, self.machine) if self.machine else None,
        )
        return of_databases.restore(found, wanted, asked.restore_id, context, continues=self._continues(asked))

    def _share(self, event: RestoreShareEvent | RestoreStoppedEvent, context: LambdaContext) -> dict[str, Any]:
        """Load a share of the rows of a restore, or end one whose state machine was stopped."""
        from coffre.runtime.restore_shares import RestoreShares  # here, for no restore waits for it

        shares = RestoreShares(self.services, self._reporter.died, self.watched)
        if isinstance(event, RestoreStoppedEvent):
            return shares.settle(event)
        with logged(self.services, restore_id=event.restore.restore_id):
            return shares.load(event, context)

    def _refuse_running(self, wanted: RestoreEvent | StorageRestoreEvent) -> None:
        """Refuse to continue a restore that continues by itself: that would end its sessions.

        Raises
        ------
        BackupStateError
            `RESTORE_RUNNING`
        """
        if isinstance(wanted, StorageRestoreEvent) or wanted.resume is None:
            return
        try:
            known = self.services.catalog.get_restore(wanted.resume)
        except BackupStateError:
            return  # one of a command without this stack; the destination's mark decides
        if not (known.status.is_final or is_silent(known, utc_now(), STALE_AFTER)):
            raise BackupStateError(
                f"The restore {known.id} is still running.",
                code="RESTORE_RUNNING",
                hint=f"It continues by itself: coffre show {known.id} follows it, coffre cancel {known.id} ends it.",
            )

    def _continues(self, asked: _Asked) -> bool:
        """Whether an earlier invocation has begun this restore, which has not ended."""
        wanted = asked.wanted
        if wanted.invocation > 1 or isinstance(wanted, StorageRestoreEvent):
            return wanted.invocation > 1
        try:
            return not self.services.catalog.get_restore(asked.restore_id).status.is_final
        except BackupStateError:
            return False


def _chosen(reading: Reading, wanted: RestoreEvent | StorageRestoreEvent) -> Backup:
    """Return the backup that an event means; the latest for a moment is the last one that the moment is made from."""
    if isinstance(wanted, RestoreEvent) and wanted.at is not None and wanted.backup_id == "latest" and wanted.target:
        return reading.base_for(wanted.at, wanted.target)
    return reading.choose(wanted.backup_id, wanted.target)
