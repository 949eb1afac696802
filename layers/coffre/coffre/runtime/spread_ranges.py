"""The function `backup_storage`, of a backup of buckets that several functions take together: each of its steps."""

from __future__ import annotations

import threading
from collections.abc import Callable
from contextlib import AbstractContextManager
from dataclasses import dataclass, replace
from functools import partial
from typing import Any

from coffre.model.any_target import ObjectTarget
from coffre.model.audit import Actor
from coffre.model.backup import Failure
from coffre.model.bucket_target import BucketTarget
from coffre.model.configuration import Configuration
from coffre.model.errors import CoffreError, DeadlineError, LockLostError, PermanentError
from coffre.operations.backup_buckets.job import BucketBackupJob
from coffre.operations.backup_buckets.spread.begin import RangesBeginning, begin_ranges
from coffre.operations.backup_buckets.spread.gather import Gathered, gather, plan_round, seal_gathered
from coffre.operations.backup_buckets.spread.plan_files import (
    RangeLine,
    RangesHeader,
    StoredFile,
    read_header,
    read_ranges,
    round_of,
)
from coffre.operations.backup_buckets.spread.step import RangeStep
from coffre.operations.backup_buckets.spread.work import RangeWork, keep_alive
from coffre.operations.runs.backup_lifecycle import Lifecycle
from coffre.operations.runs.heartbeat import DEADLINE_RESERVE_SECONDS
from coffre.operations.runs.progress import Meter
from coffre.operations.runs.run import Run, Spread
from coffre.operations.runs.unfinished_runs import reopened
from coffre.policy.ranges import choose_ranges
from coffre.runtime.bootstrap import Services
from coffre.runtime.events.spread import PlanReference, RangeStepEvent
from coffre.runtime.function import LambdaContext, remaining_seconds, utc_now
from coffre.runtime.spread_steps import BEAT_SECONDS, Invocation, SpreadSteps, over, request_of
from coffre.runtime.state_machine import RANGES_TRANSITIONS, machine
from coffre.vault.bucket_progress import BucketProgress
from coffre.vault.layout import plan_key, ranges_name

type OpenJob = Callable[
    [Configuration, ObjectTarget, LambdaContext, threading.Event], AbstractContextManager[BucketBackupJob]
]


@dataclass(frozen=True)
class RangesPlanning:
    """Decides whether a backup of buckets is given to several functions, and starts their state machine."""

    services: Services
    target: BucketTarget
    actor: Actor
    window_seconds: float

    def hand_over(self, job: BucketBackupJob, run: Run, progress: BucketProgress | None) -> Spread | None:
        """Give a run to others: all of it (without `progress`), or its rest. None: it stays with this function."""
        target, catalog = self.target, self.services.catalog
        mode, newest = target.limits.spread, catalog.newest(target.name, 2)
        if mode == "never" or (mode == "auto" and any(_was_unsorted(one.failure) for one in newest)):
            return None
        why = "One function could not read it within its time."
        if progress is None:
            last = catalog.latest_completed(target.name, damaged_too=True)
            seconds = (last.duration_ms or 0) / 1000 * (last.workers or 1) if last else None
            objects, size_bytes = (last.objects or 0, last.plaintext_bytes or 0) if last else (0, 0)
            window = self.window_seconds - DEADLINE_RESERVE_SECONDS
            choice = choose_ranges(mode, seconds, objects, size_bytes, window)
            self.services.edge.logger.info(
                "one function or several", extra={"target": target.name, "spread": choice.is_spread, "why": choice.why}
            )
            if not choice.is_spread:
                return None
            why = choice.why
        beginning = RangesBeginning(
            target.limits.functions, catalog, self._start, self.actor, self.services.settings.spread_range_objects
        )
        return begin_ranges(beginning, job, run, progress, why)

    def _start(self, target: str, backup_id: str, header: StoredFile, width: int) -> None:
        given = {
            "target": target,
            "backup_id": backup_id,
            "plan": place_of(self.services, header).model_dump(),
            "width": width,
            "gathered": {"over": False, "ranges": None},
        }
        machine(self.services.machines, self.services.settings.ranges_machine).start(backup_id, given)
        self.services.metering.tally.add(transitions=RANGES_TRANSITIONS["begin"])


