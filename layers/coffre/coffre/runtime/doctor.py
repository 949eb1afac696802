"""Doctor in a function: what its readers find is judged, kept in the catalog, and reported if a blocker is among it."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from coffre.alerts.alert import AlertKind
from coffre.alerts.verification import doctor_blocker
from coffre.model.checkup import Checkup, Severity
from coffre.operations.doctor.checkup import Reader, examine
from coffre.operations.monitoring.alerting import Review
from coffre.runtime.bootstrap import Services
from coffre.runtime.events.backup import DoctorEvent
from coffre.runtime.function import utc_now
from coffre.runtime.observability import log_failure


def see_doctor(services: Services, wanted: DoctorEvent, readers: Iterable[Reader], request_id: str) -> dict[str, Any]:
    """Look at the target of an event, and return its `Checkup` as JSON.

    An alert about a blocker is sent if the event asks for it. That one is over is sent in any case.
    """
    edge, target = services.edge, wanted.target
    ids = {"request_id": request_id, "target": target}
    checkup = _examine(services, wanted, readers, request_id)
    edge.attempt("checkup", lambda: services.catalog.checkups.keep(checkup))
    edge.review(lambda: review_of(checkup, target, request_id, is_reported=wanted.report), **ids)
    edge.logger.info(
        "doctor has looked",
        extra={
            **ids,
            "blockers": [one.code for one in checkup.blockers],
            "warnings": [one.code for one in checkup.warnings],
            "unseen": len(checkup.unseen),
        },
    )
    return checkup.model_dump(mode="json")


def look_once(services: Services, wanted: DoctorEvent, readers: Iterable[Reader], request_id: str) -> dict[str, Any]:
    """Look at what a target would need that it does not have yet: the `Checkup` is returned, not kept or reported."""
    return _examine(services, wanted, readers, request_id).model_dump(mode="json")


def _examine(services: Services, wanted: DoctorEvent, readers: Iterable[Reader], request_id: str) -> Checkup:
    ids = {"request_id": request_id, "target": wanted.target}
    return examine(wanted.target, readers, utc_now(), lambda error: log_failure(services.edge.logger, error, **ids))


def review_of(checkup: Checkup, target: str, request_id: str, *, is_reported: bool) -> Review:
    """Return the alert about a checkup's blockers; without any, an earlier one is over if all could be looked at."""
    if checkup.blockers:
        alert = doctor_blocker(target, checkup.blockers, request_id=request_id)
        return Review((alert,) if is_reported else ())
    is_certain = all(one.severity is not Severity.BLOCKER for one in checkup.unseen)
    return Review((), frozenset({(AlertKind.DOCTOR_BLOCKER, target)} if is_certain else ()))
