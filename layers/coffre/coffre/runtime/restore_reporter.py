"""What a restore reports of itself: in the audit, the log, the metrics and alerts."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final

from coffre.alerts.runs import restore_completed, restore_failed, restore_started
from coffre.alerts.wording import because
from coffre.model.audit import Actor
from coffre.model.backup import Failure, Restore, Status
from coffre.runtime.bootstrap import Services
from coffre.runtime.events.restore import RestoreEvent, StorageRestoreEvent
from coffre.runtime.function import utc_now
from coffre.runtime.observability import count_restore

_FUNCTION: Final = Actor("restore", verified=True)


@dataclass(frozen=True)
class RestoreReporter:
    """Reports how restores begin and end."""

    services: Services

    def started(self, restore: Restore, wanted: RestoreEvent | StorageRestoreEvent, actor: Actor) -> None:
        """Record and report a restore that begins. One that cannot be recorded does not begin."""
        if not restore.dry_run:
            detail = f"backup {restore.backup_id} into {restore.destination}{_effect(wanted)}"
            self.services.catalog.audit.record(utc_now(), actor, "restore.started", restore.target, restore.id, detail)
            self.services.edge.publish(restore_started(restore), restore_id=restore.id, target=restore.target)

    def ended(self, restore: Restore, ids: Mapping[str, str], actor: Actor) -> None:
        """Report a restore whose invocation is done: it has ended, or continues in another one."""
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

    def died(self, restore: Restore) -> None:
        """Report an earlier restore that died before it could report itself."""
        if restore.failure is None:
            count_restore(self.services.name, restore.target, succeeded=False)
            return
        self.failed(_FUNCTION, restore.target, restore.id, restore.failure, dry_run=restore.dry_run)
        alert = restore_failed(
            restore.target,
            restore.failure,
            backup_id=restore.backup_id,
            restore_id=restore.id,
            request_id=restore.request_id,
            destination=restore.destination,
        )
        self.services.edge.publish(alert, restore_id=restore.id, target=restore.target)

    def failed(self, actor: Actor, target: str, restore_id: str, failure: Failure, *, dry_run: bool) -> None:
        """Count a restore that failed, and record it in the audit."""
        count_restore(self.services.name, target, succeeded=False)
        if not dry_run:
            self.services.edge.audit(actor, "restore.ended", target, restore_id, because(failure), result="failed")


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
