"""Back up buckets: plan, parts, seal. What one invocation cannot finish, the next one continues.

The plan is made while parts are stored, in one pass over the sorted listing and the previous backup's entries. Results
are put together in the order of the names, so that a run can stop after any part.
"""

from __future__ import annotations

import contextlib
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from types import TracebackType

from coffre.buckets.read_ahead import ReadAhead
from coffre.concurrency.memory_budget import MemoryBudget
from coffre.model.errors import DeadlineError, RunStoppedError, StoreError, StoreTransientError
from coffre.model.manifest import Manifest
from coffre.operations.backup_buckets.assemble import Collector, source_of, take_up
from coffre.operations.backup_buckets.job import (
    PACKS_IN_MEMORY,
    READ_AHEAD_BYTES,
    BucketBackupJob,
    BucketPart,
    BucketPartResult,
)
from coffre.operations.backup_buckets.part import run_part
from coffre.operations.backup_buckets.plan import Planner
from coffre.operations.backup_buckets.recording import recording
from coffre.operations.backup_buckets.seal import seal
from coffre.operations.backup_buckets.stored_before import PreviousBackup, StoredSince, open_previous, open_stored
from coffre.operations.runs.locked_backup import locking_vault, seconds_to_secure
from coffre.operations.runs.run import Paused, Run, Spread
from coffre.vault.bucket_progress import BucketProgress, write_progress
from coffre.vault.pack import budget_for
from coffre.vault.vault import Committed


def backup_buckets(job: BucketBackupJob, run: Run) -> tuple[Manifest, Committed] | Paused | Spread:
    """Back up the buckets, or as much of them as the time allows. Several functions take the rest, or another one.

    Raises
    ------
    DeadlineError
        `INVOCATIONS_EXHAUSTED`; `DEADLINE`: not even one part was finished.
    CoffreError
        Nothing is published; a later sweep removes packs that were stored.
    """
    job = _ready(job, run)
    if job.begun is None and (spread := job.spread(run, None)) is not None:
        return spread
    take_up(job)
    past = open_previous(job)
    stored = open_stored(job, past)
    with recording(job, run, past, stored) as recorder:
        made = _in_one(replace(job, recorder=recorder), run, past, stored)
        if recorder is not None and not isinstance(made, tuple):
            recorder.flush()
        return made


def _in_one(
    job: BucketBackupJob, run: Run, past: PreviousBackup, stored: StoredSince
) -> tuple[Manifest, Committed] | Paused | Spread:
    collector = Collector(job, run.backup, past, stored)
    run.meter.add(size_bytes=sum(collector.tally.sizes.values()), objects=sum(collector.tally.objects.values()))
    run.meter.begin(
        "objects",
        total_bytes=sum(collector.tally.sizes.values()),
        total_objects=sum(collector.tally.objects.values()),
    )
    planner = Planner(job, past, run.meter, lambda: _has_time(job, run), stored)
    stopped = _store_parts(job, run, planner, collector)
    if planner.is_over and stopped is None and not collector.begun and _may_seal(job, run, collector, past):
        run.meter.begin("seal")
        return seal(job, run, collector, past, planner.notes)
    return _pause(job, run, planner, collector, stopped)


def store_range(job: BucketBackupJob, run: Run) -> tuple[BucketProgress, bool]:
    """Store the objects of a range, or as many as the time allows. Return what is stored, and whether these are all.

    It can be repeated: nothing that it stores counts before the progress is recorded.

    Raises
    ------
    DeadlineError
        `DEADLINE`: not even one part was finished.
    StoreError
        `LISTING_UNSORTED`, `SOURCE_CHANGED`. And what `backup_buckets` raises.
    """
    job = _ready(job, run)
    past = open_previous(job)
    stored = open_stored(job, past)
    with recording(job, run, past, stored) as recorder:
        made = _in_range(replace(job, recorder=recorder), run, past, stored)
        if recorder is not None:
            recorder.flush()
        return made


def _in_range(job: BucketBackupJob, run: Run, past: PreviousBackup, stored: StoredSince) -> tuple[BucketProgress, bool]:
    collector = Collector(job, run.backup, past, stored)
    # What is known of earlier runs as a whole is noted once, by the seal.
    past, stored = replace(past, note=None), replace(stored, notes=())
    planner = Planner(job, past, run.meter, lambda: _has_time(job, run), stored)
    stopped = _store_parts(job, run, planner, collector)
    is_over = planner.is_over and stopped is None and not collector.begun
    if not is_over and not collector.advanced:
        raise stopped if isinstance(stopped, StoreTransientError) else _no_progress(collector)
    collector.close()
    return collector.progress(1, job.previous.id if job.previous else None, planner.unsorted, planner.notes), is_over


def seal_ranges(job: BucketBackupJob, run: Run, notes: tuple[str, ...] = ()) -> tuple[Manifest, Committed]:
    """Seal a run whose ranges are all stored: `begun` of the job is what they amount to."""
    job = _ready(job, run)
    past = open_previous(job)
    run.meter.begin("seal")
    return seal(job, run, Collector(job, run.backup, past), past, [*([past.note] if past.note else []), *notes])


