"""Hand a backup of buckets over to several functions: all of it, or what one function could not finish."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from coffre.catalog.catalog import Catalog
from coffre.model.audit import Actor
from coffre.operations.backup_buckets.assemble import source_of
from coffre.operations.backup_buckets.job import BucketBackupJob
from coffre.operations.backup_buckets.spread.plan_files import RangesHeader, StoredFile, write_header
from coffre.operations.backup_buckets.spread.records import FIRST_RECORD, write_record
from coffre.operations.backup_buckets.spread.step import AHEAD
from coffre.operations.backup_buckets.stored_before import open_previous, open_stored
from coffre.operations.runs.run import Run, Spread
from coffre.vault.bucket_progress import BucketProgress, EarlierRun, RangeRecord

# What is read of a record: a run whose progress is larger continues in one function after another.
_LARGEST_BYTES = 48 * 1024 * 1024


@dataclass(frozen=True)
class RangesBeginning:
    """What handing over needs.

    `start` starts the state machine: target, id of the backup, the stored header, and `width`, the number of workers.
    `actor` asked for the backup. `range_objects` are the fewest of a range, when it is not for time to decide.
    """

    width: int
    catalog: Catalog
    start: Callable[[str, str, StoredFile, int], None]
    actor: Actor
    range_objects: int | None = None


def begin_ranges(
    beginning: RangesBeginning, job: BucketBackupJob, run: Run, progress: BucketProgress | None, why: str
) -> Spread | None:
    """Record what is stored, and start the others. None: the progress is too large for a record.

    Raises
    ------
    MachineError, TransientError
        What starting a state machine raises; nothing was handed over.
    """
    backup, catalog = run.backup, beginning.catalog
    if progress is not None and len(progress.model_dump_json()) > _LARGEST_BYTES:
        return None
    earlier, notes = _earlier(job) if progress is None else (progress.unfinished, ())
    header = RangesHeader(
        backup_id=backup.id,
        target=backup.target,
        source=source_of(job),
        previous=job.previous.id if job.previous else None,
        width=beginning.width,
        why=why,
        actor=beginning.actor.name,
        actor_verified=beginning.actor.verified,
        range_objects=beginning.range_objects,
        unfinished=earlier,
        notes=notes,
    )
    if progress is not None:
        record = RangeRecord(after="", end=None, is_over=False, progress=progress)
        sha256 = write_record(job, backup.id, FIRST_RECORD, record)
        if sha256 is not None:
            catalog.parts.add(backup.id, FIRST_RECORD, sha256, job.now())
    stored = write_header(job.vault, header)
    catalog.spread_backup(backup.id, why, header.width)
    run.watch.check()
    beginning.start(backup.target, backup.id, stored, header.width)
    run.meter.begin("hand over")
    return Spread(why, AHEAD)


def _earlier(job: BucketBackupJob) -> tuple[tuple[EarlierRun, ...], tuple[str, ...]]:
    stored = open_stored(job, open_previous(job))
    return stored.index, stored.notes
