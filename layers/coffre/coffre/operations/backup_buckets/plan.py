"""The plan of a backup of buckets: listing beside previous backup, cut into parts while it goes on."""

from __future__ import annotations

import zlib
from collections.abc import Callable, Generator, Iterator
from dataclasses import dataclass, field
from typing import Final

from coffre.buckets.changes import Compared, Found, ObjectChange, compare
from coffre.buckets.listing import LOOKED_AT, LOOKED_AT_ELSEWHERE, SortedListing, merged_prefixes, pages_of
from coffre.model.errors import IntegrityError, StoreError
from coffre.model.manifest import Entry, Manifest, PackReference
from coffre.model.target import BucketSource
from coffre.operations.backup_buckets.job import BucketBackupJob, BucketPart, BucketTally, ToCompare, ToRead, Unchanged
from coffre.operations.runs.progress import Meter
from coffre.operations.stored_backup.open import manifest_of
from coffre.policy.keys import key_choice
from coffre.vault.entries import live_bytes
from coffre.vault.history import usable_packs

# A part is one thread's work: enough that its packs are full, not so much that the end of a run waits for one of them.
_READ_BYTES: Final = 48 * 1024 * 1024
_READ_OBJECTS: Final = 1000
_ITEMS: Final = 2000


@dataclass(frozen=True)
class PreviousBackup:
    """The previous backup: the packs of it that may be pointed at, and what is to be said about it.

    `turn` is this backup's number among those that share out what is compared.
    """

    manifest: Manifest | None = None
    packs: dict[str, PackReference] = field(default_factory=dict)
    note: str | None = None

    @property
    def turn(self) -> int:
        return self.manifest.storage.compare_turn + 1 if self.manifest else 0


def open_previous(job: BucketBackupJob) -> PreviousBackup:
    """Return the previous backup. If it cannot be used, all is stored anew, and it is said why."""
    previous = job.previous
    if previous is None or previous.manifest_key is None or previous.manifest_sha256 is None:
        return PreviousBackup()
    try:
        manifest = manifest_of(job.vault, previous)
        if set(manifest.recipients) != set(job.recipients):
            return PreviousBackup(note="The recipients changed: everything was stored anew.")
        return PreviousBackup(manifest, usable_packs(job.vault, manifest))
    except (IntegrityError, StoreError) as error:
        return PreviousBackup(note=_damaged(previous.id, error))


