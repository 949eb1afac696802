"""Logs and metrics: constant messages with keys, never an event, a DSN or a secret."""

from __future__ import annotations

import os
from collections import Counter
from typing import TYPE_CHECKING, Final

from aws_lambda_powertools import Logger
from aws_lambda_powertools.metrics import EphemeralMetrics, MetricUnit

from coffre.model.backup import Backup
from coffre.model.drill import Outcome
from coffre.model.errors import CoffreError
from coffre.model.freshness import Checked, FreshReport
from coffre.model.kinds import Level

if TYPE_CHECKING:  # Few functions make such reports.
    from coffre.model.drill_report import DrillReport
    from coffre.model.rotation import RotationReport
    from coffre.model.verification import VerificationReport

_NAMESPACE: Final = "POWERTOOLS_METRICS_NAMESPACE"
# Whose service it is that counts backups of every kind and target: what an alarm can watch.
_EVERY_BACKUP: Final = "backup"


def make_logger(service: str) -> Logger:
    """Return the JSON logger of one function."""
    return Logger(service=service, log_uncaught_exceptions=False)


def log_failure(logger: Logger, error: Exception, **keys: str | None) -> None:
    """Log what stopped a run; the traceback of an error that was not expected, the words of one that was."""
    if isinstance(error, CoffreError):
        notes = getattr(error, "__notes__", [])
        logger.error(
            "run failed",
            extra={"code": error.code, "detail": error.detail, "error": error.message, "notes": notes, **keys},
        )
    else:
        logger.exception("run failed unexpectedly", extra={"code": "UNEXPECTED", **keys})


def count_backup(service: str, target: str, backup: Backup | None) -> None:
    """Count one finished backup (None: failed) with its size and duration, by target, and all of them together."""
    metrics, every = _metrics(service, target), _metrics(_EVERY_BACKUP)
    for counted in (metrics, every):
        counted.add_metric("BackupSucceeded", MetricUnit.Count, 1 if backup else 0)
        counted.add_metric("BackupFailed", MetricUnit.Count, 0 if backup else 1)
    every.flush_metrics()
    if backup is not None:
        metrics.add_metric("DurationSeconds", MetricUnit.Seconds, (backup.duration_ms or 0) / 1000)
        metrics.add_metric("PlaintextBytes", MetricUnit.Bytes, backup.plaintext_bytes or 0)
        metrics.add_metric("StoredBytes", MetricUnit.Bytes, backup.stored_bytes or 0)
    metrics.flush_metrics()


def count_restore(service: str, target: str, *, succeeded: bool) -> None:
    """Count one finished restore, by target."""
    metrics = _metrics(service, target)
    metrics.add_metric("RestoreSucceeded", MetricUnit.Count, int(succeeded))
    metrics.add_metric("RestoreFailed", MetricUnit.Count, int(not succeeded))
    metrics.flush_metrics()


def count_rotation(service: str, report: RotationReport) -> None:
    """Count what one rotation of every target kept and removed, by target, and the bytes of the whole vault."""
    from coffre.model.rotation import Action

    retained: Counter[str] = Counter()
    deleted: Counter[str] = Counter()
    for decision in report.decisions:
        (retained if decision.action is Action.KEEP else deleted)[decision.target] += 1
    for target in retained.keys() | deleted.keys():
        metrics = _metrics(service, target)
        metrics.add_metric("Retained", MetricUnit.Count, retained[target])
        metrics.add_metric("Deleted", MetricUnit.Count, deleted[target])
        metrics.flush_metrics()
    if report.sweep is not None:
        vault = _metrics(service)
        vault.add_metric("VaultBytes", MetricUnit.Bytes, report.sweep.packs.size_bytes)
        vault.add_metric("VaultWastedBytes", MetricUnit.Bytes, report.sweep.wasted_bytes)
        vault.flush_metrics()


def count_drill(service: str, report: DrillReport) -> None:
    """Count one finished drill, by target, with the seconds that the drill and its restore took."""
    metrics = _metrics(service, report.target)
    for name, outcome in (
        ("DrillPassed", Outcome.PASSED),
        ("DrillIncomplete", Outcome.INCOMPLETE),
        ("DrillFailed", Outcome.FAILED),
        ("DrillNotPossible", Outcome.NOT_POSSIBLE),
    ):
        metrics.add_metric(name, MetricUnit.Count, int(report.outcome is outcome))
    metrics.add_metric("DrillSeconds", MetricUnit.Seconds, report.duration_seconds)
    if report.restore_seconds is not None:
        metrics.add_metric("RestoreSeconds", MetricUnit.Seconds, report.restore_seconds)
    metrics.flush_metrics()


def count_heartbeat(service: str, target: str, *, succeeded: bool) -> None:
    """Count a call of a target's heartbeat URL."""
    metrics = _metrics(service, target)
    metrics.add_metric("HeartbeatFailed", MetricUnit.Count, int(not succeeded))
    metrics.flush_metrics()


def count_notification(service: str, *, succeeded: bool) -> None:
    """Count a message that a destination took, or did not."""
    metrics = _metrics(service)
    metrics.add_metric("NotificationSent", MetricUnit.Count, int(succeeded))
    metrics.add_metric("NotificationFailed", MetricUnit.Count, int(not succeeded))
    metrics.flush_metrics()


def count_unsent(service: str) -> None:
    """Count an alert that the topic did not take."""
    metrics = _metrics(service)
    metrics.add_metric("AlertsUnsent", MetricUnit.Count, 1)
    metrics.flush_metrics()


def count_fresh(service: str, report: FreshReport) -> None:
    """Count how old the newest backups are, by target, and of all targets how many are not as fresh as they should be.

    When no function runs any more, nothing else shows that a target is overdue: an alarm goes off when this count is
    missing.
    """
    names = {Checked.BACKUP: "BackupAgeHours", Checked.VERIFIED: "VerifiedAgeHours"}
    for check in report.checks:
        if check.check in names and check.age_hours is not None:
            metrics = _metrics(service, check.target)
            metrics.add_metric(names[check.check], MetricUnit.NoUnit, check.age_hours)
            metrics.flush_metrics()
    whole = _metrics(service)
    # Copies have alerts of their own: this is about what the vault has.
    overdue = {one.target for one in report.checks if not one.is_ok and one.check is not Checked.OFFSITE}
    whole.add_metric("TargetsOverdue", MetricUnit.Count, len(overdue))
    whole.flush_metrics()


def count_verification(service: str, report: VerificationReport) -> None:
    """Count what an inventory or a reading went through, and what it found damaged; by target what the vault holds."""
    for target, amount in report.living.items():
        metrics = _metrics(service, target)
        metrics.add_metric("VaultBytes", MetricUnit.Bytes, amount.size_bytes)
        metrics.flush_metrics()
    whole = _metrics(service)
    whole.add_metric("BackupsDamaged", MetricUnit.Count, len(report.damaged))
    if report.level is Level.READ:
        whole.add_metric("ReadBackBytes", MetricUnit.Bytes, report.frames.size_bytes)
    else:
        whole.add_metric("PacksChecked", MetricUnit.Count, report.packs.objects)
    whole.flush_metrics()


def _metrics(service: str, target: str | None = None) -> EphemeralMetrics:
    # The namespace separates the stacks of one account (template.yaml).
    metrics = EphemeralMetrics(namespace=os.environ.get(_NAMESPACE) or "Coffre", service=service)
    if target is not None:
        metrics.add_dimension("target", target)
    return metrics
