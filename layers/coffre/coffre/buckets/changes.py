"""What became of each object since the previous backup: one pass over two sorted sequences."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace
from enum import StrEnum
from operator import attrgetter

from coffre.buckets.object_facts import Listed
from coffre.model.manifest import Entry
from coffre.policy.sorted_merge import side_by_side


class ObjectChange(StrEnum):
    """What became of an object. STORE_AGAIN: it is unchanged, but its stored bytes cannot be pointed at any more."""

    UNCHANGED = "unchanged"
    STORE_AGAIN = "store_again"
    ADDED = "added"
    CHANGED = "changed"
    REMOVED = "removed"


@dataclass(frozen=True, slots=True)
class SourceObject:
    """An object of a bucket, by the name of its entry."""

    name: str
    bucket: str
    listed: Listed


@dataclass(frozen=True, slots=True)
class Compared:
    """One name. `found` is None when it is gone; `previous` when it is new, or cannot be pointed at.

    `stored` is what a run since the previous backup has stored under the name that did not finish, if it is usable.
    """

    change: ObjectChange
    name: str
    found: SourceObject | None
    previous: Entry | None
    stored: Entry | None = None

    @property
    def is_stored(self) -> bool:
        """Whether the object is as an unfinished run has stored it."""
        found, stored = self.found, self.stored
        if found is None or stored is None or stored.object is None:
            return False
        return found.listed.is_same(stored.size, stored.object)


def compare(found: Iterable[SourceObject], previous: Iterable[Entry], usable: frozenset[str]) -> Iterator[Compared]:
    """Yield every name of both, sorted.

    Parameters
    ----------
    found, previous
        Sorted by name.
    usable
        Keys of the packs that may be pointed at.
    """
    by_name = attrgetter("name")
    for here, before in side_by_side(found, previous, by_name, by_name):
        if here is None:
            assert before is not None  # noqa: S101 - for mypy
            is_usable = _is_usable(before, usable)
            yield Compared(ObjectChange.REMOVED, before.name, None, before if is_usable else None)
        else:
            is_usable = before is not None and _is_usable(before, usable)
            yield Compared(_change(here, before, is_usable=is_usable), here.name, here, before if is_usable else None)


def with_stored(compared: Iterable[Compared], stored: Iterable[Entry]) -> Iterator[Compared]:
    """Add what unfinished runs have stored since the previous backup; both are sorted by name.

    What became of an object is still said of the previous backup, and what only an unfinished run has seen is no name.
    """
    by_name = attrgetter("name")
    for one, entry in side_by_side(compared, stored, by_name, by_name):
        if one is not None:
            yield one if entry is None else replace(one, stored=entry)


def _change(found: SourceObject, previous: Entry | None, *, is_usable: bool) -> ObjectChange:
    if previous is None or previous.object is None:
        return ObjectChange.ADDED
    if previous.object.unread is not None or not found.listed.is_same(previous.size, previous.object):
        return ObjectChange.CHANGED
    return ObjectChange.UNCHANGED if is_usable else ObjectChange.STORE_AGAIN


def _is_usable(entry: Entry, packs: frozenset[str]) -> bool:
    is_whole = entry.object is not None and entry.object.unread is None
    return is_whole and all(frame.pack in packs for frame in entry.frames)
