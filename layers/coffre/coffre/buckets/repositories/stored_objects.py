"""The objects of a repository in a backup: their names, and those that the previous backup has."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

from coffre.buckets.object_facts import Listed
from coffre.model.manifest import Entry, ObjectFacts

BUNDLES: Final = "bundles/"
LFS: Final = "lfs/"
HEAD: Final = "HEAD"
REFS: Final = "refs/"


@dataclass
class Chain:
    """What the previous backup has of a repository; it is `usable` if every bundle can be pointed at."""

    entries: Sequence[Entry]
    usable: frozenset[str]

    def below(self, folder: str, kind: str) -> list[Entry]:
        """Return the objects of one kind."""
        return [entry for entry in self.entries if entry.name.startswith(f"{folder}/{kind}")]

    def bundles(self, folder: str) -> list[Entry]:
        """Return the chain, the full one first; none if it is broken."""
        found = self.below(folder, BUNDLES)
        is_whole = all(
            entry.object is not None
            and entry.object.unread is None
            and all(frame.pack in self.usable for frame in entry.frames)
            for entry in found
        )
        return found if is_whole else []


def kind_of(key: str) -> str:
    """Return what an object of a repository is; its key begins with a path that ends in `.git`."""
    below = key.partition(".git/")[2]
    return next((kind for kind in (BUNDLES, LFS, REFS) if below.startswith(kind)), HEAD)


def as_before(entry: Entry) -> Listed:
    """Return a stored object as if it were listed now, unchanged."""
    facts = entry.object or ObjectFacts()
    return Listed(entry.name.partition("/")[2], entry.size, facts.etag, facts.last_modified)
