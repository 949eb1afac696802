"""The catalog's record of a restore that has ended."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime

from coffre.model.backup import Progress, Restore, RestoreReport, Status


def ended(restore: Restore, progress: Progress, status: Status, now: datetime) -> Restore:
    """Return the record of a restore that ended now."""
    duration_ms = int((now - restore.created_at).total_seconds() * 1000)
    return restore.model_copy(
        update={"status": status, "completed_at": now, "duration_ms": duration_ms, "progress": progress}
    )


def completed(
    restore: Restore,
    progress: Progress,
    report: RestoreReport,
    key: str | None,
    exceptions: Sequence[str],
    now: datetime,
) -> Restore:
    """Return the record of a restore that was completed.

    Parameters
    ----------
    key
        Where the vault has the report; None when it could not be written.
    exceptions
        Those of recording the restore; the restore's own are in the report.
    """
    storage = report.storage
    amounts = {"objects": storage.written} if storage else {"tables": len(report.tables), "rows": report.rows}
    return ended(restore, progress, Status.COMPLETED, now).model_copy(
        update={
            "destination": report.destination,
            "exceptions": (*exceptions, *report.exceptions),
            "notes": report.notes,
            "report_key": key,
            **amounts,
        }
    )
