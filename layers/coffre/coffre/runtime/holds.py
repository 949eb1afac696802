"""Holds in the function `rotate`: the answer to a person, and what a rotation continues."""

from __future__ import annotations

from ulid import ULID

from coffre.model.audit import Actor
from coffre.model.backup import Failure
from coffre.model.errors import CoffreError
from coffre.model.hold import HoldReport
from coffre.operations.rotate.hold import HoldJob, hold, release, resume, unfinished_holds
from coffre.runtime.bootstrap import Services
from coffre.runtime.events.rotate import RotateEvent
from coffre.runtime.function import LambdaContext, remaining_seconds, utc_now
from coffre.runtime.observability import log_failure


def answer_hold(services: Services, wanted: RotateEvent, context: LambdaContext) -> HoldReport:
    """Set or end the hold that a person asks for. A refusal is an answer: it stops nothing that others rely on."""
    job = _job(services, services.actor(wanted), context)
    try:
        if wanted.hold is not None:
            report = hold(job, wanted.hold, wanted.reason)
        else:
            report = release(job, wanted.release or "")
    except CoffreError as error:
        log_failure(services.edge.logger, error, backup_id=wanted.hold or wanted.release)
        return HoldReport(failure=Failure.of(error))
    services.edge.logger.info(
        "hold changed",
        extra={
            "backup_id": wanted.hold or wanted.release,
            "held": wanted.hold is not None,
            "objects": report.objects,
            "shared": report.shared,
            "unfinished": report.unfinished,
        },
    )
    return report


def resume_holds(services: Services, context: LambdaContext) -> None:
    """Continue holds that were interrupted. What is refused again is logged: the record shows that it is unfinished."""
    for backup in unfinished_holds(services.catalog):
        try:
            report = resume(_job(services, Actor("rotate", verified=True), context), backup)
            if report.unfinished is not None:
                extra = {"backup_id": backup.id, "unfinished": report.unfinished}
                services.edge.logger.warning("a hold is not finished", extra=extra)
        except CoffreError as error:
            log_failure(services.edge.logger, error, backup_id=backup.id, target=backup.target)


def _job(services: Services, actor: Actor, context: LambdaContext) -> HoldJob:
    return HoldJob(
        id=str(ULID.from_datetime(utc_now())),
        catalog=services.catalog,
        vault=services.vault,
        actor=actor,
        now=utc_now,
        remaining_seconds=remaining_seconds(context),
    )
