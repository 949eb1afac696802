"""Runs that died: when a run counts as dead, and how its record in the catalog is ended."""

from __future__ import annotations

import contextlib
from collections.abc import Callable
from datetime import datetime, timedelta
from typing import Final

from coffre.catalog.catalog import Catalog
from coffre.model.backup import RUN_DIED, Backup, Failure, Restore, Status
from coffre.model.drill import DrillRun
from coffre.model.errors import BackupStateError, CoffreError
from coffre.operations.runs import restore_record
from coffre.operations.runs.unfinished_runs import is_history
from coffre.operations.stored_backup.catalog_record import completed
from coffre.vault.part_records import recorded_parts
from coffre.vault.vault import Vault

# Twenty missed heartbeats: the run is dead, not slow. Shorter than the minute after which Lambda repeats the event of a
# run that was killed, so that the repetition can replace the dead run.
STALE_AFTER: Final = timedelta(seconds=45)


def is_silent(run: Backup | Restore | DrillRun, now: datetime, longer_than: timedelta) -> bool:
    """Tell whether a run has no end, and its last heartbeat is older than this."""
    return not run.status.is_final and now - (run.heartbeat_at or run.created_at) > longer_than


def settle_backup(
    catalog: Catalog, vault: Vault, backup: Backup, now: datetime, failure: Failure | None = None
) -> Backup | None:
    """End the record of a backup whose run is dead.

    It is COMPLETED if the vault has the manifest that the run announced, else FAILED (`failure`: why, if it is known).
    Returns the record if it is FAILED.
    """
    if backup.status.is_final:
        return None
    found = vault.find_manifest(backup.target, backup.id)
    # Anyone who can write to the vault could have stored another manifest there.
    if found is not None and found[1].sha256 == backup.manifest_sha256:
        catalog.complete_backup(completed(backup, *found))
        return None
    message = "The run stopped without reporting an error (killed, out of memory, or its deadline passed)."
    if any(is_history(backup, number) for number in recorded_parts(vault, backup.target, backup.id)):
        message += (
            " What it had recorded as stored is kept for a day: the next backup of this target continues from it."
        )
    failure = failure or Failure(
        code=RUN_DIED,
        message=message,
        hint="Look at the function's log for this request id; more memory or time often helps.",
    )
    return catalog.fail_backup(backup.id, failure, now)


def settle_restores(
    catalog: Catalog, vault: Vault, now: datetime, silent_for: timedelta, report_died: Callable[[Restore], None]
) -> list[Restore]:
    """End the records of all restores without a heartbeat for this long, and return them.

    If the vault has a restore's report, the restore was done and only its record could not be written: it is COMPLETED.
    All others are FAILED, and `report_died` gets them.
    """
    ended = []
    for restore in list(catalog.restores(status=Status.IN_PROGRESS)):
        if not is_silent(restore, now, silent_for):
            continue
        try:
            done = vault.find_report(restore.id)
        except CoffreError:
            continue  # its outcome is not known; the next call may find it out
        # The restore may have ended in another way just now.
        with contextlib.suppress(BackupStateError):
            if done is not None:
                key, report = done
                record = restore_record.completed(restore, restore.progress, report, key, (), now)
                ended.append(catalog.finish_restore(record))
            else:
                ended.append(catalog.finish_restore(_died(restore, now)))
                report_died(ended[-1])
    return ended


def _died(restore: Restore, now: datetime) -> Restore:
    failure = Failure(
        code=RUN_DIED,
        message="The restore stopped without reporting its end (killed, out of memory, or its deadline passed): it is "
        "not known what it did.",
        hint=f"{restore_record.how_to_find_out(restore.id)} The function's log has its request id.",
    )
    failed = restore_record.ended(restore, restore.progress, Status.FAILED, now)
    return failed.model_copy(update={"failure": failure})
