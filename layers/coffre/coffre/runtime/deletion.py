"""The function `rotate`, for one backup: its deletion, and the approval of that. No other function may delete."""

from __future__ import annotations

from typing import Any

from coffre.alerts.alert import Alert
from coffre.alerts.runs import rotation_failed
from coffre.model.backup import Failure
from coffre.model.errors import BackupStateError, ConfirmationError
from coffre.operations.admin.pin_and_delete import BackupAdmin
from coffre.operations.confirm.confirm import Confirming
from coffre.runtime.bootstrap import Services
from coffre.runtime.confirming import approve, confirming_of, logged, needed
from coffre.runtime.events.approval import ApprovalEvent
from coffre.runtime.events.rotate import DeletionEvent
from coffre.runtime.function import utc_now


def decide(services: Services, event: DeletionEvent | ApprovalEvent, request_id: str) -> dict[str, Any]:
    """Delete a backup, answer with the plan of that, or approve a plan; refusals are recorded and reported."""
    confirming = confirming_of(services, event)
    if isinstance(event, ApprovalEvent):
        with logged(services, plan=event.approve.plan):
            return approve(confirming, event)

    def failed(error: Exception) -> Alert:
        if isinstance(error, ConfirmationError | BackupStateError):
            return services.edge.refused(confirming.actor, "backup.deleted", error)
        return rotation_failed(None, Failure.of(error), request_id=request_id)

    with services.edge.reporting(failed, backup_id=event.delete.backup_id, request_id=request_id):
        return _delete(services, confirming, event)


def _delete(services: Services, confirming: Confirming, event: DeletionEvent) -> dict[str, Any]:
    wanted = event.delete
    admin = BackupAdmin(services.catalog, services.vault, confirming.actor, utc_now())
    backup = admin.refuse_deletion(wanted.backup_id, force=wanted.force)
    plan = admin.deletion_plan(backup, wanted)
    if wanted.dry_run:
        return {"backup_id": backup.id, "target": backup.target, "deleted": False, **confirming.give_out(plan)}
    if event.confirmation is None:
        said = event.model_dump(mode="json", exclude_defaults=True)
        raise needed(f"the backup {backup.id} of {backup.target}", said)
    confirming.confirm(plan, event.confirmation, backup.id)
    deleted = admin.delete(backup.id, force=wanted.force)
    return {"backup_id": deleted.id, "target": deleted.target, "deleted": True}
