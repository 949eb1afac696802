"""Pins in the function `rotate`: the answer to a person. No person writes records of backups."""

from __future__ import annotations

from coffre.model.backup import Failure
from coffre.model.errors import CoffreError
from coffre.model.hold import PinReport
from coffre.operations.admin.pin_and_delete import BackupAdmin
from coffre.runtime.bootstrap import Services
from coffre.runtime.events.rotate import RotateEvent
from coffre.runtime.function import utc_now
from coffre.runtime.observability import log_failure


def answer_pin(services: Services, wanted: RotateEvent) -> PinReport:
    """Set or remove the pin that a person asks for. A refusal is an answer: it stops nothing that others rely on."""
    backup_id = wanted.pin or wanted.unpin or ""
    admin = BackupAdmin(services.catalog, services.vault, services.actor(wanted), utc_now())
    try:
        backup = admin.pin(backup_id) if wanted.pin is not None else admin.unpin(backup_id)
    except CoffreError as error:
        log_failure(services.edge.logger, error, backup_id=backup_id)
        return PinReport(failure=Failure.of(error))
    services.edge.logger.info("pin changed", extra={"backup_id": backup_id, "pinned": wanted.pin is not None})
    return PinReport(backup=backup)
