"""The function `restore`: which backup an event means, where it goes, and with which identity it is read."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Self

from ulid import ULID

from coffre.alerts.alert import Alert
from coffre.alerts.runs import restore_completed, restore_failed, restore_started
from coffre.alerts.wording import because
from coffre.model.audit import Actor
from coffre.model.backup import Backup, Failure, Restore, Status
from coffre.model.confirmation import Plan
from coffre.model.errors import BackupStateError, ConfirmationError, CopyUnknownError, EventError
from coffre.operations.confirm.confirm import Confirming
from coffre.operations.runs.dead_runs import STALE_AFTER, is_silent, settle_restores
from coffre.operations.runs.watchdog import Watch
from coffre.operations.stored_backup.open import refuse_unrestorable
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
from coffre.runtime.events.approval import ApprovalEvent
from coffre.runtime.events.restore import (
    ExportEvent,
    RestoreEvent,
    RestoreShareEvent,
    RestoreStoppedEvent,
    StorageRestoreEvent,
    parse_restore,
)
from coffre.runtime.export_function import Exports
from coffre.runtime.function import LambdaContext, utc_now
from coffre.runtime.metering import metered
from coffre.runtime.observability import count_restore
from coffre.runtime.reading import OpenBackup, Reading
from coffre.runtime.restore_database_function import DatabaseRestores
from coffre.runtime.restore_shares import RestoreShares
from coffre.runtime.restore_sharing import SharingRestores
from coffre.runtime.restore_storage_function import StorageRestores
from coffre.runtime.settings import RestoreSettings
from coffre.vault.vault import Vault

_FUNCTION = Actor("restore", verified=True)


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

    @metered
    def handle(self, event: object, context: LambdaContext) -> dict[str, Any]:
        """Restore the event's backup into its destination."""
        request_id = context.aws_request_id
        with self.services.edge.beginning(context, event):
            wanted = parse_restore(event)
        if isinstance(wanted, ExportEvent):
            return Exports(self.services).handle(wanted, context)
        if isinstance(wanted, RestoreShareEvent | RestoreStoppedEvent):
            return self._share(wanted, context)
        confirming = confirming_of(self.services, wanted)
        if isinstance(wanted, ApprovalEvent):
            with logged(self.services, plan=wanted.approve.plan):
                return approve(confirming, wanted)
        restore_id = wanted.restore_id or str(ULID.from_datetime(utc_now()))
        ids = {"restore_id": restore_id, "backup_id": wanted.backup_id, "request_id": request_id}

        def failed(error: Exception, target: str | None = wanted.target) -> Alert:
            failure = Failure.of(error)
            return restore_failed(
                target,
                failure,
                backup_id=wanted.backup_id,
                restore_id=restore_id,
                request_id=request_id,
                destination=wanted.place,
            )

        actor = confirming.actor

        def not_begun(error: Exception) -> Alert:
            if isinstance(error, EventError | BackupStateError | ConfirmationError | CopyUnknownError):
                return self.services.edge.refused(actor, "restore.started", error, target=wanted.target)
            return failed(error)

        with self.services.edge.reporting(not_begun, **ids):
            if wanted.restore_id is None:  # however often the event is delivered, it is one restore
                restore_id = self.services.catalog.deliveries.run_of(request_id, restore_id, utc_now())
                ids = {**ids, "restore_id": restore_id}
            if (known := self._begun_before(restore_id, wanted)) is not None:
                return self._delivered_before(known, wanted, confirming, ids)
            continues = self._continues(restore_id, wanted)
            if wanted.restore_id is not None and not continues:
                refuse_distant_id("restore_id", wanted.restore_id, utc_now())
            reading = Reading(self.services, wanted.source)
            backup = self._find(wanted, reading)
            refuse_unrestorable(backup)
            found = reading.open(backup)
            if not continues:
                refuse_bare(wanted, backup)
                self._refuse_running(wanted)
        ids = {**ids, "target": backup.target, "backup_id": backup.id}
        self.services.metering.about(backup.target, restore_id)
        try:
            with self.services.edge.reporting(lambda error: failed(error, backup.target), **ids):
                consent = consent_of(confirming, wanted, restore_id)
                restore = self._restore(found, wanted, restore_id, context, actor, consent)
        except Exception as error:
            count_restore(self.services.name, backup.target, succeeded=False)
            if not wanted.dry_run:
                self._audit_failed(actor, backup.target, restore_id, Failure.of(error))
            raise
        if restore is None:
            known = self.services.catalog.get_restore(restore_id)
            return self._delivered_before(known, wanted, confirming, ids)
        self._report(restore, ids, actor)
        with logged(self.services, **ids):
            return self._answer(restore, wanted, confirming, lambda: found.vault)

    def _answer(
        self,
        restore: Restore,
        wanted: RestoreEvent | StorageRestoreEvent,
        confirming: Confirming,
        vault: Callable[[], Vault],
    ) -> dict[str, Any]:
        """Return the summary; of a dry run of what overwrites with its plan and a token, which nothing else has."""
        if not (restore.dry_run and wanted.overwrites and restore.report_key):
            return summary(restore)
        report = vault().read_report(restore.report_key)
        return {**summary(restore), **give_out(confirming, wanted, restore, report)}

    def _delivered_before(
        self,
        known: Restore,
        wanted: RestoreEvent | StorageRestoreEvent,
        confirming: Confirming,
        ids: dict[str, str],
    ) -> dict[str, Any]:
        self.services.edge.logger.info("the event was delivered before", extra={**ids, "status": known.status.value})
        reading = Reading(self.services, wanted.source)
        return self._answer(known, wanted, confirming, lambda: reading.vault(reading.backup(known.backup_id)))

    def _begun_before(self, restore_id: str, wanted: RestoreEvent | StorageRestoreEvent) -> Restore | None:
        """Return the restore that an event has already started: an id names exactly one run."""
        try:
            known = self.services.catalog.get_restore(restore_id)
        except BackupStateError:
            return None
        if known.status.is_final or wanted.invocation > 1:
            return known if known.status.is_final else None
        if isinstance(wanted, RestoreEvent) and wanted.is_resumable and is_silent(known, utc_now(), STALE_AFTER):
            return None  # its process died: this one takes it up
        settle_restores(self.services.catalog, self.services.vault, utc_now(), STALE_AFTER, self._report_died)
        return self.services.catalog.get_restore(known.id)

    def _report(self, restore: Restore, ids: dict[str, str], actor: Actor) -> None:
        if not restore.status.is_final:
            self.services.edge.logger.info("restore continues in another invocation", extra=ids)
            return
        if restore.status is Status.FAILED:
            self.services.edge.logger.warning("restore was cancelled", extra=ids)
            return
        count_restore(self.services.name, restore.target, succeeded=True)
        if not restore.dry_run:
            self.services.edge.audit(actor, "restore.ended", restore.target, restore.id, _amount(restore))
            self.services.edge.publish(restore_completed(restore), **ids)
        amounts = {"duration_ms": restore.duration_ms, "rows": restore.rows, "objects": restore.objects}
        self.services.edge.logger.info("restore ended", extra={**ids, **amounts})

    def _restore(
        self,
        found: OpenBackup,
        wanted: RestoreEvent | StorageRestoreEvent,
        restore_id: str,
        context: LambdaContext,
        actor: Actor,
        consent: Callable[[Plan], Plan],
    ) -> Restore | None:
        backup = found.backup
        if isinstance(wanted, StorageRestoreEvent):
            work, decoder = self._of_objects(wanted, actor, consent), self.services.decoder(backup.target)
            return work.restore(found, wanted, restore_id, decoder, context)
        restores = DatabaseRestores(
            self.services,
            report_started=lambda restore: self._report_started(restore, wanted, actor),
            report_died=self._report_died,
            consent=consent,
            watched=self.watched,
            sharing=SharingRestores(self.services, self.machine) if self.machine else None,
        )
        continues = self._continues(restore_id, wanted)
        return restores.restore(found, wanted, restore_id, context, continues=continues)

    def _share(self, event: RestoreShareEvent | RestoreStoppedEvent, context: LambdaContext) -> dict[str, Any]:
        """Load a share of the rows of a restore, or end one whose state machine was stopped."""
        shares = RestoreShares(self.services, self._report_died, self.watched)
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

    def _continues(self, restore_id: str, wanted: RestoreEvent | StorageRestoreEvent) -> bool:
        """Whether an earlier invocation has begun this restore, which has not ended."""
        if wanted.invocation > 1 or isinstance(wanted, StorageRestoreEvent):
            return wanted.invocation > 1
        try:
            return not self.services.catalog.get_restore(restore_id).status.is_final
        except BackupStateError:
            return False

    def _of_objects(
        self, wanted: StorageRestoreEvent, actor: Actor, consent: Callable[[Plan], Plan]
    ) -> StorageRestores:
        return StorageRestores(
            self.services,
            report_started=lambda restore: self._report_started(restore, wanted, actor),
            report_died=self._report_died,
            watched=self.watched,
            consent=consent,
        )

    def _report_started(self, restore: Restore, wanted: RestoreEvent | StorageRestoreEvent, actor: Actor) -> None:
        """Record and report a restore that begins. One that cannot be recorded does not begin."""
        if not restore.dry_run:
            detail = f"backup {restore.backup_id} into {restore.destination}{_effect(wanted)}"
            self.services.catalog.audit.record(utc_now(), actor, "restore.started", restore.target, restore.id, detail)
            self.services.edge.publish(restore_started(restore), restore_id=restore.id, target=restore.target)

    def _report_died(self, restore: Restore) -> None:
        """Report an earlier restore that died before it could report itself."""
        count_restore(self.services.name, restore.target, succeeded=False)
        if restore.failure is not None:
            if not restore.dry_run:
                self._audit_failed(_FUNCTION, restore.target, restore.id, restore.failure)
            alert = restore_failed(
                restore.target,
                restore.failure,
                backup_id=restore.backup_id,
                restore_id=restore.id,
                request_id=restore.request_id,
                destination=restore.destination,
            )
            self.services.edge.publish(alert, restore_id=restore.id, target=restore.target)

    def _audit_failed(self, actor: Actor, target: str, restore_id: str, failure: Failure) -> None:
        self.services.edge.audit(actor, "restore.ended", target, restore_id, because(failure), result="failed")

    def _find(self, wanted: RestoreEvent | StorageRestoreEvent, reading: Reading) -> Backup:
        if wanted.backup_id != "latest":
            backup = reading.backup(wanted.backup_id)
            if wanted.target not in (None, backup.target):
                raise EventError(
                    f"Backup {backup.id} is of {backup.target}, not of {wanted.target}.",
                    hint="Leave target out, or choose a backup of that target.",
                )
            return backup
        if wanted.target is None:
            raise EventError('"latest" needs a target.', hint="Add the field target.")
        latest = reading.latest(wanted.target)
        if (
            latest is None
            and (damaged := self.services.catalog.latest_completed(wanted.target, damaged_too=True)) is not None
        ):
            raise BackupStateError(
                f'Every completed backup of "{wanted.target}" is damaged; the newest is {damaged.id}.',
                code="BACKUP_DAMAGED",
                detail=damaged.damage,
                hint="Its undamaged parts can be restored by its id.",
            )
        if latest is None:
            raise BackupStateError(
                f'There is no completed backup of "{wanted.target}".',
                code="BACKUP_UNKNOWN",
                hint="List the backups: coffre list",
            )
        return latest


def _effect(wanted: RestoreEvent | StorageRestoreEvent) -> str:
    """Return how an event changes what exists, for the audit."""
    if isinstance(wanted, StorageRestoreEvent):
        effect, scope = f", {wanted.storage.mode}", wanted.storage
        return f"{effect}, without a SAFETY backup" if scope.no_safety else effect
    effect = ", replace" if wanted.replace else ", apply" if wanted.apply else ""
    effect = f", continues {wanted.resume}" if wanted.resume else effect
    return f"{effect}, without a SAFETY backup" if wanted.no_safety else effect


def _amount(restore: Restore) -> str:
    amount = f"{restore.rows or 0:,} rows" if restore.objects is None else f"{restore.objects:,} objects"
    return f"{amount}, {len(restore.exceptions)} exceptions"


def summary(restore: Restore) -> dict[str, Any]:
    """Return what an invocation answers: small, and without secrets."""
    return {
        "id": restore.id,
        "backup_id": restore.backup_id,
        "status": restore.status.value,
        "dry_run": restore.dry_run,
        **({"rows": restore.rows} if restore.objects is None else {"objects": restore.objects}),
        "exceptions": len(restore.exceptions),
    }
