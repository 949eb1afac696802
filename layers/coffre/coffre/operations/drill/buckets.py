"""A drill of a backup of buckets: some of its objects are restored to a scratch folder, read again, and compared."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from datetime import datetime
from typing import Final

from coffre.model.backup import Backup, Progress
from coffre.model.drill_options import BucketDrill
from coffre.model.drill_report import DrillReport, ObjectProof, Sample, Verdict
from coffre.model.errors import CoffreError, DeadlineError, DrillImpossibleError, IntegrityError, RunStoppedError
from coffre.model.kinds import TargetKind
from coffre.model.manifest import Entry, Manifest, ObjectFacts
from coffre.model.storage import StorageScope
from coffre.model.words import counted
from coffre.operations.drill.findings import Found
from coffre.operations.drill.scratch_bucket import ScratchPlace, scratch_folder
from coffre.operations.drill.settings import prove_settings
from coffre.operations.restore_buckets.destination_map import DestinationMap, Step
from coffre.operations.restore_buckets.write_object import Done, Writer, cost_of
from coffre.operations.runs.heartbeat import Watch
from coffre.operations.runs.parallel_map import ordered_map
from coffre.operations.runs.progress import Meter
from coffre.operations.stored_backup.open_backup import open_manifest, refuse_unrestorable
from coffre.operations.stored_backup.totals import refuse_other_sums
from coffre.policy.sampling import SampleLimits, Sampling
from coffre.vault.codec import FrameDecoder
from coffre.vault.frame_cache import FrameCache
from coffre.vault.vault import Vault

_SAMPLE_BYTES: Final = 256 * 1024 * 1024
_ROOM_BYTES: Final = 96 * 1024 * 1024
_MOST_KEY_BYTES: Final = 1024
_DOTS: Final = frozenset({".", ".."})


@dataclass(frozen=True)
class StorageDrillJob:
    """What a drill of a backup of buckets needs. `look_again` returns the backup's record as it is now.

    `watched` gets the watch of the drill before it begins, and `beat` the heartbeats.
    """

    id: str
    backup: Backup
    settings: BucketDrill
    vault: Vault
    decoder: FrameDecoder
    place: ScratchPlace
    streams: int
    now: Callable[[], datetime]
    remaining_seconds: Callable[[], float]
    look_again: Callable[[], Backup]
    request_id: str | None = None
    watched: Callable[[Watch], None] = lambda _: None
    beat: Callable[[Progress], None] = lambda _: None


@dataclass(frozen=True)
class _Copy:
    """An object of the backup, and the step that restores it."""

    entry: Entry
    step: Step


def drill_storage(job: StorageDrillJob) -> DrillReport:
    """Restore a sample of a backup's objects and prove it; raises what `drill` raises."""
    refuse_unrestorable(job.backup)
    started_at, meter, stop = job.now(), Meter(), threading.Event()
    whole = job.backup
    found = Found(meter)
    found.sample = Sample(objects=whole.objects or 0, size_bytes=whole.plaintext_bytes or 0, chosen=0, chosen_bytes=0)
    error: Exception | None = None
    try:
        watch = Watch(meter, beat=job.beat, remaining_seconds=job.remaining_seconds, stop=stop.set)
        job.watched(watch)
        watch.run(lambda: _prove(job, found, stop))
    except (DrillImpossibleError, DeadlineError) as impossible:
        error = None if found.problems else impossible  # what was found by then is true all the same
    except IntegrityError as against:
        error = against
    if found.problems or isinstance(error, IntegrityError):
        refuse_unrestorable(job.look_again())  # a rotation can have taken its packs away meanwhile
    return found.report(
        job.backup,
        drill_id=job.id,
        started_at=started_at,
        now=job.now(),
        error=error,
        is_possible=error is None or isinstance(error, IntegrityError),
        limit_minutes=job.settings.rto_minutes,
        request_id=job.request_id,
    )


def _prove(job: StorageDrillJob, found: Found, stop: threading.Event) -> None:
    with found.phase("read"):
        manifest = open_manifest(job.vault, job.backup)
    if job.backup.kind is TargetKind.SETTINGS:
        decoder = job.decoder.of_recipients(manifest.recipients)
        prove_settings(job.backup, manifest, job.vault, decoder, found, stop)
        return
    if job.backup.kind is TargetKind.REPOSITORY:
        from coffre.operations.drill.repositories import prove_repositories  # dulwich, which others should not wait for

        decoder = job.decoder.of_recipients(manifest.recipients)
        prove_repositories(job.backup, manifest, job.vault, decoder, found, stop)
        return
    scope = StorageScope(to=f"{job.place.bucket.name}/{job.place.folder(job.id)}")
    places = DestinationMap(manifest, scope, lambda _: job.place.bucket)
    with found.phase("choose"):
        copies, sample = _choose(job, manifest, places, found, stop)
    decoder = job.decoder.of_recipients(manifest.recipients)
    writer = Writer(job.vault, decoder, FrameCache(job.vault, decoder), places, scope, stop)
    with scratch_folder(job.place, job.id, job.now(), found):
        with found.phase("objects"):
            done = list(_all(job, lambda copy: writer.restore(copy.step), copies))
        if sample.is_all:
            found.restore_seconds = (found.phases_ms["read"] + found.phases_ms["objects"]) / 1000
        with found.phase("compare"):
            found.take_objects(_all(job, lambda copy: _compare(job, copy, stop), _restored(copies, done, found)))
        found.except_for(places.lacking)


