"""What follows from a drill: its report in the vault, what the catalog records of the backup, and the alerts."""

from __future__ import annotations

import contextlib
import math
from datetime import datetime
from pathlib import Path
from typing import Any, Final

from ulid import ULID

from coffre.model.backup import Backup, Failure
from coffre.model.drill import DrillRun, Outcome
from coffre.model.drill_report import DrillReport
from coffre.model.errors import BackupStateError, CoffreError, IntegrityError, RunCancelledError
from coffre.model.kinds import Level
from coffre.operations.drill.report_page import page_of
from coffre.operations.monitoring.alerting import what_is_safe
from coffre.operations.verify.job import CatalogSnapshot, VerifyJob, record_damage, record_finding
from coffre.runtime.bootstrap import Services
from coffre.runtime.drill_alerts import review_of
from coffre.runtime.drill_copies import DrilledCopy, record_copy
from coffre.runtime.function import utc_now
from coffre.runtime.observability import count_drill, log_failure
from coffre.vault.codec import FrameDecoder
from coffre.vault.reports import DrillReports

_PROBLEMS_SHOWN: Final = 10


def record_drill(services: Services, backup: Backup, report: DrillReport, copied: DrilledCopy | None) -> None:
    """Store the report next to the backup, then record in the catalog what it means for the backup or its copy."""
    DrillReports(services.vault.store).write(report, page_of(report))
    services.catalog.latest.note_drill(report.summary)
    _record(services, backup, report, copied)
    if report.journal is not None:
        # By this time the next drain sees whether it knows of it.
        services.catalog.journal_proofs.note(report.journal.model_copy(update={"proven_at": utc_now()}))


def _record(services: Services, backup: Backup, report: DrillReport, copied: DrilledCopy | None) -> None:
    if copied is not None:
        record_copy(services, copied, report)
        return
    keeping = services.catalog.keeping
    if report.is_damaged:
        _record_damage(services, report)
    elif report.outcome is Outcome.PASSED or (
        # Rows that violate a constraint can be the source's own, and can be what is left of a forged backup.
        report.outcome is Outcome.INCOMPLETE and not report.violates_constraints
    ):
        if not report.is_of_all or services.catalog.get_backup(backup.id).damaged_at is not None:
            return
        # Earlier damage may be in data that a drill does not read: only a complete reading ends it. Damage that was
        # found during the drill, or a deletion, is reported by the function that found or did it.
        with contextlib.suppress(BackupStateError):
            keeping.mark_verified(backup.id, report.completed_at, seen=backup)
            _mark_verified(services, backup, report.completed_at)
    elif report.outcome is Outcome.FAILED and not _is_of_checks(report):
        keeping.mark_verified(backup.id, None)
        _mark_verified(services, backup, None)


def _record_damage(services: Services, report: DrillReport) -> None:
    """Mark the backup, and every other one that refers to the same damaged bytes."""
    try:
        known = CatalogSnapshot.read(services.catalog)
    except IntegrityError:  # a record of any backup, which each verification reports: this one is marked all the same
        record_finding(services.catalog, services.vault, report.damage)
        return
    job = VerifyJob(
        id=report.id,
        catalog=services.catalog,
        vault=services.vault,
        decoder=FrameDecoder(),
        scratch=Path(),
        now=lambda: report.completed_at,
        remaining_seconds=lambda: math.inf,
    )
    found = report.damage.damages
    shared = [damage for damage in found if damage.pack is not None]
    own = [damage for damage in found if damage.pack is None]
    record_damage(job, Level.DRILL, known, shared, {report.backup_id: own})


def _mark_verified(services: Services, backup: Backup, at: datetime | None) -> None:
    """Keep in the vault what the catalog records: it can be rebuilt from there."""
    services.vault.mark_verified(backup.target, backup.id, str(ULID.from_datetime(utc_now())), at)


def report_drill(services: Services, backup: Backup, report: DrillReport, request_id: str) -> None:
    """Count, log and publish how a drill ended. One whose alert cannot be sent has to fail."""
    count_drill(services.name, report)
    services.edge.logger.info("drill ended", extra={**summary(report), "request_id": request_id})
    safe = what_is_safe(services.catalog, backup.target)
    try:
        # Not `edge.review`, which continues when no alert could be sent.
        services.edge.alerting.settle(review_of(backup, report, safe=safe, request_id=request_id))
    except CoffreError as unsent:
        log_failure(services.edge.logger, unsent, target=backup.target, backup_id=backup.id)
        raise


def _is_of_checks(report: DrillReport) -> bool:
    """Whether nothing but checks of the owner's failed: the backup itself came back as it was."""
    return report.failure is not None and report.failure.code == "CHECK_FAILED"


def summary(report: DrillReport) -> dict[str, Any]:
    """Return what an invocation answers: small, and without what the tables hold."""
    return {
        "id": report.id,
        "backup_id": report.backup_id,
        "target": report.target,
        "copy": report.copy_name,
        "outcome": report.outcome.value,
        "problems": list(report.problems[:_PROBLEMS_SHOWN]),
        "exceptions": len(report.exceptions),
        "rows": report.rows,
        "tables": len(report.tables),
        "objects": len(report.objects),
        "restore_seconds": report.restore_seconds,
        "restore_limit_seconds": report.restore_limit_seconds,
        "duration_seconds": report.duration_seconds,
        "journal": report.journal.verdict.value if report.journal else None,
        "failure": report.failure.model_dump() if report.failure else None,
    }


def cancelled_summary(run: DrillRun, error: RunCancelledError) -> dict[str, Any]:
    """Return the answer of a cancelled drill: nothing is known of the backup, and no one is notified."""
    return {
        "id": run.id,
        "backup_id": run.backup_id,
        "target": run.target,
        "outcome": "cancelled",
        "failure": Failure.of(error).model_dump(),
    }
