"""How a restore cuts its rows into transactions, and what it has loaded so far."""

from __future__ import annotations

import threading
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from enum import Enum, auto
from itertools import batched
from typing import Final

from coffre.model.errors import IntegrityError
from coffre.model.manifest import Entry, EntryKind, TableContent
from coffre.model.names import TableName, shown
from coffre.model.restore_report import RestoredTable
from coffre.operations.restore_database.job import RestoreJob, Source
from coffre.operations.runs.progress import Meter

# Up to here making an empty file for a table costs the server more than writing its rows as frozen saves later.
_SMALL_TABLE_BYTES: Final = 512 * 1024
# Small tables of one transaction. Each needs some locks (its own, of TOAST, of what its checks read), and a server has
# room for 64 a connection that it allows: a small one for about 1,300 in all.
_TABLES_AT_ONCE: Final = 50
_BYTES_AT_ONCE: Final = 1024 * 1024
# Tables that are counted by one statement.
COUNTED_AT_ONCE: Final = 100
# Larger ones are counted alone, by all the processes that the server gives to a query.
_COUNTED_ALONE_BYTES: Final = 1024 * 1024


class Unit(Enum):
    """What of a table is loaded in one transaction.

    SHARED is a whole table whose rows go where those of others go too: into a root, say. It is never emptied,
    because its own rows cannot be distinguished from the others.
    """

    SLICE = auto()
    TABLE = auto()
    SMALL_TABLES = auto()
    SHARED = auto()


def is_small(table: TableContent) -> bool:
    """Whether a table is loaded together with others."""
    return table.size <= _SMALL_TABLE_BYTES


def whole_tables(sizes: Mapping[TableName, int], streams: int, smallest: int) -> list[TableName]:
    """Return the tables that one stream each loads alone, the largest first; the others are loaded in slices.

    A table goes to the stream with the least to do, unless that stream would then work 10 % longer than all of them
    need together: slices of the tables that remain fill what is left of each stream's time.

    Parameters
    ----------
    sizes
        Bytes of each table.
    streams
        Connections that load at the same time, at least 1.
    smallest
        Bytes up to which a table is always loaded by one stream.
    """
    work = [0] * streams
    longest = max(11 * sum(sizes.values()) // (10 * streams), smallest)
    whole = []
    for name in sorted(sizes, key=lambda name: (-sizes[name], name)):
        if (after := min(work) + sizes[name]) <= longest or sizes[name] <= smallest:
            work[work.index(min(work))] = after
            whole.append(name)
    return whole


def transactions(slices: Iterable[Entry], units: Mapping[TableName, Unit]) -> Iterator[list[Entry]]:
    """Yield the slices of each transaction."""
    batch: list[Entry] = []
    names: set[TableName] = set()
    size = 0
    for entry in slices:
        name = table_of(entry)
        unit = units[name]
        is_same = name in names and unit is not Unit.SLICE
        fits = unit is Unit.SMALL_TABLES and len(names) < _TABLES_AT_ONCE and size + entry.size <= _BYTES_AT_ONCE
        if batch and not (is_same or (fits and units[table_of(batch[0])] is unit)):
            yield batch
            batch, names, size = [], set(), 0
        batch.append(entry)
        names.add(name)
        size += entry.size
    if batch:
        yield batch


def counted_together(tables: Iterable[TableContent]) -> Iterator[tuple[TableContent, ...]]:
    """Yield tables whose rows are counted by one statement."""
    small: list[TableContent] = []
    for table in tables:
        if table.size > _COUNTED_ALONE_BYTES:
            yield (table,)
        else:
            small.append(table)
    yield from batched(small, COUNTED_AT_ONCE, strict=False)


def slices_of(job: RestoreJob, source: Source, wanted: frozenset[TableName]) -> Iterator[Entry]:
    """Yield the slices of some tables, in the order of their names."""
    if not wanted:
        return
    for entry in job.vault.entries(source.manifest):
        if entry.kind is EntryKind.TABLE and table_of(entry) in wanted:
            yield entry


def table_of(entry: Entry) -> TableName:
    """Return the table that a slice belongs to."""
    if entry.relation is None:
        raise IntegrityError(f"The entry {entry.name} names no table.", code="ENTRIES_DAMAGED")
    return entry.relation.schema_name, entry.relation.relation_name


@dataclass(frozen=True)
class Loaded:
    """A slice that was loaded: the rows that the server took, and the seconds that it needed."""

    entry: Entry
    rows: int
    seconds: float


class LoadTally:
    """What was loaded, table by table. Thread-safe."""

    def __init__(self, contents: Mapping[TableName, TableContent], meter: Meter) -> None:
        self._lock = threading.Lock()
        self._meter = meter
        self._contents = contents
        self._tables = {key: _nothing(key) for key in contents}

    def add(self, loaded: Loaded) -> None:
        """Add a slice."""
        table = self._change(loaded, 1)
        is_whole = table.size_bytes == self._contents[table_of(loaded.entry)].size
        self._meter.add(size_bytes=loaded.entry.size, tables=int(is_whole), current=table.table)

    def undo(self, slices: Iterable[Loaded]) -> None:
        """Take back what a transaction had loaded that was rolled back."""
        for loaded in slices:
            self._change(loaded, -1)
            self._meter.add(size_bytes=-loaded.entry.size)

    def _change(self, loaded: Loaded, times: int) -> RestoredTable:
        key = table_of(loaded.entry)
        with self._lock:
            before = self._tables[key]
            changes = {
                "rows": before.rows + times * loaded.rows,
                "size_bytes": before.size_bytes + times * loaded.entry.size,
                "duration_ms": before.duration_ms + times * int(loaded.seconds * 1000),
            }
            self._tables[key] = before.model_copy(update=changes)
            return self._tables[key]

    def rows_of(self, name: TableName) -> int:
        """Return how many rows of a table were loaded."""
        with self._lock:
            return self._tables[name].rows

    def forget(self, name: TableName) -> None:
        """Forget what was loaded of a table: it was emptied again."""
        with self._lock:
            before, self._tables[name] = self._tables[name], _nothing(name)
        self._meter.add(size_bytes=-before.size_bytes)

    def tables(self, without: Iterable[TableName] = ()) -> list[RestoredTable]:
        """Return what was loaded of each table but some."""
        left = set(without)
        with self._lock:
            return [table for name, table in self._tables.items() if name not in left]


def _nothing(name: TableName) -> RestoredTable:
    return RestoredTable(table=shown(*name), rows=0, size_bytes=0, duration_ms=0)
