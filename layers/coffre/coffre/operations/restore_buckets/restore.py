"""Restore objects of a bucket backup: what is missing, what changed, or a mirror; on and on until all is done."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import closing
from dataclasses import replace
from typing import Final

from coffre.model.errors import DeadlineError, IntegrityError, RestoreError
from coffre.model.manifest import EntriesFile, Manifest
from coffre.model.restore_report import RestoreReport
from coffre.model.storage import Mode, StorageOutcome, StorageResult, StorageState, StorageStep
from coffre.model.words import counted
from coffre.operations.restore_buckets.consent import ChangeAllowance, plan_of
from coffre.operations.restore_buckets.destination_map import DestinationMap, Step
from coffre.operations.restore_buckets.job import StorageJob
from coffre.operations.restore_buckets.report import report_of, said_so_far
from coffre.operations.restore_buckets.tally import RestoreTally
from coffre.operations.restore_buckets.write_object import Done, Uploads, Writer, cost_of
from coffre.operations.runs.parallel_map import ordered_map
from coffre.operations.runs.progress import Meter
from coffre.operations.stored_backup.open_backup import open_manifest, refuse_database
from coffre.vault.frame_cache import FrameCache
from coffre.vault.object_restores import write_failed, write_state
from coffre.vault.vault import Vault

# With the interpreter, the lists of entries and the frames that neighbours share it stays below 300 MB.
_ROOM_BYTES: Final = 96 * 1024 * 1024
# Nothing new is begun when so little time is left: what is begun can end, and the next invocation be started.
_LAST_START_SECONDS: Final = 60.0
_FAILED: Final = "failed.jsonl"


def restore_storage(job: StorageJob, before: StorageState | None, meter: Meter) -> RestoreReport | StorageState:
    """Restore what the scope asks for, or say what would be done.

    Parameters
    ----------
    before
        How far an earlier invocation came.

    Returns
    -------
    RestoreReport
        All is done.
    StorageState
        The time is over: this is how far it came, and it is in the vault. The next invocation has to continue.

    Raises
    ------
    CoffreError
        Whatever stopped it. What is restored so far stays.
    """
    refuse_database(job.backup)
    meter.begin("read")
    manifest = open_manifest(job.vault, job.backup)
    nothing = StorageResult(scope=job.scope, store_secret=job.store_secret)
    state = before or StorageState(restore_id=job.restore_id, result=nothing, safety=job.safety)
    if before is None and job.scope.touches and not job.scope.dry_run:
        state = _confirmed(job, manifest, state)
    return _Run(job, manifest, state, meter).named_run()


def _confirmed(job: StorageJob, manifest: Manifest, state: StorageState) -> StorageState:
    """Ask whether the restore is confirmed, and keep for all its invocations how much may change."""
    places = DestinationMap(manifest, job.scope, job.open_bucket)
    plan = job.consent(plan_of(job, places.destinations, places.bucket, state.result)).seen.overwrites
    most = {"most_overwritten": plan.objects_overwritten or 0, "most_deleted": plan.objects_deleted or 0}
    return state.model_copy(update=most)


class _Run:
    """One invocation."""

    def __init__(self, job: StorageJob, manifest: Manifest, state: StorageState, meter: Meter) -> None:
        self._job = job
        self._meter = meter
        self._state = state
        self._after = state.after
        self._manifest = manifest
        self._places = DestinationMap(manifest, job.scope, job.open_bucket, self._lose)
        self._lost = dict.fromkeys(state.result.lost)
        decoder = job.decoder.of_recipients(manifest.recipients)
        cache = FrameCache(job.vault, decoder)
        most = {StorageOutcome.OVERWRITTEN: state.most_overwritten, StorageOutcome.DELETED: state.most_deleted}
        allowance = ChangeAllowance(most, state.result)
        self._uploads = Uploads(state.begun)
        self._writer = Writer(
            job.vault,
            decoder,
            cache,
            self._places,
            job.scope,
            job.stop,
            allowance,
            uploads=self._uploads,
            pauses=job.continues,
        )
        self._tally = RestoreTally(state.result, job.scratch / _FAILED)
        self._notes = list(state.result.notes)
        self._phases_ms = dict(state.phases_ms)

    def named_run(self) -> RestoreReport | StorageState:
        """Do the same as `run`; an error says what was changed before it."""
        try:
            return self.run()
        except Exception as error:
            if not self._job.scope.dry_run:
                for left in self._end_uploads():
                    error.add_note(left)
                error.add_note(said_so_far(self._tally.result()))
            raise

    def run(self) -> RestoreReport | StorageState:
        """Do as much as there is time for."""
        self._refuse_another_destination()
        self._look()
        if self._state.step is StorageStep.WRITE:
            if not self._all("objects", self._places.steps, self._writer.restore):
                return self._hand_over()
            self._state, self._after = self._state.model_copy(update={"step": StorageStep.DELETE}), ""
        failed = self._tally.result().failed.count or self._lost
        if self._job.scope.mode is Mode.MIRROR and not failed and not self._delete():
            return self._hand_over()
        return self._report()

    def _report(self) -> RestoreReport:
        self._notes += self._end_uploads()
        job, result = self._job, self._ended()
        report = report_of(job.restore_id, job.backup, result, self._destination(), self._phases_ms)
        plan = None
        if job.scope.dry_run and job.scope.touches:
            plan = plan_of(job, self._places.destinations, self._places.bucket, result)
        said = {"notes": result.notes, "read_from": job.vault.read_from}
        return report.model_copy(update={"safety": self._state.safety, "plan": plan, **said})

    def _end_uploads(self) -> list[str]:
        """End uploads that nothing will finish: other bytes were found at their places, or the restore ends.

        Return what may be left of them.
        """
        ended = (self._places.bucket(upload.bucket).abort(upload) for upload in self._uploads.kept)
        return [left for left in ended if left is not None]

    def _lose(self, file: EntriesFile, names: Sequence[str], error: IntegrityError) -> None:
        """Count what a damaged list of entries has: all others can come back."""
        if len(self._manifest.entries) == 1:
            raise error
        for name in names:
            self._tally.add(Done(name, name, 0, StorageOutcome.FAILED, error))
        if not names:
            self._lost[
                f"Up to {counted(file.count, 'object')} from {file.first!a} on: {error.message} [{error.code}]"
            ] = None

    def _look(self) -> None:
        """Make sure that the buckets exist, and learn what a person should know about them."""
        for name in self._places.destinations:
            bucket = self._places.bucket(name)
            bucket.require()
            if self._job.scope.mode is not Mode.MISSING:
                self._notes += bucket.habits()

    def _delete(self) -> bool:
        return self._all("extra objects", self._places.extras, self._writer.delete)

    def _all(self, phase: str, steps_of: Callable[[Vault, str], Iterator[Step]], work: Callable[[Step], Done]) -> bool:
        """Do one step of the restore as far as the time allows; tell whether all of it is done."""
        self._begin(phase)
        began, first = time.monotonic(), self._after
        steps = _Until(self._out_of_time, steps_of(self._job.vault, self._after))
        doing = ordered_map(work, steps, cost_of=cost_of, width=self._job.streams, memory_bytes=_ROOM_BYTES)
        stopped_at: Done | None = None
        with closing(doing):
            for done in doing:
                if done.outcome is None:
                    stopped_at = done
                    break
                self._count(done)
        if stopped_at is not None and self._after == first and not self._came_further(stopped_at):
            self._count(_too_slow(stopped_at))
        spent = int((time.monotonic() - began) * 1000)
        self._phases_ms[phase] = self._phases_ms.get(phase, 0) + spent
        return stopped_at is None and not steps.cut

    def _came_further(self, done: Done) -> bool:
        """Tell whether more of a large object is uploaded than at the beginning of this invocation."""
        before = next((one.size for one in self._state.begun if one.name == done.name), 0)
        return self._uploads.size_of(done.name) > before

    def _begin(self, phase: str) -> None:
        """Show the whole of it: what earlier invocations did counts."""
        content, scope, result = self._manifest.storage, self._job.scope, self._state.result
        is_all = scope.bucket is None and not (scope.prefix or scope.is_listed)
        total_bytes = self._manifest.plaintext_bytes if is_all else None
        self._meter.begin(phase, total_bytes=total_bytes, total_objects=content.objects if is_all else None)
        if phase == "objects":
            kinds = (result.restored, result.overwritten, result.same, result.left)
            self._meter.add(
                size_bytes=sum(kind.size_bytes for kind in kinds), objects=sum(kind.count for kind in kinds)
            )

    def _count(self, done: Done) -> None:
        self._tally.add(done)
        self._after = done.name
        self._meter.add(size_bytes=done.size_bytes, objects=1, current=done.place[:200])

    def _out_of_time(self) -> bool:
        return self._job.stop.is_set() or self._job.remaining_seconds() < _LAST_START_SECONDS

    def _hand_over(self) -> StorageState:
        changes = {"after": self._after, "result": self._ended(), "phases_ms": self._phases_ms}
        changes["begun"] = self._uploads.kept
        changes["destination"] = self._destination()
        state = self._state.model_copy(update={**changes, "invocation": self._state.invocation + 1})
        write_state(self._job.vault, state)
        return state

    def _ended(self) -> StorageResult:
        result, job = self._tally.result(), self._job
        failed, lists = job.scratch / _FAILED, result.failed_lists
        if self._tally.failed_now and not job.scope.dry_run:
            lists += (write_failed(job.vault, job.restore_id, self._state.invocation, failed, job.scratch),)
        lacking = dict.fromkeys((*result.lacking, *self._places.lacking))
        notes = dict.fromkeys((*self._notes, *self._places.key_notes, *map(str, job.vault.read_from)))
        said = {"notes": tuple(notes), "lacking": tuple(lacking)}
        return result.model_copy(update={"failed_lists": lists, "lost": tuple(self._lost), **said})

    def _destination(self) -> str:
        to = self._job.scope.to
        names = [to] if to is not None else self._places.destinations
        return f"{', '.join(names)} at {self._job.store}"

    def _refuse_another_destination(self) -> None:
        """Refuse to continue where an earlier invocation did not write: what it restored would be missing there."""
        before, now = self._state.destination, self._destination()
        if before not in ("", now):
            raise RestoreError(
                f"The restore began in {before}, and would continue in {now}: what it has done would be missing there.",
                code="DESTINATION_CHANGED",
                hint="The target's store was changed while the restore was under way. Run it again: what is restored "
                "already will be found the same.",
            )


class _Until:
    """Gives items out until the time is over; `cut` tells that some are left."""

    def __init__(self, is_over: Callable[[], bool], items: Iterator[Step]) -> None:
        self._is_over = is_over
        self._items = items
        self.cut = False

    def __iter__(self) -> Iterator[Step]:
        for item in self._items:
            if self._is_over():
                self.cut = True
                return
            yield item


def _too_slow(done: Done) -> Done:
    error = DeadlineError(
        f"{done.name} ({done.size_bytes:,} bytes) cannot be restored within one invocation.",
        code="OBJECT_TOO_LARGE",
        hint="Take it out on a machine of your own: coffre cat ID KEY > FILE",
    )
    return replace(done, outcome=StorageOutcome.FAILED, error=error)
