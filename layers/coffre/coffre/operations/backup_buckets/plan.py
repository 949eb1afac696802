"""The plan of a bucket backup: the listing is compared with the previous backup, and cut into parts as it is read."""

from __future__ import annotations

import zlib
from collections.abc import Callable, Generator, Iterator
from dataclasses import dataclass, field
from typing import Final

from coffre.buckets.changes import Compared, ObjectChange, SourceObject, compare, with_stored
from coffre.model.errors import IntegrityError, StoreError
from coffre.model.manifest import Entry
from coffre.operations.backup_buckets import job as jobs
from coffre.operations.backup_buckets.job import BucketBackupJob, BucketPart, BucketTally, ToCompare, ToRead, Unchanged
from coffre.operations.backup_buckets.references import (
    Matched,
    PointOfRun,
    as_rows_say,
    is_meant,
    is_stored,
    matched,
    several_versions,
    without_mark,
)
from coffre.operations.backup_buckets.remaining_objects import Names
from coffre.operations.backup_buckets.stored_before import NOTHING_STORED, PreviousBackup, StoredSince, damaged
from coffre.operations.runs.progress import Meter
from coffre.policy.object_keys import key_choice
from coffre.vault.entries import live_bytes, packs_of
from coffre.vault.points import Reference

# A part is one thread's work: large enough for full packs, small enough that the end of a run does not wait for one.
_READ_BYTES: Final = 48 * 1024 * 1024
_READ_OBJECTS: Final = 1000
_ITEMS: Final = 2000


@dataclass
class Planner:
    """Yields parts in the order of the names, from the position of an earlier invocation.

    Parameters
    ----------
    may_continue
        Called before each part.
    stored
        What unfinished runs have stored since the previous backup.

    Attributes
    ----------
    is_over
        Whether all names have been yielded.
    unsorted
        Buckets whose listing had to be sorted.
    notes
        Notes for the manifest.
    """

    job: BucketBackupJob
    past: PreviousBackup
    meter: Meter
    may_continue: Callable[[], bool]
    stored: StoredSince = NOTHING_STORED
    is_over: bool = False
    unsorted: set[str] = field(default_factory=set)
    notes: list[str] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.notes += [*([self.past.note] if self.past.note else []), *self.stored.notes]

    def parts(self) -> Generator[BucketPart]:
        """Yield parts as long as there is time."""
        begun = self.job.begun
        number = begun.parts if begun else 0
        builder = self._builder()
        compared = compare(self._found(), self._previous(), frozenset(self.past.packs))
        compared = with_stored(compared, self.stored.entries(self._position, self.job.end))
        for one in matched(compared, self._references()):
            is_large = one.compared.found is not None and one.compared.found.listed.size >= jobs.LARGE_BYTES
            if is_large and builder.end:
                if not self.may_continue():
                    return
                yield builder.part(number)
                number, builder = number + 1, self._builder()
            builder.take(one)
            if is_large or builder.is_full:
                if not self.may_continue():
                    return
                yield builder.part(number)
                number, builder = number + 1, self._builder()
        self.is_over = True
        if builder.end:
            yield builder.part(number)

    def _builder(self) -> _PartBuilder:
        return _PartBuilder(self._is_compared, self.job.point)

    def _references(self) -> Iterator[Reference]:
        """Yield what the rows of the point refer to, as far as it belongs to this target."""
        point = self.job.point
        if point is None or point.references is None:
            return
        takes = {
            source.name: key_choice(source.prefixes, source.include, source.exclude)
            for source in self.job.target.buckets
        }
        for reference in point.references(self._position):
            if reference.bucket in takes and takes[reference.bucket](reference.key):
                yield reference

    def _is_compared(self, name: str) -> bool:
        """Tell whether this backup compares the attributes of this unchanged object."""
        target = self.job.target
        share = zlib.crc32(name.encode("utf-8", "surrogatepass")) % target.attributes_every
        return target.attributes == "compare" and share == self.past.turn % target.attributes_every

    @property
    def _position(self) -> str:
        return self.job.begun.position if self.job.begun else ""

    def _previous(self) -> Iterator[Entry]:
        """Yield the previous backup's entries, as far as they can be read. Objects without one are stored again."""
        manifest, end = self.past.manifest, self.job.end
        if manifest is None:
            return
        try:
            for entry in self.job.vault.entries(manifest, self._position, self.past.note_list):
                if end is not None and entry.name > end:
                    return
                if entry.name > self._position:
                    yield entry
        except (IntegrityError, StoreError) as error:
            if error.code == "STORE_DENIED":  # which is no damage: each backup would store everything again
                raise
            self.notes.append(damaged(manifest.backup_id, error))

    def _found(self) -> Iterator[SourceObject]:
        if self.job.point is not None and self.job.point.listing == "rows":
            return  # the references are all that is looked for
        yield from Names(self.job, self.meter, self.unsorted).found()


