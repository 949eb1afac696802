"""The job of a bucket backup, its parts and their results."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path
from typing import Final

from coffre.buckets.changes import ObjectChange, SourceObject
from coffre.buckets.source import ObjectSource
from coffre.model.any_target import ObjectTarget
from coffre.model.backup import Backup
from coffre.model.manifest import Entry, PackReference
from coffre.operations.backup_buckets.references import PointOfRun
from coffre.operations.backup_buckets.unread import Unread
from coffre.operations.runs.parallel_map import Runner
from coffre.operations.runs.part_recorder import PartRecorder
from coffre.operations.runs.run import Run, Spread
from coffre.operations.runs.unfinished_runs import UnfinishedRun
from coffre.vault.bucket_progress import BegunObject, BucketProgress
from coffre.vault.codec import FrameEncoder
from coffre.vault.points import Reference
from coffre.vault.vault import Vault

# Threads that compress, encrypt and store. It does not depend on the number of connections: each thread holds a pack.
WORKERS: Final = 3
# For pieces that are read and wait for a worker, over all parts.
READ_AHEAD_BYTES: Final = 24 * 1024 * 1024
PACKS_IN_MEMORY: Final = 5
# Of one part: an object of gigabytes is one part, and a single connection is slower than its worker.
UPLOADS: Final = 3
# An object of this size is a part of its own, and continued by the next invocation when the time is over in the middle.
LARGE_BYTES: Final = 1024**3
# Its list of frames is in memory as a whole (0.4 GB for this size), and a line of the entries (24 MiB of at most 64).
MOST_OBJECT_BYTES: Final = 512 * 1024**3
# The watch ends the whole run a little later.
_LEAST_STOP_SECONDS: Final = 25.0


@dataclass(frozen=True)
class TimeBudget:
    """When an invocation stops, in seconds before the platform kills it.

    `no_new_parts`: from then on, only parts that were begun are finished. `stop`: unfinished parts are left to the next
    invocation, and only the progress is stored.
    """

    no_new_parts: float = 120.0
    stop: float = 50.0

    def within(self, seconds: float) -> TimeBudget:
        """Return the budget for an invocation that has this many seconds."""
        return TimeBudget(min(self.no_new_parts, seconds / 4), min(self.stop, max(seconds / 8, _LEAST_STOP_SECONDS)))


@dataclass(frozen=True)
class BucketBackupJob:
    """What a run needs: where to read, where to write, with what, and how wide.

    With `is_range` it is a part of a run that several functions take together: the names after the position of `begun`
    up to `end` (None: all that follow); about `before` objects of the run have earlier names. `turn` is then the number
    of the range, greater than that of any invocation of a chain. `spread` gives the rest of a run to several functions,
    and is asked before the next invocation is started. `unfinished` are the runs since `previous` that did not finish,
    the newest first; `recorder` keeps what this run stores for the next.
    """

    target: ObjectTarget
    reader: ObjectSource
    vault: Vault
    encoder: FrameEncoder
    recipients: tuple[str, ...]
    scratch: Path
    runner: Runner
    now: Callable[[], datetime]
    remaining_seconds: Callable[[], float]
    start_next: Callable[[int], None]
    previous: Backup | None = None
    begun: BucketProgress | None = None
    time_budget: TimeBudget = TimeBudget()
    looked_at: int | None = None
    point: PointOfRun | None = None
    spread: Callable[[Run, BucketProgress | None], Spread | None] = lambda _run, _progress: None
    end: str | None = None
    is_range: bool = False
    before: int = 0
    turn: int = 0
    unfinished: tuple[UnfinishedRun, ...] = ()
    recorder: PartRecorder | None = None


@dataclass(frozen=True, slots=True)
class Unchanged:
    """An object that is stored already, with the line of its entry: by the previous backup, or by a run since then.

    `new_in` are the packs with its frames, if it was stored by a run since then.
    """

    name: str
    line: bytes
    new_in: frozenset[str] = frozenset()


@dataclass(frozen=True, slots=True)
class ToRead:
    """An object whose bytes are to be read. `previous` is its entry of an earlier run, if that is usable.

    A row refers to it if there is a `reference`. With `is_elsewhere` the listing does not have what the row means: it
    is looked for among older versions, and `found` (None: nothing) is read if there is none.
    """

    name: str
    found: SourceObject | None
    change: ObjectChange
    previous: Entry | None
    reference: Reference | None = None
    is_elsewhere: bool = False


@dataclass(frozen=True, slots=True)
class ToCompare:
    """An object that the listing shows unchanged, whose tags and grants are to be compared with its entry's.

    Of what an unfinished run has stored, `change` is what became of the object since the previous backup. `only` those
    are asked for which the entry lacks; none: both.
    """

    name: str
    found: SourceObject
    previous: Entry
    change: ObjectChange = ObjectChange.UNCHANGED
    only: tuple[str, ...] = ()


@dataclass
class BucketTally:
    """Counts of a part or a run: `objects` and `sizes` by bucket, `unread` for objects that could not be read.

    `compared` and `uncompared` are unchanged objects whose attributes were compared, or not. Of `references` of a
    restore point, `dangling` ones have no object in the backup, or (`replaced`) one in another version; to `orphans` no
    row refers.
    """

    objects: Counter[str] = field(default_factory=Counter)
    sizes: Counter[str] = field(default_factory=Counter)
    added: int = 0
    changed: int = 0
    removed: int = 0
    vanished: int = 0
    read: int = 0
    compared: int = 0
    uncompared: int = 0
    attributes_changed: int = 0
    references: int = 0
    dangling: int = 0
    replaced: int = 0
    orphans: int = 0
    unread: Unread = field(default_factory=Unread)
    denied: Counter[str] = field(default_factory=Counter)
    live_bytes: Counter[str] = field(default_factory=Counter)

    def add(self, other: BucketTally) -> None:
        """Add the counts of another part."""
        for counter, more in (
            (self.objects, other.objects),
            (self.sizes, other.sizes),
            (self.denied, other.denied),
            (self.live_bytes, other.live_bytes),
        ):
            counter.update(more)
        self.added += other.added
        self.changed += other.changed
        self.removed += other.removed
        self.vanished += other.vanished
        self.read += other.read
        self.compared += other.compared
        self.uncompared += other.uncompared
        self.attributes_changed += other.attributes_changed
        self.references += other.references
        self.dangling += other.dangling
        self.replaced += other.replaced
        self.orphans += other.orphans
        self.unread.take(other.unread)

    def count(self, bucket: str, size: int, change: ObjectChange) -> None:
        """Count an object that is in the backup."""
        self.objects[bucket] += 1
        self.sizes[bucket] += size
        self.added += change is ObjectChange.ADDED
        self.changed += change is ObjectChange.CHANGED


@dataclass(frozen=True)
class BucketPart:
    """A range of names. `end` is the last one, maybe a removed object's. `tally` counts what needs no reading."""

    number: int
    items: tuple[Unchanged | ToRead | ToCompare, ...]
    end: str
    tally: BucketTally


@dataclass(frozen=True)
class BucketPartResult:
    """The result of a part: `lines` is a zstd file of its entries' lines, sorted by name, from `first` to `last`.

    With `begun` the time was over in the middle of the only object of the part: there are no lines, only packs.
    """

    number: int
    lines: Path
    first: str
    last: str
    end: str
    packs: tuple[PackReference, ...]
    tally: BucketTally
    begun: BegunObject | None = None
