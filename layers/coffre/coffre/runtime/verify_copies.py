"""The function `verify`, for copies of the vault: each is looked at in an invocation of its own."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final

from coffre.alerts.alert import Alert, AlertKind
from coffre.alerts.copy_care import copy_damaged, copy_not_verified, copy_quota_near, target_of
from coffre.model.backup import Failure
from coffre.model.configuration import Configuration
from coffre.model.copies import CopyStatus, Destination
from coffre.model.freshness import FreshReport
from coffre.model.verification import Level, Share, VerificationReport
from coffre.operations.monitoring.alerting import Review
from coffre.operations.verify.copies import inventory_of_copy, read_copy
from coffre.operations.verify.job import VerifyJob
from coffre.policy.anomaly import is_near_quota
from coffre.policy.copy_health import DAMAGED, EMPTY, LATE
from coffre.runtime.bootstrap import Services
from coffre.runtime.events.verify import VerifyEvent
from coffre.runtime.invocations import start_each

# Reported by the copier, and by the look that found the damage.
_OF_RECORDS: Final = frozenset({DAMAGED, EMPTY, LATE})


def start_copies(services: Services, configuration: Configuration, wanted: VerifyEvent, function: str) -> list[str]:
    """Start the same look at each copy: one that does not answer cannot harm another.

    Raises
    ------
    TransientError
        `INVOKE_FAILED`
    """
    if not configuration.copies:
        return []
    sent = wanted.sent_by(services.actor(wanted))
    events = [(copy.name, sent.for_copy(copy.name)) for copy in configuration.copies]
    return start_each(services.functions, function, events, "verification of a copy")


def look_at_copy(job: VerifyJob, destination: Destination, wanted: VerifyEvent, share: Share) -> VerificationReport:
    """Look at one copy, at the event's level; of one backup everything is read. The job's vault is the copy."""
    look = inventory_of_copy if wanted.level is Level.INVENTORY else read_copy
    if wanted.backup_id is not None:
        share = Share(parts=1, day=0)
    return look(job, destination, share, target=wanted.target, backup_id=wanted.backup_id)


def report_copy(
    services: Services, destination: Destination, report: VerificationReport, wanted: VerifyEvent, request_id: str
) -> None:
    """Send the alerts that a look at a copy is reason for, and that others are over."""
    alerts = tuple(_alerts(services, destination, report, request_id))
    is_of_all = wanted.target is None and wanted.backup_id is None
    checked = {(AlertKind.QUOTA, target_of(destination.name))} if is_of_all and _measures(report) else set()
    services.edge.alerting.settle(Review(alerts, frozenset(checked)))
    kinds = {alert.kind for alert in alerts}
    if is_of_all and AlertKind.VERIFY_FAILED not in kinds:
        for about in ("damaged", f"{report.level.value} "):
            services.edge.recovered(target_of(destination.name), AlertKind.VERIFY_FAILED, about=about)


def report_fresh_copies(services: Services, report: FreshReport, request_id: str) -> None:
    """Send the alerts about copies that were found at the copies themselves, and that others are over.

    What the records say of a copy that is late or empty is reported by the copier.
    """
    for name in sorted({check.copy_name for check in report.checks if check.copy_name is not None}):
        found = [check for check in report.checks if check.copy_name == name and check.code not in _OF_RECORDS]
        wrong = next((check for check in found if not check.is_ok), None)
        if wrong is None:
            services.edge.recovered(target_of(name), AlertKind.VERIFY_FAILED, about="fresh ")
            continue
        hint = "Check whether the copy can be reached, and who changed it."
        failure = Failure(code=wrong.code or "COPY_UNKNOWN", message=wrong.text or "", hint=hint)
        alert = copy_not_verified(name, failure, level=report.level.value, request_id=request_id)
        services.edge.publish(alert, request_id=request_id)


def _alerts(
    services: Services, destination: Destination, report: VerificationReport, request_id: str
) -> Iterator[Alert]:
    name, level = destination.name, report.level.value
    # What an earlier look found and no one has mended keeps the alert open, though this look did not read it.
    damaged = [
        copy
        for copy in services.catalog.copies.of(name)
        if copy.status is CopyStatus.COMPLETED and copy.damaged is not None
    ]
    if damaged:
        yield copy_damaged(name, damaged, level=level, request_id=request_id)
    if report.unfinished is not None:
        hint = "Raise MemorySize, which also adds cores. Or give the rule's event a smaller share."
        failure = Failure(code="DEADLINE", message=report.unfinished, hint=hint)
        yield copy_not_verified(name, failure, level=level, request_id=request_id)
    if report.journal_problems:
        hint = "The copier brings again what the vault still has: coffre copy. Take a backup if it has it no more."
        texts = "\n".join(problem.text for problem in report.journal_problems)
        failure = Failure(code="JOURNAL_DAMAGED", message=texts, hint=hint)
        yield copy_not_verified(name, failure, level=level, request_id=request_id)
    quota = destination.quota_bytes
    if quota is not None and _measures(report) and is_near_quota(report.stored.size_bytes, quota):
        yield copy_quota_near(name, report.stored.size_bytes, quota)


def _measures(report: VerificationReport) -> bool:
    """Tell whether the report says how much the copy holds."""
    return report.level is Level.INVENTORY and report.unfinished is None
