"""One part of a bucket backup: objects are read, hashed, cut into frames and stored; failures are recorded."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from concurrent.futures import Future
from dataclasses import dataclass, field
from itertools import chain, islice
from pathlib import Path
from typing import Final

from backports import zstd

from coffre.buckets.changes import SourceObject
from coffre.buckets.read_ahead import ReadAhead, pieces_of
from coffre.buckets.reader import Piece
from coffre.buckets.reading import ObjectReading, refreshed
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
from coffre.operations.backup_buckets.attributes import compare_attributes
from coffre.operations.backup_buckets.job import (
    UPLOADS,
    BucketBackupJob,
    BucketPart,
    BucketPartResult,
    BucketTally,
    ToRead,
    Unchanged,
)
from coffre.operations.backup_buckets.unread import reason_of
from coffre.operations.runs.progress import Meter
from coffre.vault.entries import EntryWriter, live_bytes

_ATTEMPTS: Final = 3
_READ_AGAIN: Final = frozenset({"OBJECT_CHANGED", "DOWNLOAD_CORRUPTED"})
# Errors of one object: the others can be read.
_OF_THE_OBJECT: Final = frozenset(
    {"STORE_DENIED", "KMS_UNUSABLE", "OBJECT_ARCHIVED", "OBJECT_CHANGED", "DOWNLOAD_CORRUPTED", "OBJECT_MISSING"}
    | {"STORE_FAILED", "KEY_INVALID", "HAND_IN_AGAIN"}
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
    with job.vault.pack_writer(backup_id, part.number, job.encoder, memory, uploads=UPLOADS) as packs:
        known = {item.name: item.previous for item in wanted if item.previous is not None}
        work = _Reader(ahead, EntryWriter(packs, known), tally, meter)
        work.read(wanted)
        entries = {entry.name: entry for entry in (*work.entries.close(), *work.unread)}
    lines = _lines(part, {**entries, **compared})
    file = job.scratch / f"part-{part.number:06d}.jsonl.zst"
    names = _write(lines, file)
    for entry in entries.values():
        for pack, length in live_bytes(entry):
            tally.live_bytes[pack] += length
    first, last = (names[0], names[-1]) if names else ("", "")
    return BucketPartResult(part.number, file, first, last, part.end, tuple(packs.packs), tally)


@dataclass
class _Reader:
    """Reads the objects of a part, each until it is complete or given up."""

    ahead: ReadAhead
    entries: EntryWriter
    tally: BucketTally
    meter: Meter
    unread: list[Entry] = field(default_factory=list)

    def read(self, wanted: list[ToRead]) -> None:
        plans = [pieces_of(item.found) for item in wanted]
        fetching = self.ahead.fetch(chain.from_iterable(plans))
        for item, plan in zip(wanted, plans, strict=True):
            pieces = islice(fetching, len(plan))
            self._object(item, pieces)
            for left in pieces:  # of an object that was given up
                left.cancel()

    def _object(self, item: ToRead, pieces: Iterator[Future[Piece]]) -> None:
        found, md5, code = item.found, None, ""
        for attempt in range(1, _ATTEMPTS + 1):
            reading = ObjectReading(self.ahead.reader, found, pieces, md5)
            try:
                if attempt > 1:
                    reading = self._again(found, md5, is_other=code == "OBJECT_CHANGED")
                    found = reading.found
                entry = self._add(item, reading)
            except RunStoppedError:
                raise
            except ObjectMissingError as error:
                if self._gone_for_good(found, error, attempt):
                    return
            except (StoreTransientError, StoreError, IntegrityError) as error:
                md5, code = reading.md5, error.code
                if error.code not in _OF_THE_OBJECT:
                    raise
                if error.code not in _READ_AGAIN or attempt == _ATTEMPTS:
                    self._give_up(found, error)
                    return
            else:
                self._count(item, reading.found, entry)
                return
        self._give_up(found, StoreError("It changed repeatedly while it was read.", code="OBJECT_CHANGED"))

    def _again(self, found: SourceObject, md5: str | None, *, is_other: bool) -> ObjectReading:
        """Return another reading. An object that was replaced is read as it is now."""
        found = refreshed(self.ahead.reader, found) if is_other else found
        return ObjectReading(self.ahead.reader, found, self.ahead.fetch(pieces_of(found)), md5)

    def _add(self, item: ToRead, reading: ObjectReading) -> Entry:
        return self.entries.add(item.name, EntryKind.OBJECT, reading.chunks(), facts=reading.facts)

    def _count(self, item: ToRead, found: SourceObject, entry: Entry) -> None:
        self.tally.count(found.bucket, entry.size, item.change)
        self.tally.read += 1
        self.meter.add(size_bytes=entry.size, objects=1, current=item.name)

    def _gone_for_good(self, found: SourceObject, error: ObjectMissingError, attempt: int) -> bool:
        """Tell whether an object does not exist any more, or (in the last attempt) was given up."""
        if not self.ahead.reader.is_listed(found.bucket, found.listed.key):
            self.tally.vanished += 1
            return True
        if attempt == _ATTEMPTS:
            self._give_up(found, error)
            return True
        return False

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
        if error.code in {"STORE_DENIED", "KMS_UNUSABLE", "STORE_FAILED"}:
            self.tally.denied[found.bucket] += 1
        self.meter.add(objects=1, size_bytes=listed.size)


def _lines(part: BucketPart, entries: dict[str, Entry]) -> Iterator[tuple[str, bytes]]:
    for item in part.items:
        if isinstance(item, Unchanged):
            yield item.name, item.line
        elif item.name in entries:
            yield item.name, entries[item.name].model_dump_json(exclude_defaults=True).encode() + b"\n"


def _write(lines: Iterator[tuple[str, bytes]], file: Path) -> list[str]:
    names = []
    with zstd.open(file, "wb", level=1) as output:
        for name, line in lines:
            names.append(name)
            output.write(line)
    return names