def _ready(job: BucketBackupJob, run: Run) -> BucketBackupJob:
    _refuse_another_source(job)
    vault = locking_vault(job.vault, job.target, run.backup, job.now())
    return replace(job, vault=vault, time_budget=job.time_budget.within(job.remaining_seconds()))


def _may_seal(job: BucketBackupJob, run: Run, collector: Collector, past: PreviousBackup) -> bool:
    """Tell whether the locks of everything can be set in the time that is left; else a new invocation does it."""
    packs = (*past.packs.values(), *collector.packs.values())
    seconds = seconds_to_secure(job.vault, job.target, run.backup, packs, job.now())
    return not collector.advanced or job.remaining_seconds() - seconds > job.time_budget.stop


def _refuse_another_source(job: BucketBackupJob) -> None:
    """Refuse to continue a run whose target was reconfigured meanwhile: the backup would mix both sources."""
    if job.begun is not None and job.begun.source not in ("", source_of(job)):
        raise StoreError(
            f"The store, the buckets or the keys of the target {job.target.name} were changed while its backup ran.",
            code="SOURCE_CHANGED",
            hint=f"Nothing was published. Take the backup again: coffre backup buckets {job.target.name}",
        )


def _has_time(job: BucketBackupJob, run: Run) -> bool:
    run.watch.check()
    return job.remaining_seconds() > job.time_budget.no_new_parts and not job.reader.stopping.is_set()


def _store_parts(job: BucketBackupJob, run: Run, planner: Planner, collector: Collector) -> Exception | None:
    """Store parts as long as there is time. Return the error that stopped it, if the next invocation can continue."""
    packs = budget_for(PACKS_IN_MEMORY)
    with (
        ThreadPoolExecutor(job.target.limits.streams, thread_name_prefix="read") as pool,
        _stopping_in_time(job),
        contextlib.closing(planner.parts()) as parts,
    ):
        ahead = ReadAhead(job.reader, pool, MemoryBudget(READ_AHEAD_BYTES))
        interruption = _Interruption(job)

        def store(part: BucketPart) -> BucketPartResult | None:
            with interruption:
                return run_part(job, part, ahead, packs, run.meter, run.backup.id)
            return None

        def planned() -> Iterator[BucketPart]:
            with interruption:
                yield from parts

        # What is interrupted ends the others early, and what they have stored until then counts.
        for result in job.runner(store, planned()):
            if result is not None:
                collector.add(result)
    if interruption.error is not None:
        run.watch.check()
    return interruption.error


class _Interruption(contextlib.AbstractContextManager[None]):
    """Takes errors after which the next invocation can continue; the first stops the reading of all others."""

    def __init__(self, job: BucketBackupJob) -> None:
        self._stopping = job.reader.stopping
        self.error: Exception | None = None

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> bool:
        if not isinstance(error, (RunStoppedError, StoreTransientError)):
            return False
        if self.error is None or isinstance(self.error, RunStoppedError):
            self.error = error
        self._stopping.set()
        return True


@contextlib.contextmanager
def _stopping_in_time(job: BucketBackupJob) -> Iterator[None]:
    """Stop all work when the remaining time is just enough to store the progress."""
    timer = threading.Timer(max(0.0, job.remaining_seconds() - job.time_budget.stop), job.reader.stopping.set)
    timer.daemon = True
    timer.start()
    try:
        yield
    finally:
        timer.cancel()


def _pause(
    job: BucketBackupJob, run: Run, planner: Planner, collector: Collector, stopped: Exception | None
) -> Paused | Spread:
    """Store the progress of the run for those that continue it: several functions, or the next invocation."""
    invocations = (job.begun.invocations if job.begun else 0) + 1
    if not collector.advanced:
        raise stopped if isinstance(stopped, StoreTransientError) else _no_progress(collector)
    collector.close()
    previous = job.previous.id if job.previous else None
    progress = collector.progress(invocations, previous, planner.unsorted, planner.notes)
    if not progress.unsorted and (spread := job.spread(run, progress)) is not None:
        return spread
    if invocations >= job.target.limits.invocations:
        raise _exhausted(invocations, collector) from stopped
    write_progress(job.vault, run.backup.target, run.backup.id, progress)
    run.meter.begin("handing over")
    return Paused(invocations, lambda: job.start_next(invocations))


def _no_progress(collector: Collector) -> DeadlineError:
    return DeadlineError(
        "The function's time is nearly over, and no part of the backup was finished in it.",
        detail=f"The backup is stored up to {collector.position!a}." if collector.position else None,
        hint="Raise the function's timeout (up to 900 s) or memory, or find out why the store is slow. Objects that "
        "cannot be read in time can be left out (buckets[].exclude).",
    )


def _exhausted(invocations: int, collector: Collector) -> DeadlineError:
    return DeadlineError(
        f"The backup is not finished after {invocations} invocations, the most that limits.invocations allows.",
        code="INVOCATIONS_EXHAUSTED",
        detail=f"{sum(collector.tally.objects.values()):,} objects are stored, up to {collector.position!a}.",
        hint="Raise limits.invocations of the target, or divide its buckets or prefixes among several targets.",
    )