@dataclass
class Planner:
    """Yields parts in the order of the names, from where an earlier invocation stopped.

    Parameters
    ----------
    may_go_on
        Asked before each part.

    Attributes
    ----------
    is_over
        Whether every name was given out.
    unsorted
        Buckets whose listing had to be sorted.
    notes
        What a person should know.
    """

    job: BucketBackupJob
    past: PreviousBackup
    meter: Meter
    may_go_on: Callable[[], bool]
    is_over: bool = False
    unsorted: set[str] = field(default_factory=set)
    notes: list[str] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.notes += [self.past.note] if self.past.note else []

    def parts(self) -> Generator[BucketPart]:
        """Yield the parts, as many as there is time for."""
        begun = self.job.begun
        number = begun.parts if begun else 0
        making = _Making(self._is_compared)
        for compared in compare(self._found(), self._previous(), frozenset(self.past.packs)):
            making.take(compared)
            if making.is_full:
                if not self.may_go_on():
                    return
                yield making.part(number)
                number, making = number + 1, _Making(self._is_compared)
        self.is_over = True
        if making.end:
            yield making.part(number)

    def _is_compared(self, name: str) -> bool:
        """Tell whether the attributes of an unchanged object are this backup's to compare."""
        target = self.job.target
        share = zlib.crc32(name.encode("utf-8", "surrogatepass")) % target.attributes_every
        return target.attributes == "compare" and share == self.past.turn % target.attributes_every

    @property
    def _position(self) -> str:
        return self.job.begun.position if self.job.begun else ""

    def _previous(self) -> Iterator[Entry]:
        """Yield the previous backup's entries, as far as they can be read: what has none is stored anew."""
        manifest = self.past.manifest
        if manifest is None:
            return
        try:
            for entry in self.job.vault.entries(manifest, self._position):
                if entry.name > self._position:
                    yield entry
        except (IntegrityError, StoreError) as error:
            self.notes.append(_damaged(manifest.backup_id, error))

    def _found(self) -> Iterator[Found]:
        for source in sorted(self.job.target.buckets, key=lambda bucket: f"{bucket.name}/"):
            folder = f"{source.name}/"
            if self._position.startswith(folder):
                yield from self._in_bucket(source, self._position.removeprefix(folder))
            elif self._position < folder:
                yield from self._in_bucket(source, None)

    def _in_bucket(self, source: BucketSource, after: str | None) -> Iterator[Found]:
        takes = key_choice(source.prefixes, source.include, source.exclude)
        begun = self.job.begun
        for prefix in merged_prefixes(source.prefixes):
            if after is not None and prefix < after and not after.startswith(prefix):
                continue
            pages = pages_of(
                self.job.reader,
                source.name,
                prefix,
                takes=takes,
                after=after if after is not None and after.startswith(prefix) else None,
                may_skip=begun is None or source.name not in begun.unsorted,
            )
            call = self.job.reader.call("s3:ListBucket", source.name, prefix)
            yield from self._read(SortedListing(pages, call, self.job.scratch, self._looked_at))

    def _read(self, listing: SortedListing) -> Iterator[Found]:
        bucket = listing.call.bucket
        self.meter.begin("listing")
        for stretch in listing.stretches():
            if not listing.is_sorted:
                self.unsorted.add(bucket)
            known = self.meter.read()
            self.meter.begin(
                "objects",
                total_bytes=known.total_bytes + stretch.size,
                total_objects=known.total_objects + stretch.count,
            )
            for found in stretch.objects:
                yield Found(f"{bucket}/{found.key}", bucket, found)

    @property
    def _looked_at(self) -> int:
        is_aws = self.job.target.store.endpoint is None
        return self.job.looked_at or (LOOKED_AT if is_aws else LOOKED_AT_ELSEWHERE)


class _Making:
    """A part in the making."""

    def __init__(self, is_compared: Callable[[str], bool]) -> None:
        self._is_compared = is_compared
        self._items: list[Unchanged | ToRead | ToCompare] = []
        self._tally = BucketTally()
        self._read_bytes = 0
        self._read_objects = 0
        self.end = ""

    @property
    def is_full(self) -> bool:
        return len(self._items) >= _ITEMS or self._read_objects >= _READ_OBJECTS or self._read_bytes >= _READ_BYTES

    def take(self, compared: Compared) -> None:
        """Add one name."""
        self.end = compared.name
        found, previous = compared.found, compared.previous
        if found is None:
            self._tally.removed += 1
        elif compared.change is ObjectChange.UNCHANGED and previous is not None:
            previous = _as_listed(previous, found)
            if self._is_compared(found.name):
                self._items.append(ToCompare(found.name, found, previous))
            else:
                self._keep(found, previous)
        else:
            self._items.append(ToRead(compared.name, found, compared.change, previous))
            self._read_bytes += found.listed.size
            self._read_objects += 1

    def _keep(self, found: Found, previous: Entry) -> None:
        self._items.append(Unchanged(previous.name, previous.model_dump_json(exclude_defaults=True).encode() + b"\n"))
        self._tally.count(found.bucket, previous.size, ObjectChange.UNCHANGED)
        self._tally.uncompared += 1
        for pack, length in live_bytes(previous):
            self._tally.live_bytes[pack] += length

    def part(self, number: int) -> BucketPart:
        return BucketPart(number, tuple(self._items), self.end, self._tally)


def _as_listed(entry: Entry, found: Found) -> Entry:
    """Return an unchanged object's entry with the storage class of the listing: lifecycle rules change nothing else."""
    listed, facts = found.listed.storage_class, entry.object
    if listed is None or facts is None or listed == (facts.storage_class or "STANDARD"):
        return entry
    storage_class = None if listed == "STANDARD" else listed
    return entry.model_copy(update={"object": facts.model_copy(update={"storage_class": storage_class})})


def _damaged(backup_id: str, error: IntegrityError | StoreError) -> str:
    return f"The previous backup {backup_id} is damaged, what it has was stored anew: {error.message}"
