"""What a restore of objects says in the end."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from coffre.model.backup import Backup
from coffre.model.restore_report import RestoreReport
from coffre.model.storage import Mode, Objects, StorageResult
from coffre.model.words import counted


def report_of(
    restore_id: str, backup: Backup, result: StorageResult, destination: str, phases_ms: Mapping[str, int]
) -> RestoreReport:
    """Return the report: counts, what would be or was done in words, and every exception."""
    return RestoreReport(
        id=restore_id,
        backup_id=backup.id,
        target=backup.target,
        destination=destination,
        dry_run=result.scope.dry_run,
        steps=tuple(_steps(result, destination)),
        rows=0,
        storage=result,
        phases_ms=dict(phases_ms),
        exceptions=tuple(_exceptions(result)),
    )


def said_so_far(result: StorageResult) -> str:
    """Return what a restore has changed that did not end."""
    if not (result.written or result.deleted.count):
        return "No object was changed."
    return (
        f"Changed before that, and stays: {counted(result.restored.count, 'object')} written that did not exist, "
        f"{result.overwritten.count:,} overwritten, {result.deleted.count:,} deleted. The same restore, run again, "
        "skips what is identical."
    )


def _steps(result: StorageResult, destination: str) -> Iterator[str]:
    for verb, amount, why in (
        ("Write", result.restored, f"not in {destination}"),
        ("Overwrite", result.overwritten, f"in {destination}, but not as in the backup"),
        ("Leave", result.same, f"in {destination}, the same"),
        ("Leave", result.left, f"in {destination}, and not the same"),
        ("Delete", result.deleted, f"in {destination}, and not in the backup"),
    ):
        if amount.count:
            yield f"{verb} {_said(amount)}: {why}."
    yield from result.notes


def _exceptions(result: StorageResult) -> Iterator[str]:
    if result.failed.count:
        yield f"{counted(result.failed.count, 'object')} could not be restored or deleted:"
        yield from (f"  {failure}" for failure in result.failures)
        more = result.failed.count - len(result.failures)
        if more:
            yield f"  and {more:,} more."
    yield from result.lost
    if (result.failed.count or result.lost) and result.scope.mode is Mode.MIRROR and not result.deleted.count:
        yield "Nothing was deleted, because not everything could be restored. Run it again."
    yield from result.lacking
    if result.with_acl:
        yield (
            f"{counted(result.with_acl, 'object')} had grants (ACL) of their own at the source. They were not set: "
            "the destination's own rules hold."
        )


def _said(amount: Objects) -> str:
    return f"{counted(amount.count, 'object')} ({amount.size_bytes:,} bytes)"
