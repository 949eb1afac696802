"""The function `rotate`, for copies of the vault: each is rotated in an invocation of its own."""

from __future__ import annotations

from coffre.alerts.alert import AlertKind
from coffre.alerts.copy_care import copy_inconsistent, target_of
from coffre.model.configuration import Configuration
from coffre.model.rotation import RotationReport
from coffre.operations.monitoring.alerting import Review
from coffre.operations.rotate.rotate_copy import not_rotated
from coffre.runtime.bootstrap import Services
from coffre.runtime.events.rotate import RotateEvent
from coffre.runtime.invocations import start_each


def start_copies(services: Services, configuration: Configuration, wanted: RotateEvent, function: str) -> None:
    """Start the rotation of each copy in which Coffre deletes: a slow or broken one cannot harm another.

    Raises
    ------
    TransientError
        `INVOKE_FAILED`
    """
    names = [copy.name for copy in configuration.copies if not_rotated(copy) is None]
    if not names:
        return
    sent = wanted.sent_by(services.actor(wanted))
    events = [(name, sent.for_copy(name)) for name in names]
    start_each(services.functions, function, events, "rotation of a copy")


def review_of_copy(name: str, report: RotationReport, wanted: RotateEvent, request_id: str) -> Review:
    """Return the alert that a rotation of a copy is reason for. One of every target that finds nothing ends it."""
    problems = report.all_problems
    alerts = (copy_inconsistent(name, problems, request_id=request_id),) if problems else ()
    kinds = (AlertKind.ROTATION_FAILED, AlertKind.VAULT_INCONSISTENT) if wanted.target is None else ()
    return Review(alerts, frozenset((kind, target_of(name)) for kind in kinds))
