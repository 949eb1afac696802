"""Which objects of a backup a drill restores: one of each kind that is easily got wrong, and others at random."""

from __future__ import annotations

import hashlib
import heapq
import re
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Final

from coffre.model.drill_report import Sample
from coffre.model.manifest import Entry

_PLAIN_NAME: Final = re.compile(r"[A-Za-z0-9_-][A-Za-z0-9_.-]*(/[A-Za-z0-9_-][A-Za-z0-9_.-]*)*")
# The sample has one object of each kind, if the backup has any and it fits.
_KINDS: Final[Mapping[str, Callable[[Entry], bool]]] = {
    "empty": lambda entry: entry.size == 0,
    "odd name": lambda entry: not _PLAIN_NAME.fullmatch(entry.name),
    "in a frame with others": lambda entry: len(entry.frames) == 1 and entry.frames[0].size != entry.size,
    "of several frames": lambda entry: len(entry.frames) > 1,
    "with tags or metadata": lambda entry: (
        entry.object is not None and bool(entry.object.tags or entry.object.metadata)
    ),
}
# The largest leaves room for others.
_LARGEST_SHARE: Final = 0.5


@dataclass(frozen=True)
class SampleLimits:
    """How many objects, and how many bytes of them, a sample may have."""

    objects: int
    size_bytes: int


@dataclass
class Sampling:
    """Goes through all objects of a backup, keeping no more of them than the limits allow.

    The same seed chooses the same objects, in whatever order they come. `count` and `size_bytes` are of the objects
    that have their bytes in the backup, as its manifest counts them; `unread` is the number of the others.

    Parameters
    ----------
    may_be
        Tells whether an object can be restored at all where the sample goes.
    """

    seed: str
    limits: SampleLimits
    may_be: Callable[[Entry], bool]
    count: int = 0
    size_bytes: int = 0
    unread: int = 0
    unfit: int = 0
    _lot: list[tuple[int, str, Entry]] = field(default_factory=list)
    _kinds: dict[str, tuple[int, Entry]] = field(default_factory=dict)
    _largest: tuple[tuple[int, int], Entry] | None = None

    def take(self, entries: Iterable[Entry]) -> Sampling:
        """Go through the objects of a backup."""
        for entry in entries:
            if entry.object is not None and entry.object.unread:
                self.unread += 1
                continue
            self.count += 1
            self.size_bytes += entry.size
            if not self.may_be(entry):
                self.unfit += 1
            elif entry.size <= self.limits.size_bytes:
                self._draw(entry)
        return self

    @property
    def chosen(self) -> list[Entry]:
        """The sample, sorted by name."""
        found: dict[str, Entry] = {}
        left = self.limits.size_bytes
        for entry in self._by_urgency():
            if entry.name not in found and entry.size <= left and len(found) < self.limits.objects:
                found[entry.name] = entry
                left -= entry.size
        return [entry for _, entry in sorted(found.items())]

    def summary(self, chosen: Iterable[Entry]) -> Sample:
        """Return how much of what is in the backup with its bytes was chosen."""
        sizes = [entry.size for entry in chosen]
        return Sample(objects=self.count, size_bytes=self.size_bytes, chosen=len(sizes), chosen_bytes=sum(sizes))

    def _draw(self, entry: Entry) -> None:
        rank = int.from_bytes(hashlib.sha256(f"{self.seed}\n{entry.name}".encode("utf-8", "surrogatepass")).digest())
        # A heap with the worst rank on top: what is left in the end is a fair sample.
        item = (-rank, entry.name, entry)
        if len(self._lot) < self.limits.objects:
            heapq.heappush(self._lot, item)
        elif self._lot and item[0] > self._lot[0][0]:
            heapq.heapreplace(self._lot, item)
        for kind, is_one in _KINDS.items():
            if is_one(entry) and (kind not in self._kinds or rank < self._kinds[kind][0]):
                self._kinds[kind] = rank, entry
        place = (-entry.size, rank)
        may_be_largest = entry.size <= _LARGEST_SHARE * self.limits.size_bytes
        if may_be_largest and (self._largest is None or place < self._largest[0]):
            self._largest = place, entry

    def _by_urgency(self) -> Iterator[Entry]:
        yield from (self._kinds[kind][1] for kind in _KINDS if kind in self._kinds)
        if self._largest is not None:
            yield self._largest[1]
        yield from (entry for _, _, entry in sorted(self._lot, key=lambda item: -item[0]))
