"""What the functions that back up have in common: one invocation for each target, and what is said about a run."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from botocore.exceptions import BotoCoreError, ClientError
from ulid import ULID

from coffre.alerts.alert import Alert
from coffre.alerts.runs import backup_failed
from coffre.catalog.catalog import Catalog
from coffre.model.backup import Backup, Failure
from coffre.model.configuration import Configuration
from coffre.model.errors import TransientError
from coffre.model.target import BucketTarget, DatabaseTarget
from coffre.model.times import parse_span
from coffre.operations.monitoring.alerting import what_is_safe
from coffre.operations.runs.admission import Request, Result, RunOutcome
from coffre.runtime.after_backup import after_backup
from coffre.runtime.announce import AnnouncementError, Announcer
from coffre.runtime.events import BackupDatabaseEvent, slot_of
from coffre.runtime.function import Edge, LambdaContext, remaining_seconds, utc_now
from coffre.runtime.observability import count_backup, log_failure
from coffre.vault.vault import Vault

if TYPE_CHECKING:
    from mypy_boto3_lambda import LambdaClient


@dataclass(frozen=True)
class BackupRuns:
    """Starts runs, and logs, counts, announces and tells how they end."""

    edge: Edge
    vault: Vault
    catalog: Catalog
    functions: LambdaClient
    announcer: Announcer

    def start_each(self, function: str, events: Mapping[str, Mapping[str, Any]]) -> dict[str, Any]:
        """Invoke a function once for each target's event, so that a slow or broken one cannot hurt another."""
        started, refused = [], {}
        for target, event in events.items():
            try:
                self.invoke(function, event)
                started.append(target)
            except (ClientError, BotoCoreError) as error:
                refused[target] = str(error)[:200]
        if refused:
            raise TransientError(
                f"The backup of {', '.join(sorted(refused))} could not be started.",
                code="INVOKE_FAILED",
                detail="; ".join(f"{name}: {text}" for name, text in refused.items()),
                hint="It is tried again by itself. The function's role needs lambda:InvokeFunction on itself.",
            )
        return {"started": started}

    def go_on(self, function: str, event: Mapping[str, Any]) -> None:
        """Start the next invocation of a run.

        Raises
        ------
        TransientError
            `INVOKE_FAILED`
        """
        try:
            self.invoke(function, event)
        except (ClientError, BotoCoreError) as error:
            raise TransientError(
                f"The backup of {event['target']} could not go on in another invocation.",
                code="INVOKE_FAILED",
                detail=str(error)[:500],
                hint="The function's role needs lambda:InvokeFunction on itself. Take the backup again.",
            ) from error

    def invoke(self, function: str, event: Mapping[str, Any]) -> None:
        """Start a function, without waiting for it."""
        self.functions.invoke(FunctionName=function, InvocationType="Event", Payload=json.dumps(event).encode())

    def back_up(
        self,
        configuration: Configuration,
        target: DatabaseTarget | BucketTarget,
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
            self.edge.logger.warning(
                "this backup is NOT encrypted by Coffre: the configuration says encryption none", extra=ids
            )
        try:
            with self.edge.reporting(lambda error: self._failed(request, Failure.of(error)), **ids):
                result = run(request)
        except Exception:
            count_backup(self.edge.logger.service, target.name, None)
            raise
        return self._ended(target, result, context)

    def _failed(self, request: Request, failure: Failure) -> Alert:
        return backup_failed(
            request.target,
            failure,
            backup_id=request.backup_id,
            request_id=request.request_id,
            safe=what_is_safe(self.catalog, request.target),
            kind=request.kind,
        )

    def report_died(self, backup: Backup) -> None:
        """Tell a person about an earlier run that could not do so itself."""
        count_backup(self.edge.logger.service, backup.target, None)
        report_died(self.edge, self.catalog, backup)

    def _ended(self, target: DatabaseTarget | BucketTarget, result: Result, context: LambdaContext) -> dict[str, Any]:
        self._log(result)
        if result.outcome is RunOutcome.COMPLETED:
            count_backup(self.edge.logger.service, target.name, result.backup)
            self._announce(result.backup)
            after_backup(self.edge, self.catalog, self.vault, target, result.backup, remaining_seconds(context))
        return summary(result)

    def _announce(self, backup: Backup) -> None:
        """Publish that a backup is complete. What follows from it also happens by the clock: no failure of the run."""
        try:
            self.announcer.backup_completed(backup)
        except AnnouncementError as error:
            log_failure(self.edge.logger, error, target=backup.target, backup_id=backup.id)

    def _log(self, result: Result) -> None:
        self.edge.logger.info(
            "run ended",
            extra={
                "outcome": result.outcome.value,
                "reason": result.reason,
                "target": result.backup.target,
                "backup_id": result.backup.id,
                "duration_ms": result.backup.duration_ms,
                "stored_bytes": result.backup.stored_bytes,
            },
        )


def report_died(edge: Edge, catalog: Catalog, backup: Backup) -> None:
    """Tell a person about a backup that died without a word: its record is FAILED by now."""
    if backup.failure is not None:
        alert = backup_failed(
            backup.target,
            backup.failure,
            backup_id=backup.id,
            request_id=backup.request_id or "-",
            safe=what_is_safe(catalog, backup.target),
            kind=backup.kind,
        )
        edge.publish(alert, backup_id=backup.id, target=backup.target)


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
