"""The life of a backup run in the catalog: admission, heartbeat, end. The same for every kind of target."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime

from coffre.catalog.catalog import Catalog
from coffre.model.backup import Backup, Failure, Progress, Tier
from coffre.model.errors import CatalogError, CoffreError, LockLostError, RunCancelledError
from coffre.model.manifest import Manifest
from coffre.operations.runs.admission import Admission, Request, Result, RunOutcome
from coffre.operations.runs.heartbeat import BEAT_SECONDS, Watch
from coffre.operations.runs.progress import Meter
from coffre.operations.runs.run import HAND_OVER_WITHIN, Paused, Run, Spread
from coffre.operations.stored_backup.catalog_record import completed
from coffre.vault.vault import Committed, Vault

type Work = Callable[[Run], tuple[Manifest, Committed] | Paused | Spread]


@dataclass(frozen=True)
class Lifecycle:
    """Runs a backup's work between a claimed slot and a recorded end.

    Parameters
    ----------
    now
        The clock.
    remaining_seconds
        Time until the platform kills the function.
    stop
        Makes the work fail soon.
    report_died
        Gets the record of an earlier run that was found dead and marked FAILED.
    watched
        Gets the watch of the run, by which it can be ended from outside.
    also_beat
        Called with each heartbeat; what it raises ends the run.
    """

    catalog: Catalog
    vault: Vault
    now: Callable[[], datetime]
    remaining_seconds: Callable[[], float]
    stop: Callable[[], None]
    report_died: Callable[[Backup], None]
    beat_seconds: float = BEAT_SECONDS
    watched: Callable[[Watch], None] = lambda _: None
    also_beat: Callable[[], None] = lambda: None

    def run(self, request: Request, work: Work) -> Result:
        """Answer a request: do the work, or return the backup that already fulfils it.

        `work` returns the manifest that it committed, or that it paused. Every error is recorded in the catalog and
        raised, but for a person's wish that the run ends.
        """
        begun = self._admission.begin(request)
        return begun if isinstance(begun, Result) else self._work(begun, work)

    def finish(self, backup: Backup, work: Callable[[Run], tuple[Manifest, Committed]]) -> Result:
        """End a run in progress that several invocations work on. What is raised is not recorded as its end."""
        made = self._watched(backup, work, Meter())
        record = self._publish(backup, *made)
        self._admission.release(backup.target, backup.id)
        return Result(RunOutcome.COMPLETED, record)

    def resume(self, request: Request, work: Work, continuation: int) -> Result:
        """Continue the paused run with the request's id; raises what `run` and `Admission.resume` raise."""
        begun = self._admission.resume(request, continuation)
        return begun if isinstance(begun, Result) else self._work(begun, work)

    @property
    def _admission(self) -> Admission:
        return Admission(self.catalog, self.vault, self.now, time.sleep, self.report_died)

    def _work(self, backup: Backup, work: Work) -> Result:
        meter = Meter()
        try:
            made = self._watched(backup, work, meter)
            if isinstance(made, Paused):
                return self._pause(backup, made, meter.read())
            if isinstance(made, Spread):
                self._spread(backup, made, meter.read())
                return Result(RunOutcome.PAUSED, backup, f"several functions take it together: {made.why}")
        except RunCancelledError as error:
            self._end_failed(backup, error)
            return Result(RunOutcome.CANCELLED, self.catalog.get_backup(backup.id), error.message)
        except LockLostError as error:
            if (ended := self._ended_by_others(backup)) is not None:
                return ended
            self._end_failed(backup, error)
            raise
        except Exception as error:
            self._end_failed(backup, error)
            raise
        record = self._publish(backup, *made)
        self._admission.release(backup.target, backup.id)
        return Result(RunOutcome.COMPLETED, record)

    def _ended_by_others(self, backup: Backup) -> Result | None:
        """Return the answer for a run that is spread, and that another of its functions has ended, and reported."""
        found = self.catalog.get_backup(backup.id)
        if found.spread is None or not found.status.is_final:
            return None
        return Result(RunOutcome.PAUSED, found, f"several functions took it together, and it is {found.status}")

    def _watched[T](self, backup: Backup, work: Callable[[Run], T], meter: Meter) -> T:
        watch = Watch(
            meter,
            beat=lambda progress: self._beat(backup, progress),
            remaining_seconds=self.remaining_seconds,
            stop=self.stop,
            beat_seconds=self.beat_seconds,
        )
        self.watched(watch)
        return watch.run(lambda: work(self._run_of(backup, meter, watch)))

    def _pause(self, backup: Backup, paused: Paused, progress: Progress) -> Result:
        """Hand lock and record over to the next invocation, and start it. Until then the run does not count as dead."""
        until = self.now() + HAND_OVER_WITHIN
        self.catalog.locks.hand_over(backup.target, backup.id, until, continuation=paused.invocations)
        self.catalog.heartbeat_backup(backup.id, until, progress)
        paused.start_next()
        reason = f"it continues in the next invocation; invocations until now: {paused.invocations}"
        return Result(RunOutcome.PAUSED, backup, reason)

    def _spread(self, backup: Backup, spread: Spread, progress: Progress) -> None:
        if spread.ahead is None:
            return
        until = self.now() + spread.ahead
        # What others have begun meanwhile, or ended, is theirs.
        with contextlib.suppress(LockLostError):
            self.catalog.locks.renew(backup.target, backup.id, until)
            self.catalog.heartbeat_backup(backup.id, until, progress)

    def _run_of(self, backup: Backup, meter: Meter, watch: Watch) -> Run:
        return Run(
            backup,
            meter,
            watch,
            ready_to_commit=lambda: self._ready_to_commit(backup),
            announce=lambda made: self.catalog.announce_manifest(backup.id, made.key, made.sha256),
            recorded=lambda number, sha256: self.catalog.parts.add(backup.id, number, sha256, self.now()),
        )

    def _ready_to_commit(self, backup: Backup) -> tuple[Tier, ...]:
        """Check that this run may still publish, and return the tiers that it has by now."""
        self.catalog.locks.renew(backup.target, backup.id, self.now())
        return self.catalog.get_backup(backup.id).tiers

    def _publish(self, backup: Backup, manifest: Manifest, committed: Committed) -> Backup:
        try:
            return self.catalog.complete_backup(completed(backup, manifest, committed))
        except CatalogError as error:
            # The lock stays: after it expires, the next run finds the manifest and publishes it.
            raise CatalogError(
                f"Backup {backup.id} of {backup.target} is complete in the vault, but the catalog did not record it.",
                code="CATALOG_UNAVAILABLE",
                detail=error.detail or error.message,
                hint="Nothing is lost: the next run of this target finds it and lists it as COMPLETED.",
            ) from error

    def _beat(self, backup: Backup, progress: Progress) -> None:
        now = self.now()
        self.also_beat()
        self.catalog.locks.renew(backup.target, backup.id, now)
        self.catalog.heartbeat_backup(backup.id, now, progress)

    def _end_failed(self, backup: Backup, error: Exception) -> None:
        try:
            self.catalog.fail_backup(backup.id, Failure.of(error), self.now())
        except CoffreError as unrecorded:
            # The lock stays: after it expires, the next run of this target records the failure.
            error.add_note(f"This could not be recorded in the catalog: {unrecorded.message}")
        else:
            self._admission.release(backup.target, backup.id)