def _choose(
    job: StorageDrillJob, manifest: Manifest, places: DestinationMap, found: Found, stop: threading.Event
) -> tuple[list[_Copy], Sample]:
    """Choose the sample; every object of the backup is seen by that."""

    def place_of(entry: Entry) -> tuple[str, str]:
        bucket, _, key = entry.name.partition("/")
        return places.place(bucket, key)

    def may_be(entry: Entry) -> bool:
        key = place_of(entry)[1]
        # Some stores take a key for a path: nothing may lead out of the folder, into the vault.
        leads_out = not _DOTS.isdisjoint(key.split("/"))
        return not leads_out and len(key.encode("utf-8", "surrogatepass")) <= _MOST_KEY_BYTES

    sampling = Sampling(job.id, SampleLimits(job.settings.objects, _SAMPLE_BYTES), may_be)
    sampling.take(_until(stop, job.vault.entries(manifest)))
    _refuse_forged_totals(job.backup, manifest, sampling)
    chosen = sampling.chosen
    sample = sampling.summary(chosen)
    _refuse_nothing(sample, job)
    found.sample = sample
    found.limits += _said_of(sample, sampling, chosen)
    return [_copy_of(entry, *place_of(entry)) for entry in chosen], sample


def _until(stop: threading.Event, entries: Iterable[Entry]) -> Iterator[Entry]:
    for entry in entries:
        _go_on(stop)
        yield entry


def _go_on(stop: threading.Event) -> None:
    if stop.is_set():
        raise RunStoppedError("The run is stopped.")


def _copy_of(entry: Entry, bucket: str, key: str) -> _Copy:
    # It exists for a moment: in no class that is slow, or that is paid for some months.
    facts = (entry.object or ObjectFacts()).model_copy(update={"storage_class": None})
    copied = entry.model_copy(update={"object": facts})
    return _Copy(copied, Step(entry.name, bucket, key, copied))


def _all[R](job: StorageDrillJob, work: Callable[[_Copy], R], copies: Iterable[_Copy]) -> Iterator[R]:
    yield from ordered_map(
        work, copies, cost_of=lambda copy: cost_of(copy.step), width=job.streams, memory_bytes=_ROOM_BYTES
    )


def _restored(copies: list[_Copy], done: list[Done], found: Found) -> list[_Copy]:
    """Return what came out of the vault; what did not is reported, unless the backup is not at fault."""
    there = []
    for copy, one in zip(copies, done, strict=True):
        if one.error is None and one.outcome is not None:
            there.append(copy)
        elif one.error is None:
            raise RunStoppedError("The run is stopped.")
        elif isinstance(one.error, IntegrityError):
            found.take_objects([_lost(copy.entry, one.error)])
            found.take_damage(one.error, copy.entry.name)
        else:
            raise one.error
    return there


def _compare(job: StorageDrillJob, copy: _Copy, stop: threading.Event) -> ObjectProof:
    _go_on(stop)
    entry = copy.entry
    read = job.place.bucket.read_back(copy.step.key, entry.object or ObjectFacts())
    is_same = (read.size, read.sha256) == (entry.size, entry.sha256)
    different = [*([] if is_same else ["other bytes"]), *(f"another {name}" for name in read.differing)]
    return _proof(entry, sha256_found=read.sha256, detail=", ".join(different) or None)


def _lost(entry: Entry, error: CoffreError) -> ObjectProof:
    return _proof(entry, sha256_found=None, detail=f"{error.message} [{error.code}]")


def _proof(entry: Entry, *, sha256_found: str | None, detail: str | None) -> ObjectProof:
    return ObjectProof(
        name=entry.name,
        verdict=Verdict.DIFFERENT if detail else Verdict.EQUAL,
        size_bytes=entry.size,
        sha256=entry.sha256,
        sha256_found=sha256_found,
        detail=detail,
    )


def _refuse_forged_totals(backup: Backup, manifest: Manifest, sampling: Sampling) -> None:
    content = manifest.storage
    told = {
        "objects": (backup.objects, content.objects, sampling.count),
        "bytes": (backup.plaintext_bytes, manifest.plaintext_bytes, sampling.size_bytes),
    }
    refuse_other_sums(backup, told)


def _refuse_nothing(sample: Sample, job: StorageDrillJob) -> None:
    if sample.objects and not sample.chosen:
        raise DrillImpossibleError(
            "No object of the backup can be restored by a drill.",
            code="NO_SAMPLE",
            detail=f"The target's drill.objects is {job.settings.objects}; each may have {_SAMPLE_BYTES:,} bytes.",
            hint=f"Have the backup read back instead: coffre verify --level read {job.backup.id}",
        )


def _said_of(sample: Sample, sampling: Sampling, chosen: list[Entry]) -> Iterator[str]:
    if not sample.is_all:
        yield (
            f"A sample: {sample.chosen:,} of {sample.objects:,} objects. The backup does not count as verified by it, "
            "and how long a restore of everything takes is not known. All is read by coffre verify --level read."
        )
    if sampling.unfit:
        keys = counted(sampling.unfit, "key")
        yield f"{keys} cannot be put below another prefix: too long, or with a part `.` or `..`."
    if sampling.unread:
        objects = counted(sampling.unread, "object")
        yield f"{objects} could not be read when the backup was taken, and cannot be restored."
    if any(one.object and (one.object.acl or one.object.storage_class not in (None, "STANDARD")) for one in chosen):
        yield "Storage classes and rights of objects (ACLs): the copies have those of the vault's bucket."
