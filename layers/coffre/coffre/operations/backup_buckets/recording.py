"""Keeps what a run of buckets stores for the next run, should this one not finish (ADR 51)."""

from __future__ import annotations

from contextlib import AbstractContextManager, nullcontext
from typing import Final

from coffre.model.bucket_target import BucketTarget
from coffre.operations.backup_buckets.job import BucketBackupJob
from coffre.operations.backup_buckets.stored_before import PreviousBackup, StoredSince
from coffre.operations.runs.part_recorder import PartRecorder
from coffre.operations.runs.run import Run
from coffre.vault.part_records import HISTORY_FROM

# Of one invocation, so that invocations rarely meet at a number.
_NUMBERS: Final = 1000


def recording(
    job: BucketBackupJob, run: Run, past: PreviousBackup, stored: StoredSince
) -> AbstractContextManager[PartRecorder | None]:
    """Return the recorder of an invocation. None: nothing vouches for its records, or no later run looks for them.

    Settings and repositories are stored within minutes, and what their sources list depends on the previous backup.
    """
    if run.recorded is None or not isinstance(job.target, BucketTarget):
        return nullcontext()
    begun = job.begun
    turn = job.turn or (begun.invocations if begun else 0)
    recorder = PartRecorder(
        job.vault,
        job.recipients,
        run,
        first_number=HISTORY_FROM + turn * _NUMBERS,
        is_alone=not job.is_range and begun is None,
    )
    of_earlier_invocations = {pack.key: pack for pack in begun.packs} if begun else {}
    recorder.begin_plan({**past.packs, **stored.usable, **of_earlier_invocations})
    return recorder
