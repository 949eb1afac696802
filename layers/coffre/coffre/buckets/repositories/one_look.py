"""Repositories as they were when they were looked at: bundles and refs of two looks do not belong together."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

from coffre.buckets.object_facts import Listed
from coffre.buckets.repositories.fetched_files import Place


@dataclass
class Looks:
    """What was listed of each repository of a run.

    Attributes
    ----------
    taken_up
        What an earlier invocation has left of the repository that it ended in; None: it ended between two.
    """

    taken_up: Sequence[Listed] | None = None
    _pages: dict[Place, list[Listed]] = field(default_factory=dict)
    _bundles: set[Place] = field(default_factory=set)

    def keep(self, bucket: str, folder: str, objects: list[Listed]) -> None:
        """Keep what a repository has."""
        self._pages[bucket, f"{folder}/"] = objects

    def keep_bundle(self, place: Place) -> None:
        """Note a new bundle, which only this invocation can store."""
        self._bundles.add(place)

    def rest(self, bucket: str, after: str) -> Sequence[Listed] | None:
        """Return what a repository has after a key.

        None: there is no such repository, or its new bundle comes after the key, and is not stored yet.
        """
        pages = (page for (host, folder), page in self._pages.items() if host == bucket and after.startswith(folder))
        page = next(pages, None)
        rest = [found for found in page if found.key > after] if page is not None else None
        return None if rest is None or any((bucket, found.key) in self._bundles for found in rest) else rest

    def left_of(self, folder: str, after: str | None) -> Sequence[Listed] | None:
        """Return what an earlier invocation has left of a repository; None: it has to be looked at."""
        return self.taken_up if after is not None and after.startswith(f"{folder}/") else None
