"""The objects that the rows of a restore point refer to: whether what is found is what they mean, and where it is."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from datetime import datetime
from operator import attrgetter
from typing import TYPE_CHECKING, Literal

from coffre.buckets.changes import Compared, ObjectChange, SourceObject
from coffre.buckets.object_facts import Listed
from coffre.model.errors import StoreError
from coffre.model.manifest import Entry
from coffre.model.points import PartOf
from coffre.policy.sorted_merge import side_by_side
from coffre.vault.points import Reference

if TYPE_CHECKING:
    from coffre.buckets.source import ObjectSource

DANGLING = "DANGLING"


@dataclass(frozen=True)
class PointOfRun:
    """The restore point that a backup of buckets is a part of.

    `taken_at` is the time of the snapshot whose rows count. `references` yields what they refer to after a name,
    sorted; None: it is not known. `listing` says what lists the objects: the store, or the rows.
    """

    part_of: PartOf
    taken_at: datetime
    references: Callable[[str], Iterator[Reference]] | None = None
    listing: Literal["bucket", "rows"] = "bucket"


@dataclass(frozen=True, slots=True)
class Matched:
    """One name, and what rows refer to under it; None: no row does."""

    compared: Compared
    reference: Reference | None


def matched(compared: Iterable[Compared], references: Iterable[Reference]) -> Iterator[Matched]:
    """Yield every name of both, sorted."""
    for one, reference in side_by_side(compared, references, attrgetter("name"), attrgetter("name")):
        name = one.name if one is not None else reference.name if reference is not None else ""
        yield Matched(one or Compared(ObjectChange.ADDED, name, None, None), reference)


def is_meant(listed: Listed, reference: Reference, taken_at: datetime) -> bool:
    """Tell whether an object is the one that a row means: by its version or its etag, else by its size and time.

    An etag is of the bytes: another object with the same bytes serves as well.
    """
    if reference.size is not None and listed.size != reference.size:
        return False
    if reference.etag is not None and listed.etag is not None:
        return listed.etag == reference.etag
    if reference.version is not None:
        return listed.version_id == reference.version
    return listed.last_modified is None or listed.last_modified <= taken_at


def is_stored(entry: Entry, reference: Reference) -> bool:
    """Tell whether an entry of an earlier backup has surely the bytes that a row means."""
    facts = entry.object
    if facts is None or facts.unread is not None or (reference.size is not None and entry.size != reference.size):
        return False
    if reference.etag is not None:
        return facts.etag == reference.etag
    return reference.version is not None and facts.version_id == reference.version


def as_rows_say(reference: Reference) -> SourceObject:
    """Return the object that a row means, as far as the row describes it."""
    # Of an object of unknown size a range is asked for, which tells its size.
    size = 1 if reference.size is None else reference.size
    return SourceObject(reference.name, reference.bucket, Listed(reference.key, size, reference.etag))


def find_version(reader: ObjectSource, reference: Reference, taken_at: datetime) -> SourceObject | None:
    """Return the version of an object that a row means; None: the store does not have it (any more).

    When a row says nothing of the version, it is the newest of the time of the snapshot; of an object that was stored
    later, its first.
    """
    versions = reader.versions(reference.bucket, reference.key)
    if not versions:
        return None
    found = next((one for one in versions if is_meant(one, reference, taken_at)), None)
    says_nothing = reference.version is None and reference.etag is None and reference.size is None
    if found is None and says_nothing and versions[-1].version_id is not None:
        found = versions[-1]
    return SourceObject(reference.name, reference.bucket, found) if found else None


def dangling(found: Listed | None) -> StoreError:
    """Return why a reference leads to no object of the backup, or to another version of it."""
    if found is None:
        return StoreError(
            "A row of the restore point refers to it, and the bucket has no such object (any more), nor an older "
            "version of it.",
            code=DANGLING,
        )
    return StoreError(
        "A row of the restore point refers to another version of it, which the bucket does not have (any more).",
        code=DANGLING,
    )


def several_versions() -> StoreError:
    """Return why rows that mean different versions of one object cannot all be followed."""
    return StoreError(
        "Rows of the restore point refer to several versions of it, and a backup has one version of each object.",
        code=DANGLING,
    )


def without_mark(entry: Entry) -> Entry:
    """Return an entry without the mark of an earlier point that it is another version than its rows mean."""
    if entry.object is None or entry.object.dangling is None:
        return entry
    return entry.model_copy(update={"object": entry.object.model_copy(update={"dangling": None})})
