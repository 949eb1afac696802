"""Which alerts a finished drill is reason for."""

from __future__ import annotations

from coffre.alerts.alert import EVERY_TARGET, Alert, AlertKind
from coffre.alerts.drills import drill_failed, drill_incomplete, drill_not_possible, rto_exceeded
from coffre.alerts.journals import journal_not_equal
from coffre.model.backup import Backup
from coffre.model.drill import Outcome
from coffre.model.drill_report import DrillReport
from coffre.operations.monitoring.alerting import Review

_PROBLEMS_SHOWN = 10


def review_of(backup: Backup, report: DrillReport, *, safe: str, request_id: str) -> Review:
    """Return the alerts that a drill is reason for, and the earlier ones that it ends."""
    code = report.failure.code if report.failure else ""
    proof = report.journal
    journal = Review()
    if proof is not None and proof.why is None:
        checked = frozenset({(AlertKind.JOURNAL_NOT_EQUAL, report.target)})
        journal = Review((journal_not_equal(proof, request_id=request_id),) if proof.is_doubtful else (), checked)
    if report.outcome is Outcome.NOT_POSSIBLE and report.failure:
        alert = drill_not_possible(report.target, report.failure, backup_id=backup.id, request_id=request_id)
        return journal.plus(Review((alert,), frozenset({(AlertKind.DRILL_NOT_POSSIBLE, report.target)})))
    kinds = {AlertKind.DRILL_NOT_POSSIBLE}
    if report.copy_name is None or report.outcome is Outcome.FAILED:
        kinds.add(AlertKind.DRILL_FAILED)  # a good copy says nothing about the bytes in the vault
    alerts: list[Alert] = []
    if report.outcome is Outcome.FAILED:
        shown = _with_place(report, report.problems[:_PROBLEMS_SHOWN])
        alerts.append(drill_failed(backup, shown, code=code, safe=safe, request_id=request_id))
    elif report.copy_name is None:
        kinds.add(AlertKind.DRILL_INCOMPLETE)
    if report.outcome is Outcome.INCOMPLETE:
        alerts.append(drill_incomplete(backup, report.left_out, request_id=request_id))
    if report.restore_seconds is not None:
        kinds.add(AlertKind.RTO_EXCEEDED)
        if report.is_late and report.restore_limit_seconds is not None:
            limit = float(report.restore_limit_seconds)
            alerts.append(rto_exceeded(backup, took_seconds=report.restore_seconds, limit_seconds=limit))
    over = {(kind, report.target) for kind in kinds}
    if report.outcome is not Outcome.FAILED:
        over.add((AlertKind.DRILL_FAILED, EVERY_TARGET))  # of one that did not even find out what it was about
    return journal.plus(Review(tuple(alerts), frozenset(over)))


def _with_place(report: DrillReport, problems: tuple[str, ...]) -> tuple[str, ...]:
    if report.copy_name is None:
        return problems
    return (f"It was restored from the copy {report.copy_name}: what differs may differ there alone.", *problems)
