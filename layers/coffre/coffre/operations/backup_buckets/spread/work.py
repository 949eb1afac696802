"""Store one range of names of a spread backup of buckets, or as much of it as a few minutes allow."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import replace
from typing import Final

from coffre.catalog.spread import GroupState
from coffre.model.backup import Failure, Progress
from coffre.model.errors import EventError
from coffre.model.manifest import PackReference
from coffre.operations.backup_buckets.backup import store_range
from coffre.operations.backup_buckets.job import BucketBackupJob
from coffre.operations.backup_buckets.spread.plan_files import RangeLine
from coffre.operations.backup_buckets.spread.records import read_record, write_record
from coffre.operations.backup_buckets.spread.step import AHEAD, SILENT_AFTER, RangeStep
from coffre.operations.runs.heartbeat import Watch
from coffre.operations.runs.progress import Meter
from coffre.operations.runs.run import Run
from coffre.operations.runs.unfinished_runs import reopened
from coffre.vault.bucket_progress import BegunObject, BucketProgress, Counts, RangeRecord

# Of work in one invocation: what is left then is divided again, among all workers.
WORK_SECONDS: Final = 300.0
# Of parts, whose packs have them in their keys.
_NUMBERS_OF_A_RANGE: Final = 40
_NUMBERS: Final = 1_000_000


class RangeWork:
    """A range while it is worked on.

    Parameters
    ----------
    ranges
        Those of the round.
    number
        Of the range.

    Raises
    ------
    EventError
        The round has no such range.
    """

    def __init__(self, step: RangeStep, ranges: list[RangeLine], number: int, seconds: float = WORK_SECONDS) -> None:
        found = next((one for one in ranges if one.group == number), None)
        if found is None:
            raise EventError(f"The plan of {step.backup.id} has no range {number}.")
        self._step = step
        self._ranges = ranges
        self._range = found
        self._seconds = seconds
        self.meter = Meter()

    def work(self, watch: Watch) -> bool:
        """Store the range, and return whether it is recorded: a rest, or what another attempt did, is left to others.

        Raises
        ------
        DeadlineError
            Not even a part of it could be stored.
        IntegrityError
            `PLAN_MISSING`, `PLAN_CHANGED`, `PART_SWAPPED` ...
        StoreError
            `LISTING_UNSORTED`, `SOURCE_CHANGED` ...
        """
        step, number = self._step, self._range.group
        known = step.catalog.parts.of(step.backup.id)
        if number in known:
            counts = read_record(step.job, step.backup.id, number, known[number]).progress.counts
            self.meter.add(size_bytes=sum(counts.sizes.values()), objects=sum(counts.objects.values()))
            self._say(is_over=True)
            return True
        job = self._job(known)
        progress, is_over = store_range(job, _run(step, self.meter, watch))
        record = RangeRecord(after=self._range.after, end=self._range.end, is_over=is_over, progress=progress)
        sha256 = write_record(job, step.backup.id, number, record)
        if sha256 is not None:
            step.catalog.parts.add(step.backup.id, number, sha256, job.now())
        self._say(is_over=True)
        return sha256 is not None

    def beat(self) -> None:
        """Renew the lock and the record, and say how far the range is.

        Raises
        ------
        LockLostError, RunCancelledError
            The run has ended, or is to end.
        """
        self._say()
        keep_alive(self._step, self._ranges)

    def failed(self, failure: Failure) -> None:
        """Say why the attempt ended."""
        self._say(is_over=True, failure=failure)

    def _say(self, *, is_over: bool = False, failure: Failure | None = None) -> None:
        done = self.meter.read()
        state = GroupState(
            number=self._range.group,
            attempt=self._step.attempt,
            seen_at=self._step.job.now(),
            done_bytes=done.done_bytes,
            done_objects=done.done_objects,
            is_over=is_over,
            failure=failure,
        )
        self._step.catalog.spread.put_group(self._step.backup.id, state)

    def _job(self, known: dict[int, str]) -> BucketBackupJob:
        step, own = self._step, self._range
        first = own.group * _NUMBERS_OF_A_RANGE % _NUMBERS
        begun, packs = self._begun(known)
        position = BucketProgress(
            invocations=0,
            position=own.after,
            parts=first,
            previous=step.header.previous,
            entries=(),
            packs=packs,
            live_bytes={},
            counts=Counts(),
            source=step.header.source,
            begun=begun,
        )
        return replace(
            step.job,
            begun=position,
            end=own.end,
            is_range=True,
            before=own.before,
            turn=own.group,
            unfinished=reopened(step.catalog, step.header.unfinished, own.after, own.end),
            remaining_seconds=_bounded(step.job.remaining_seconds, self._seconds),
        )

    def _begun(self, known: dict[int, str]) -> tuple[tuple[BegunObject, ...], tuple[PackReference, ...]]:
        """Return the objects of the range that others have begun to read, and the packs of what is stored of them."""
        own, step = self._range, self._step
        if own.begun is None or own.begun not in known:
            return (), ()
        progress = read_record(step.job, step.backup.id, own.begun, known[own.begun]).progress
        begun = tuple(
            one for one in progress.begun if own.after < one.name and (own.end is None or one.name <= own.end)
        )
        used = {frame.pack for one in begun for frame in one.frames}
        return begun, tuple(pack for pack in progress.packs if pack.key in used)


def keep_alive(step: RangeStep, ranges: list[RangeLine], phase: str = "objects") -> None:
    """Renew the lock and the record of a run, for some time ahead; raises what `RangeWork.beat` raises."""
    now = step.job.now()
    step.catalog.locks.renew(step.header.target, step.backup.id, now + AHEAD)
    step.catalog.heartbeat_backup(step.backup.id, now + AHEAD, _progress(step, ranges, phase))


def _progress(step: RangeStep, ranges: list[RangeLine], phase: str) -> Progress:
    groups, now = step.catalog.spread.groups(step.backup.id), step.job.now()
    own = {one.group for one in ranges}
    earlier = [group for group in groups if group.number not in own]
    return Progress(
        phase=phase,
        done_bytes=sum(group.done_bytes for group in groups),
        total_bytes=sum(group.done_bytes for group in earlier) + sum(one.size_bytes for one in ranges),
        done_objects=sum(group.done_objects for group in groups),
        total_objects=sum(group.done_objects for group in earlier) + sum(one.objects for one in ranges),
        workers=sum(group.is_alive(now, SILENT_AFTER) for group in groups),
    )


def _run(step: RangeStep, meter: Meter, watch: Watch) -> Run:
    return Run(
        step.backup,
        meter,
        watch,
        ready_to_commit=lambda: step.backup.tiers,
        announce=lambda _: None,
        recorded=lambda number, sha256: step.catalog.parts.add(step.backup.id, number, sha256, step.job.now()),
    )


def _bounded(remaining: Callable[[], float], seconds: float) -> Callable[[], float]:
    until = time.monotonic() + seconds
    return lambda: min(remaining(), until - time.monotonic())
