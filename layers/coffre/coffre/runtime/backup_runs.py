"""What the functions that back up have in common: one invocation for each target, and the reports of a run."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from ulid import ULID

from coffre.alerts.alert import Alert
from coffre.alerts.runs import backup_failed
from coffre.alerts.wording import because
from coffre.model.any_target import AnyTarget
from coffre.model.audit import Actor, AuditResult
from coffre.model.backup import Backup, Failure, Tier
from coffre.model.configuration import Configuration
from coffre.model.times import parse_span
from coffre.operations.monitoring.alerting import what_is_safe
from coffre.operations.runs.admission import Request, Result, RunOutcome
from coffre.runtime.after_backup import after_backup
from coffre.runtime.backup_alerts import report_died
from coffre.runtime.bootstrap import Services
from coffre.runtime.event_bus import AnnouncementError, Announcer
from coffre.runtime.events.backup import BackupDatabaseEvent, slot_of
from coffre.runtime.function import LambdaContext, remaining_seconds, utc_now
from coffre.runtime.invocations import start_next
from coffre.runtime.observability import count_backup, log_failure
from coffre.runtime.point_parts import seal_after


@dataclass(frozen=True)
class BackupRuns:
    """Starts runs, and logs, counts, announces and reports how they end."""

    services: Services

    def start_next(self, function: str, event: Mapping[str, Any]) -> None:
        """Start the next invocation of a run; raises what `start_next` raises."""
        what = f"The backup of {event['target']}"
        start_next(self.services.functions, function, event, what=what, hint="Take the backup again.")

    def back_up(
        self,
        configuration: Configuration,
        target: AnyTarget,
        wanted: BackupDatabaseEvent,
        context: LambdaContext,
        run: Callable[[Request], Result],
    ) -> dict[str, Any]:
        """Run what an event asks for of one target, and return what the invocation answers."""
        request = Request(
            target=target.name,
            kind=target.kind,
            tier=wanted.tier,
            slot=slot_of(wanted.scheduled_time),
            keep=parse_span(wanted.keep) if wanted.keep else None,
            backup_id=wanted.backup_id or str(ULID.from_datetime(utc_now())),
            request_id=context.aws_request_id,
        )
        ids = {"target": target.name, "request_id": context.aws_request_id, "backup_id": request.backup_id}
        if configuration.encryption == "none":
            self.services.edge.logger.warning(
                "this backup is NOT encrypted by Coffre: the configuration says encryption none", extra=ids
            )
        actor = self.services.actor(wanted)
        return self.answer(target, request, actor, context, lambda: run(request))

    def answer(
        self, target: AnyTarget, request: Request, actor: Actor, context: LambdaContext, run: Callable[[], Result]
    ) -> dict[str, Any]:
        """Run, report how that ended, and return what the invocation answers."""
        ids = {"target": target.name, "request_id": context.aws_request_id, "backup_id": request.backup_id}
        self.services.metering.about(target.name, request.backup_id)
        try:
            with self.services.edge.reporting(lambda error: self._failed(request, Failure.of(error)), **ids):
                result = run()
        except Exception as error:
            count_backup(self.services.edge.logger.service, request.target, None)
            self._audit(request, actor, Failure.of(error))
            raise
        # One that another run answers is a part of that run.
        self.services.metering.about(target.name, result.backup.id)
        return self.ended(target, request, actor, result, context)

    def ended(
        self, target: AnyTarget, request: Request, actor: Actor, result: Result, context: LambdaContext
    ) -> dict[str, Any]:
        """Report how a run ended that did not fail, and return what the invocation answers."""
        if result.outcome is RunOutcome.COMPLETED:
            self._audit(request, actor, None)
        return self._ended(target, result, context)

    def audit_failed(self, request: Request, actor: Actor, failure: Failure) -> None:
        """Record, for who asked for it, that a backup failed."""
        self._audit(request, actor, failure)

    def _audit(self, request: Request, actor: Actor, failure: Failure | None) -> None:
        """Record a backup that a person asked for, or a restore of theirs. Scheduled ones are in the catalog."""
        if request.tier in (Tier.MANUAL, Tier.SAFETY):
            detail = because(failure) if failure is not None else None
            result: AuditResult = "failed" if failure is not None else "done"
            self.services.edge.audit(actor, "backup.taken", request.target, request.backup_id, detail, result=result)

    def _failed(self, request: Request, failure: Failure) -> Alert:
        return backup_failed(
            request.target,
            failure,
            backup_id=request.backup_id,
            request_id=request.request_id,
            safe=what_is_safe(self.services.catalog, request.target),
            kind=request.kind,
        )

    def report_died(self, backup: Backup) -> None:
        """Report an earlier run that died before it could report itself."""
        count_backup(self.services.edge.logger.service, backup.target, None)
        report_died(self.services.edge, self.services.catalog, backup)

    def _ended(self, target: AnyTarget, result: Result, context: LambdaContext) -> dict[str, Any]:
        self._log(result)
        if result.outcome is RunOutcome.COMPLETED:
            count_backup(self.services.edge.logger.service, target.name, result.backup)
            seal_after(self.services, result.backup)
            self._announce(result.backup)
            after_backup(self.services, target, result.backup, remaining_seconds(context))
        return summary(result)

    def _announce(self, backup: Backup) -> None:
        """Publish that a backup is complete. The rotation after it also runs by schedule: a refusal fails no run.

        After one of the tier SAFETY a restore follows: rotation must not delete its backup just before.
        """
        if backup.is_safety:
            return
        try:
            Announcer(self.services.bus, self.services.settings.catalog_table).backup_completed(backup)
        except AnnouncementError as error:
            log_failure(self.services.edge.logger, error, target=backup.target, backup_id=backup.id)

    def _log(self, result: Result) -> None:
        self.services.edge.logger.info(
            "run ended",
            extra={
                "outcome": result.outcome.value,
                "reason": result.reason,
                "target": result.backup.target,
                "backup_id": result.backup.id,
                "duration_ms": result.backup.duration_ms,
                "stored_bytes": result.backup.stored_bytes,
                "notes": result.backup.notes,
            },
        )


def summary(result: Result) -> dict[str, Any]:
    """Return what an invocation answers: small, and without secrets."""
    backup = result.backup
    return {
        "outcome": result.outcome.value,
        "reason": result.reason,
        "id": backup.id,
        "target": backup.target,
        "status": backup.status.value,
        "tiers": [tier.value for tier in backup.tiers],
    }
