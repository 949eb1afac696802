"""How far a backup of buckets is that one invocation could not finish: `progress.json` (docs/format/buckets.md)."""

from __future__ import annotations

from datetime import datetime
from typing import Final

from pydantic import Field, ValidationError

from coffre.model.document import FrozenModel
from coffre.model.errors import IntegrityError, ObjectMissingError
from coffre.model.manifest import EntriesFile, Frame, PackReference
from coffre.policy.ranges import NameRange
from coffre.stores.store import put_small
from coffre.vault.layout import progress_key
from coffre.vault.vault import Vault

_LIMIT_BYTES: Final = 256 * 1024 * 1024


class UnreadGroup(FrozenModel):
    """Objects of a bucket that could not be read for the same reason: their number, and the names of the first.

    `is_stored`: they are in the backup, in another version than the rows of its restore point mean.
    """

    bucket: str
    code: str
    reason: str
    count: int
    names: tuple[str, ...] = ()
    is_stored: bool = False


class Counts(FrozenModel):
    """What was counted so far. `objects` and `sizes` are by bucket."""

    objects: dict[str, int] = Field({})
    sizes: dict[str, int] = Field({})
    added: int = 0
    changed: int = 0
    removed: int = 0
    unread: int = 0
    vanished: int = 0
    requests: dict[str, int] = Field({})
    notes: dict[str, int] = Field({})
    missing: dict[str, int] = Field({})
    compared: int = 0
    uncompared: int = 0
    attributes_changed: int = 0
    references: int = 0
    dangling: int = 0
    replaced: int = 0
    orphans: int = 0
    denied: dict[str, int] = Field({})


class BegunObject(FrozenModel):
    """An object that one invocation could not read to its end: the frames that are stored, and which object it was.

    It is continued only while the store has the object with this `etag` and `size`. `hash_state` is that of its SHA-256
    after the bytes of `frames`.
    """

    name: str
    etag: str
    size: int
    hash_state: str
    frames: tuple[Frame, ...]


class ListedObject(FrozenModel):
    """An object as it was listed."""

    key: str
    size: int
    etag: str | None = None
    last_modified: datetime | None = None


class RecordNames(FrozenModel):
    """A record of an unfinished run: its number, and the first and the last name in it."""

    number: int
    first: str
    last: str


class EarlierRun(FrozenModel):
    """An unfinished run whose records are read as history, and where they are: no step reads more than it needs."""

    id: str
    records: tuple[RecordNames, ...]


class BucketProgress(FrozenModel):
    """Everything that the next invocation has to know.

    `position` is the name of the last entry that is stored, or of what was found to be removed after it: the next
    invocation continues after it. `previous` is the id of the backup that this one is compared with.
    `unread` are objects that could not be read, by why. `source` says what is backed up, and from where: a run
    does not continue with anything else.
    `begun` are large objects after `position` of which a part is stored.
    `unsorted` are buckets whose listing had to be sorted: of those the store cannot be asked to begin in the middle.
    `unfinished` are runs since the previous backup whose stored objects are pointed at. `packs` has those packs of
    theirs too.
    `rest` is what follows `position` in a page of the listing that has to be of one look (a repository): it is not
    listed again. None: there is no such page.
    """

    invocations: int
    position: str
    parts: int
    previous: str | None
    entries: tuple[EntriesFile, ...]
    packs: tuple[PackReference, ...]
    live_bytes: dict[str, int]
    counts: Counts
    unread: tuple[UnreadGroup, ...] = ()
    source: str = ""
    unsorted: tuple[str, ...] = ()
    begun: tuple[BegunObject, ...] = ()
    unfinished: tuple[EarlierRun, ...] = ()
    rest: tuple[ListedObject, ...] | None = None


class RangeRecord(FrozenModel):
    """What one function has stored of a range of names: the second line of its record (docs/format/buckets.md).

    The range ends at `end`; without `is_over` the rest of it, after the position of `progress`, is left to others.
    The packs are in the first line.
    """

    after: str
    end: str | None
    is_over: bool
    progress: BucketProgress

    @property
    def names(self) -> NameRange:
        """The names that are stored."""
        return NameRange(self.after, self.end if self.is_over else self.progress.position)


def write_progress(vault: Vault, target: str, backup_id: str, progress: BucketProgress) -> None:
    """Store how far a run is; all that it names is stored."""
    put_small(vault.store, progress_key(target, backup_id), progress.model_dump_json().encode())


def read_progress(vault: Vault, target: str, backup_id: str) -> BucketProgress:
    """Return how far a run is.

    Raises
    ------
    IntegrityError
        `PROGRESS_MISSING`, `PROGRESS_DAMAGED`
    """
    key = progress_key(target, backup_id)
    try:
        return BucketProgress.model_validate_json(vault.store.get(key, limit_bytes=_LIMIT_BYTES))
    except ObjectMissingError as error:
        raise _lost("PROGRESS_MISSING", f"{key} is not in the vault") from error
    except ValidationError as error:
        raise _lost("PROGRESS_DAMAGED", f"{key} cannot be read") from error


def _lost(code: str, what: str) -> IntegrityError:
    return IntegrityError(
        f"The backup cannot continue where it stopped: {what}.",
        code=code,
        hint="Nothing was published. Take it again: coffre backup buckets",
    )
