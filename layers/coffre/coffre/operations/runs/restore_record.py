"""The catalog's record of a restore that has ended."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from typing import TYPE_CHECKING

from coffre.model.backup import Progress, Restore, Status

if TYPE_CHECKING:
    from coffre.model.restore_report import RestoreReport


def how_to_find_out(restore_id: str) -> str:
    """Return what a person looks at when it is not known what a restore has changed."""
    run = restore_id.lower()
    return (
        "Whether it changed what is in use, the destination shows. "
        f"Database replaced: one whose name ends in _before_{run} exists, and is the old one. "
        f"Schemas replaced: schemas ending in _before_{run} exist, and have the old data. "
        f'Rows changed: in psql, \\dn+ restored_{run} begins with "Applied"; its tables ending in _before have the old '
        "rows. Otherwise nothing in use was changed. Objects: those written so far stay; the same restore, run again, "
        "finds them the same. Parts of large ones can be left as uploads that nothing finishes "
        "(`aws s3api list-multipart-uploads`). "
        f"It may also have left the schema restored_{run} or a database ending in _restored_{run}, which nothing uses."
    )


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
