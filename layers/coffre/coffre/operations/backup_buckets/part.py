"""One part of a bucket backup: objects are read, hashed, cut into frames and stored; failures are recorded."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from concurrent.futures import Future
from dataclasses import dataclass, field, replace
from itertools import chain, islice
from typing import Final

from coffre.buckets.changes import SourceObject
from coffre.buckets.object_reading import ObjectReading, refreshed
from coffre.buckets.read_ahead import ReadAhead, pieces_of
from coffre.buckets.read_ahead import Wanted as PieceWanted
from coffre.buckets.reader import Piece
from coffre.concurrency.memory_budget import MemoryBudget
from coffre.model.errors import (
    CoffreError,
    IntegrityError,
    ObjectMissingError,
    RunStoppedError,
    StoreError,
    StoreTransientError,
)
from coffre.model.manifest import Entry, EntryKind, ObjectFacts
from coffre.operations.backup_buckets import job as jobs
from coffre.operations.backup_buckets.attributes import compare_attributes
from coffre.operations.backup_buckets.denied import DENIED, fails_alone
from coffre.operations.backup_buckets.job import (
    UPLOADS,
    BucketBackupJob,
    BucketPart,
    BucketPartResult,
    BucketTally,
    ToRead,
    Unchanged,
)
from coffre.operations.backup_buckets.large_object import LargeObject
from coffre.operations.backup_buckets.part_files import lines_of
from coffre.operations.backup_buckets.references import PointOfRun, as_rows_say, dangling, find_version, is_meant
from coffre.operations.backup_buckets.unread import reason_of
from coffre.operations.runs.progress import Meter
from coffre.vault.entries import Begun, EntryWriter, live_bytes
from coffre.vault.points import Reference

_ATTEMPTS: Final = 3
_READ_AGAIN: Final = frozenset({"OBJECT_CHANGED", "DOWNLOAD_CORRUPTED"})
# Errors of one object: the others can be read.
_OF_THE_OBJECT: Final = frozenset(
    {"STORE_DENIED", "KMS_UNUSABLE", "OBJECT_ARCHIVED", "OBJECT_CHANGED", "DOWNLOAD_CORRUPTED", "OBJECT_MISSING"}
    | {"STORE_FAILED", "KEY_INVALID", "HAND_IN_AGAIN", "BUNDLE_DAMAGED", "LFS_UNREADABLE", "RANGE_UNSUPPORTED"}
)
_EMPTY_SHA256: Final = hashlib.sha256().hexdigest()


def run_part(
    job: BucketBackupJob, part: BucketPart, ahead: ReadAhead, memory: MemoryBudget, meter: Meter, backup_id: str
) -> BucketPartResult:
    """Store one part. It can be repeated, and does not depend on the others.

    Raises
    ------
    StoreTransientError
        The store of the bucket or of the vault does not answer.
    CoffreError
    """
    tally = part.tally
    kept = sum(isinstance(item, Unchanged) for item in part.items)
    meter.add(size_bytes=sum(tally.sizes.values()), objects=kept)
    compared = compare_attributes(job.reader, ahead.pool, part, tally, meter)
    wanted = [item for item in part.items if isinstance(item, ToRead)]
    large = LargeObject(job.begun.begun if job.begun else ())
    with job.vault.pack_writer(backup_id, part.number, job.encoder, memory, uploads=UPLOADS) as packs:
        known = {item.name: item.previous for item in wanted if item.previous is not None}
        writer = EntryWriter(packs, known)
        if job.recorder is not None:
            job.recorder.begin(part.number, packs, writer)
        is_first = part.number == (job.begun.parts if job.begun else 0)
        work = _Reader(ahead, writer, tally, meter, job.point, large, is_first)
        is_stopped = False
        try:
            work.read(wanted)
        except (RunStoppedError, StoreTransientError):
            is_stopped = True
            if not large.is_begun:
                raise
        entries = {entry.name: entry for entry in (*work.entries.close(), *work.unread)}
    file = job.scratch / f"part-{part.number:06d}.jsonl.zst"
    if is_stopped:
        file.touch()
        return BucketPartResult(part.number, file, "", "", part.end, tuple(packs.packs), BucketTally(), large.begun())
    lines = lines_of(part, {**entries, **compared})
    lines.write(file)
    if job.recorder is not None:
        new = job.scratch / f"new-{part.number:06d}.zst"
        try:
            job.recorder.finish_packed(part.number, lines.write_new(new))
        except OSError:  # a full disk: the run does not depend on its records
            new.unlink(missing_ok=True)
    for entry in entries.values():
        for pack, length in live_bytes(entry):
            tally.live_bytes[pack] += length
    return BucketPartResult(part.number, file, lines.first, lines.last, part.end, tuple(packs.packs), tally)


@dataclass
class _Wanted:
    """One object that is being read. `error` says why the reference to it is dangling, if it is."""

    item: ToRead
    found: SourceObject
    error: StoreError | None = None

    @property
    def is_pinned(self) -> bool:
        """Whether only the very object that the row means will do."""
        return self.item.reference is not None and self.error is None

    def pieces(self, start: int = 0) -> list[PieceWanted]:
        return pieces_of(self.found, as_listed=self.is_pinned, start=start)


@dataclass
class _Reader:
    """Reads the objects of a part, each until it is complete or given up."""

    ahead: ReadAhead
    entries: EntryWriter
    tally: BucketTally
    meter: Meter
    point: PointOfRun | None = None
    large: LargeObject = field(default_factory=LargeObject)
    is_first: bool = False  # an earlier invocation may have stopped at one of its objects
    unread: list[Entry] = field(default_factory=list)

    def read(self, items: list[ToRead]) -> None:
        wanted = [one for one in self.ahead.pool.map(self._locate, items) if isinstance(one, _Wanted)]
        plans = [one.pieces(self.large.size_stored(one.found)) for one in wanted]
        fetching = self.ahead.fetch(chain.from_iterable(plans))
        for one, plan in zip(wanted, plans, strict=True):
            pieces = islice(fetching, len(plan))
            self._object(one, pieces)
            for left in pieces:  # of an object that was given up
                left.cancel()

    def _object(self, one: _Wanted, pieces: Iterator[Future[Piece]]) -> None:
        md5, code = None, ""
        if one.found.listed.size > jobs.MOST_OBJECT_BYTES:
            self._give_up_one(one, _too_large(one.found))
            return
        for attempt in range(1, _ATTEMPTS + 1):
            begun = self.large.begin(one.found) if attempt == 1 else None
            reading = ObjectReading(self.ahead.reader, one.found, pieces, md5, begun.size if begun else 0)
            try:
                if attempt > 1:
                    reading = self._again(one, md5, is_other=code == "OBJECT_CHANGED")
                    begun = self.large.begin(one.found, is_again=True)
                entry = self._add(one, reading, begun)
            except RunStoppedError:
                raise
            except ObjectMissingError as error:
                if one.is_pinned and self._relocate(one):
                    code = ""
                elif self._gone_for_good(one, error, attempt):
                    return
            except (StoreTransientError, StoreError, IntegrityError) as error:
                md5, code = reading.md5, error.code
                is_alone = self.is_first and fails_alone(self.ahead.reader, one.found, error)
                if error.code not in _OF_THE_OBJECT and not is_alone:
                    raise
                if error.code not in _READ_AGAIN or attempt == _ATTEMPTS:
                    self._give_up_one(one, error)
                    return
                if code == "OBJECT_CHANGED" and one.is_pinned and self._relocate(one):
                    md5, code = None, ""
            else:
                self._count(one.item, reading.found, entry)
                return
        self._give_up_one(one, StoreError("It changed repeatedly while it was read.", code="OBJECT_CHANGED"))

    def _again(self, one: _Wanted, md5: str | None, *, is_other: bool) -> ObjectReading:
        """Return another reading. An object that was replaced is read as it is now."""
        if is_other:
            one.found = refreshed(self.ahead.reader, one.found)
        return ObjectReading(self.ahead.reader, one.found, self.ahead.fetch(one.pieces()), md5)

    def _add(self, one: _Wanted, reading: ObjectReading, begun: Begun | None) -> Entry:
        entry = self.entries.add(
            one.item.name, EntryKind.OBJECT, reading.chunks(), facts=lambda: self._facts(one, reading), begun=begun
        )
        self.large.end()
        return entry

    def _count(self, item: ToRead, found: SourceObject, entry: Entry) -> None:
        self.tally.count(found.bucket, entry.size, item.change)
        self.tally.read += 1
        self.meter.add(size_bytes=entry.size, objects=1, current=item.name)

    def _gone_for_good(self, one: _Wanted, error: ObjectMissingError, attempt: int) -> bool:
        """Tell whether an object does not exist any more, or (in the last attempt) was given up."""
        found = one.found
        if one.item.reference is not None:
            self._dangle(found, dangling(None))
            return True
        if not self.ahead.reader.is_listed(found.bucket, found.listed.key):
            self.tally.vanished += 1
            self._no_orphan(one)
            return True
        if attempt == _ATTEMPTS:
            self._give_up_one(one, error)
            return True
        return False

    # --- what rows of a restore point refer to ---

    def _locate(self, item: ToRead) -> _Wanted | None:
        """Return what is to be read; None: a row refers to it, and it does not exist any more."""
        reference, error = item.reference, None
        if reference is not None and item.is_elsewhere:
            found = self._version(reference)
            if found is not None:
                return _Wanted(item, found)
            error = dangling(item.found.listed if item.found else None)
            if item.found is None:
                self._dangle(as_rows_say(reference), error)
                return None
        assert item.found is not None  # noqa: S101 - for mypy
        return _Wanted(item, item.found, error)

    def _relocate(self, one: _Wanted) -> bool:
        """Look for the version that a row means, after the object was replaced or deleted; tell whether it exists.

        If not, the newest version is read, and named.
        """
        reference = one.item.reference
        found = self._version(reference) if reference is not None else None
        if found is not None:
            one.found = found
        elif reference is not None:
            one.error = dangling(one.found.listed)
        return found is not None

    def _version(self, reference: Reference) -> SourceObject | None:
        assert self.point is not None  # noqa: S101 - for mypy
        return find_version(self.ahead.reader, reference, self.point.taken_at)

    def _facts(self, one: _Wanted, reading: ObjectReading) -> ObjectFacts:
        facts, reference = reading.facts(), one.item.reference
        if reference is None or self.point is None:
            return facts
        if self.point.listing == "rows":  # no listing has shown when it was stored
            facts = facts.model_copy(update={"last_modified": reading.modified})
            seen = replace(reading.found.listed, last_modified=reading.modified)
            if one.error is None and not is_meant(seen, reference, self.point.taken_at):
                one.error = dangling(seen)
        if one.error is None:
            return facts
        self.tally.dangling += 1
        self.tally.replaced += 1
        self.tally.unread.add(reference.bucket, reference.name, one.error, is_stored=True)
        return facts.model_copy(update={"dangling": one.error.message})

    def _dangle(self, found: SourceObject, error: StoreError) -> None:
        self.tally.dangling += 1
        self._give_up(found, error)

    def _no_orphan(self, one: _Wanted) -> None:
        """Take back that an object without a row is in the backup."""
        if one.item.reference is None and self.point is not None and self.point.references is not None:
            self.tally.orphans -= 1

    def _give_up_one(self, one: _Wanted, error: CoffreError) -> None:
        """Record an object that cannot be read; if a row refers to it, the reference dangles."""
        self._no_orphan(one)
        self.tally.dangling += one.item.reference is not None
        self._give_up(one.found, error)

    def _give_up(self, found: SourceObject, error: CoffreError) -> None:
        """Record an object whose bytes are not in the backup, with the reason."""
        listed, name = found.listed, f"{found.bucket}/{found.listed.key}"
        facts = ObjectFacts(
            etag=listed.etag,
            last_modified=listed.last_modified,
            storage_class=listed.storage_class,
            unread=f"{error.code}: {reason_of(error)}",
        )
        entry = Entry(name=name, kind=EntryKind.OBJECT, size=listed.size, sha256=_EMPTY_SHA256, object=facts)
        self.unread.append(entry)
        self.tally.unread.add(found.bucket, name, error)
        if error.code in DENIED:
            self.tally.denied[found.bucket] += 1
        self.meter.add(objects=1, size_bytes=listed.size)


def _too_large(found: SourceObject) -> StoreError:
    return StoreError(
        f"It has {found.listed.size:,} bytes; the most that is backed up of one object is {jobs.MOST_OBJECT_BYTES:,}.",
        code="OBJECT_TOO_LARGE",
    )