@dataclass(frozen=True)
class SpreadRanges(SpreadSteps[ObjectTarget]):
    """Does the steps. `open_job` puts together what an invocation reads and stores with."""

    open_job: OpenJob

    def step(self, configuration: Configuration, event: RangeStepEvent, context: LambdaContext) -> dict[str, Any]:
        """Do one step of a run; raises what `handle` raises."""
        answer = self.handle(configuration, event, context)
        return {"over": True, "ranges": None, **answer} if event.step == "seal" else answer

    def _target(self, configuration: Configuration, name: str) -> ObjectTarget:
        return configuration.object_target(name)

    def _do(self, of: Invocation[ObjectTarget]) -> dict[str, Any]:
        return self._work(of) if of.event.step == "work" else self._seal(of)

    def _transitions(self, step: str) -> int:
        return RANGES_TRANSITIONS[step]

    def _asked_by(self, of: Invocation[ObjectTarget]) -> Actor:
        header = self._header(of)
        return Actor(header.actor, verified=header.actor_verified)

    def _is_final(self, error: Exception) -> bool:
        # Out of time, another attempt may have a faster store.
        return not isinstance(error, CoffreError) or (
            isinstance(error, PermanentError) and not isinstance(error, DeadlineError)
        )

    def _work(self, of: Invocation[ObjectTarget]) -> dict[str, Any]:
        ranges, number, stopping = self._ranges(of), of.event.group or 0, threading.Event()
        with self.open_job(of.configuration, of.target, of.context, stopping) as job:
            step = self._step(of, job)
            work = RangeWork(step, ranges, number)
            watch = self._watch(of, work.beat, stopping.set)
            try:
                work.beat()
                stored = watch.run(lambda: work.work(watch))
                keep_alive(step, ranges)
            except LockLostError:
                raise
            except Exception as error:
                work.failed(Failure.of(error))
                raise
        return {"group": number, "outcome": "stored" if stored else "left"}

    def _seal(self, of: Invocation[ObjectTarget]) -> dict[str, Any]:
        catalog, stopping, number = self.services.catalog, threading.Event(), round_of(_ranges_key(of))
        claim = self._claim_seal(of, f"#{number}")
        if claim is None:
            return over(of.event, catalog.get_backup(of.backup.id))
        with self.open_job(of.configuration, of.target, of.context, stopping) as opened:
            step = self._step(of, opened)
            job, header = step.job, step.header

            def beat() -> None:
                claim.keep()
                keep_alive(step, [], "listing")

            def plan() -> Gathered | StoredFile:
                gathered = gather(job, of.backup.id, catalog.parts.of(of.backup.id))
                if not gathered.rests:
                    return gathered
                return plan_round(job, header, gathered, after_round=number, meter=Meter())

            found = self._watch(of, beat, stopping.set).run(plan)
            if isinstance(found, StoredFile):
                beat()
                self.services.metering.tally.add(transitions=RANGES_TRANSITIONS["round"])
                return {"over": False, "ranges": place_of(self.services, found).model_dump()}
            lifecycle = Lifecycle(
                catalog=catalog,
                vault=self.services.vault,
                now=utc_now,
                remaining_seconds=remaining_seconds(of.context),
                stop=stopping.set,
                report_died=self._runs.report_died,
                beat_seconds=BEAT_SECONDS,
                watched=self.watched,
                also_beat=claim.keep,
            )
            sealing = partial(seal_gathered, job, header, found)
            result = self._settled_by_manifest(claim.backup) or lifecycle.finish(claim.backup, sealing)
        return self._runs.ended(of.target, request_of(claim.backup), self._asked_by(of), result, of.context)

    def _step(self, of: Invocation[ObjectTarget], job: BucketBackupJob) -> RangeStep:
        header, catalog = self._header(of), self.services.catalog
        job = replace(
            job,
            previous=catalog.get_backup(header.previous) if header.previous else None,
            unfinished=reopened(catalog, header.unfinished),
        )
        return RangeStep(job, header, of.backup, catalog, of.context.aws_request_id)

    def _header(self, of: Invocation[ObjectTarget]) -> RangesHeader:
        return read_header(self.services.vault, of.target.name, of.backup.id, of.event.plan.sha256)

    def _ranges(self, of: Invocation[ObjectTarget]) -> list[RangeLine]:
        if not isinstance(of.event, RangeStepEvent) or of.event.ranges is None:
            raise ValueError("a worker has no list of ranges")
        key = plan_key(of.target.name, of.backup.id, ranges_name(round_of(of.event.ranges.key)))
        return read_ranges(self.services.vault, key, of.event.ranges.sha256)


def place_of(services: Services, file: StoredFile) -> PlanReference:
    """Return where a file of a plan is in the bucket of the vault."""
    settings = services.settings
    key = f"{settings.vault_prefix.strip('/')}/{file.key}".lstrip("/")
    return PlanReference(bucket=settings.vault_bucket, key=key, sha256=file.sha256)


def _ranges_key(of: Invocation[ObjectTarget]) -> str | None:
    return of.event.ranges.key if isinstance(of.event, RangeStepEvent) and of.event.ranges else None


def _was_unsorted(failure: Failure | None) -> bool:
    return failure is not None and failure.code == "LISTING_UNSORTED"