class _PartBuilder:
    """A part that is being filled."""

    def __init__(self, is_compared: Callable[[str], bool], point: PointOfRun | None) -> None:
        self._is_compared = is_compared
        self._point = point
        self._items: list[Unchanged | ToRead | ToCompare] = []
        self._tally = BucketTally()
        self._read_bytes = 0
        self._read_objects = 0
        self.end = ""

    @property
    def is_full(self) -> bool:
        return len(self._items) >= _ITEMS or self._read_objects >= _READ_OBJECTS or self._read_bytes >= _READ_BYTES

    def take(self, one: Matched) -> None:
        """Add one name."""
        compared, self.end = one.compared, one.compared.name
        if one.reference is not None and self._point is not None:
            self._take_referenced(compared, one.reference, self._point)
            return
        if self._point is not None and self._point.references is not None:
            self._tally.orphans += compared.found is not None
        self._take(compared)

    def _take_referenced(self, compared: Compared, reference: Reference, point: PointOfRun) -> None:
        """Add an object that a row refers to: as the row means it, wherever that is."""
        self._tally.references += 1 + reference.others
        if reference.others:
            self._tally.dangling += reference.others
            self._tally.replaced += reference.others
            self._tally.unread.add(reference.bucket, reference.name, several_versions(), is_stored=True)
        found, previous = compared.found, compared.previous
        if found is not None and is_meant(found.listed, reference, point.taken_at):
            self._take(compared, reference)
        elif previous is not None and is_stored(previous, reference):
            self._keep(reference.bucket, previous)
        elif point.listing == "rows":
            self._read(ToRead(reference.name, as_rows_say(reference), compared.change, previous, reference))
        else:
            self._read(ToRead(reference.name, found, compared.change, previous, reference, is_elsewhere=True))

    def _take(self, compared: Compared, reference: Reference | None = None) -> None:
        found, previous = compared.found, compared.previous
        if found is None:
            self._tally.removed += 1
        elif compared.change is ObjectChange.UNCHANGED and previous is not None:
            self._keep_or_compare(found, previous, ObjectChange.UNCHANGED)
        elif compared.is_stored and compared.stored is not None:
            self._keep_or_compare(found, compared.stored, compared.change)
        else:
            known = [entry for entry in (compared.stored, previous) if entry is not None]
            self._read(ToRead(compared.name, found, compared.change, next(iter(known), None), reference))

    def _keep_or_compare(self, found: SourceObject, entry: Entry, change: ObjectChange) -> None:
        entry = without_mark(_as_listed(entry, found))
        unknown = entry.object.unknown if entry.object else ()
        if self._is_compared(found.name):
            self._items.append(ToCompare(found.name, found, entry, change))
        elif unknown:
            self._items.append(ToCompare(found.name, found, entry, change, unknown))
        else:
            self._keep(found.bucket, entry, change)

    def _read(self, item: ToRead) -> None:
        self._items.append(item)
        meant = item.reference.size or 0 if item.reference else 0
        self._read_bytes += item.found.listed.size if item.found else meant
        self._read_objects += 1

    def _keep(self, bucket: str, entry: Entry, change: ObjectChange = ObjectChange.UNCHANGED) -> None:
        entry = without_mark(entry)
        line = entry.model_dump_json(exclude_defaults=True).encode() + b"\n"
        is_new = change is not ObjectChange.UNCHANGED
        self._items.append(Unchanged(entry.name, line, packs_of(entry) if is_new else frozenset()))
        self._tally.count(bucket, entry.size, change)
        self._tally.uncompared += 1
        for pack, length in live_bytes(entry):
            self._tally.live_bytes[pack] += length

    def part(self, number: int) -> BucketPart:
        return BucketPart(number, tuple(self._items), self.end, self._tally)


def _as_listed(entry: Entry, found: SourceObject) -> Entry:
    """Return the entry of an unchanged object with the listed storage class: lifecycle rules change only that."""
    listed, facts = found.listed.storage_class, entry.object
    if listed is None or facts is None or listed == (facts.storage_class or "STANDARD"):
        return entry
    storage_class = None if listed == "STANDARD" else listed
    return entry.model_copy(update={"object": facts.model_copy(update={"storage_class": storage_class})})
