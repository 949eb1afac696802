"""Cancelled runs in the function `rotate`: the answer to a person. No person writes records of runs."""

from __future__ import annotations

from coffre.model.backup import Backup, Failure, Restore
from coffre.model.document import FrozenModel
from coffre.model.drill import DrillRun
from coffre.model.errors import CoffreError
from coffre.operations.admin.cancel import Cancelling
from coffre.runtime.bootstrap import Services
from coffre.runtime.events.rotate import RotateEvent
from coffre.runtime.function import utc_now
from coffre.runtime.observability import log_failure


class CancelReport(FrozenModel):
    """A run that was asked to end: its record. `failure` says why it was not asked."""

    backup: Backup | None = None
    restore: Restore | None = None
    drill: DrillRun | None = None
    failure: Failure | None = None


def answer_cancel(services: Services, wanted: RotateEvent, run_id: str) -> CancelReport:
    """Ask a run to end. A refusal is an answer: it stops nothing that others rely on."""
    try:
        run = Cancelling(services.catalog, services.actor(wanted), utc_now()).cancel(run_id)
    except CoffreError as error:
        log_failure(services.edge.logger, error, run_id=run_id)
        return CancelReport(failure=Failure.of(error))
    services.edge.logger.info("run cancelled", extra={"run_id": run.id, "target": run.target, "status": run.status})
    if isinstance(run, DrillRun):
        return CancelReport(drill=run)
    return CancelReport(backup=run) if isinstance(run, Backup) else CancelReport(restore=run)
