"""Which indexes, constraints and triggers can be made at the same time, and what is begun first."""

from __future__ import annotations

import threading
from collections.abc import Callable, Mapping, Sequence
from typing import Final

from coffre.postgres.archive.reader import TocEntry

_BATCH: Final = 100
# Smaller tables' entries go many at a time: sending each alone would take longer than making it.
_SMALL_BYTES: Final = 4 * 1024 * 1024
_BATCH_BYTES: Final = 32 * 1024 * 1024
_LOOK_SECONDS: Final = 0.5
_SHARED: Final = frozenset({"INDEX", "STATISTICS", "COMMENT"})


class Schedule:
    """Hands out entries whose needs are made, and whose tables no other session is working on.

    An index only shares its table with other indexes; everything else needs it alone. Entries of large tables are
    handed out one by one, the largest first.

    Parameters
    ----------
    entries
        In the archive's order.
    by_id
        All entries of the archive.
    size_of
        The bytes of a table's rows, by its entry's dump id.
    check
        Raises when the run is being stopped.
    """

    def __init__(
        self,
        entries: Sequence[TocEntry],
        by_id: Mapping[int, TocEntry],
        size_of: Mapping[int, int],
        check: Callable[[], None],
    ) -> None:
        self._changed = threading.Condition()
        self._check = check
        self._waiting = {entry.dump_id: entry for entry in entries}
        self._running: dict[int, TocEntry] = {}
        self._tables = {entry.dump_id: _tables_of(entry, by_id) for entry in entries}
        self._sizes = {key: sum(size_of.get(table, 0) for table in tables) for key, tables in self._tables.items()}
        self._in_use: dict[int, list[bool]] = {}  # by table: whether each running entry shares it
        self._is_stopped = False

    def take(self) -> list[TocEntry]:
        """Return what can be made now, in order; wait for it if need be. An empty list: nothing is left."""
        with self._changed:
            while True:
                self._check()
                if self._is_stopped or not self._waiting:
                    return []
                if batch := self._ready():
                    for entry in batch:
                        del self._waiting[entry.dump_id]
                        self._running[entry.dump_id] = entry
                        for table in self._tables[entry.dump_id]:
                            self._in_use.setdefault(table, []).append(_shares(entry))
                    return batch
                self._changed.wait(_LOOK_SECONDS)

    def done(self, batch: Sequence[TocEntry]) -> None:
        """Say that entries were made, or could not be."""
        with self._changed:
            for entry in batch:
                del self._running[entry.dump_id]
                for table in self._tables[entry.dump_id]:
                    self._in_use[table].remove(_shares(entry))
            self._changed.notify_all()

    def stop(self) -> None:
        """Hand out nothing more."""
        with self._changed:
            self._is_stopped = True
            self._changed.notify_all()

    def _ready(self) -> list[TocEntry]:
        batch: dict[int, TocEntry] = {}
        largest: TocEntry | None = None
        room = _BATCH_BYTES
        for entry in self._waiting.values():
            needs = [need for need in entry.dependencies if need in self._waiting or need in self._running]
            if self._meets_others(entry):
                continue
            if self._sizes[entry.dump_id] > _SMALL_BYTES:
                if not needs and (largest is None or self._sizes[entry.dump_id] > self._sizes[largest.dump_id]):
                    largest = entry
            elif len(batch) < _BATCH and room > 0 and all(need in batch for need in needs):
                batch[entry.dump_id] = entry
                room -= self._sizes[entry.dump_id]
        return [largest] if largest is not None else list(batch.values())

    def _meets_others(self, entry: TocEntry) -> bool:
        shares = _shares(entry)
        return any(
            not (shares and other) for table in self._tables[entry.dump_id] for other in self._in_use.get(table, ())
        )


def _shares(entry: TocEntry) -> bool:
    return entry.description in _SHARED


def _tables_of(entry: TocEntry, by_id: Mapping[int, TocEntry]) -> frozenset[int]:
    """Return the tables (dump ids) that an entry is about: those that it needs, and those of what it needs."""
    found = set()
    for needed in entry.dependencies:
        other = by_id.get(needed)
        if other is not None:
            found |= {needed} if other.description == "TABLE" else set()
            found |= {one for one in other.dependencies if one in by_id and by_id[one].description == "TABLE"}
    return frozenset(found)
