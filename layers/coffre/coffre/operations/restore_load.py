"""Filling tables from a backup's entries: slices in parallel, counted on the way."""

from __future__ import annotations

import threading
import time
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager, nullcontext
from dataclasses import dataclass, field
from itertools import chain
from typing import Final

import psycopg2.extensions
from psycopg2 import sql

from coffre.model.backup import RestoredTable
from coffre.model.errors import IntegrityError, RestoreError
from coffre.model.manifest import Entry, EntryKind, TableContent
from coffre.model.names import shown
from coffre.operations.progress import Meter
from coffre.operations.restore_plan import Job, Source
from coffre.operations.streams import Streams
from coffre.postgres.connect import connect
from coffre.postgres.live import TableName
from coffre.postgres.load import copy_in, count_rows, count_rows_below, translated, truncate
from coffre.postgres.owners_code import our_path
from coffre.postgres.partitions import roots_for_loading

# What a restore loads is safe once its last transaction is, which waits for the disk; waiting after every slice too
# would only take time.
FAST_COMMITS: Final = "SET synchronous_commit = off"
# Smaller tables are loaded by one stream in any case.
_SMALL_BYTES: Final = 16 * 1024 * 1024


@contextmanager
def loading_session(job: Job) -> Iterator[psycopg2.extensions.connection]:
    """Give a session at the destination whose errors are explained, and which is cancelled when the run is stopped."""
    with translated(job.connection), connect(job.connection) as session, job.children.cancelling(session):
        yield session


@contextmanager
def clearing_session(job: Job) -> Iterator[psycopg2.extensions.connection]:
    """Give a session for clearing away after an error, when everything else has been ended."""
    with translated(job.connection), connect(job.connection) as session:
        yield session


@dataclass(frozen=True)
class Loading:
    """How rows are loaded.

    Parameters
    ----------
    into
        Where the rows of a table go, by its name in the backup; default: a table of the same name.
    where
        Only rows for which this is true. The counts are then not the backup's.
    order
        Tables with a lower number are loaded before those with a higher one; default: all at once.
    first_statement
        Executed in every session.
    is_fresh
        Nobody uses the tables yet, and nothing points at them: one that is no larger than three quarters of a stream's
        share is loaded in one transaction, frozen, so that neither counting, indexing nor a later vacuum has to write
        its rows again.
    in_order
        With `is_fresh`: every table is loaded in one transaction, slice after slice, so that its rows lie in the order
        in which they were backed up.
    session
        Load over this session alone, one slice after the other, and leave its transaction open.
    """

    into: Mapping[TableName, TableName] = field(default_factory=dict)
    where: sql.Composable | None = None
    order: Mapping[TableName, int] = field(default_factory=dict)
    first_statement: str = FAST_COMMITS
    is_fresh: bool = False
    in_order: bool = False
    session: psycopg2.extensions.connection | None = None


def load_tables(
    job: Job,
    source: Source,
    tables: Mapping[TableName, TableContent],
    meter: Meter,
    how: Loading = Loading(),
) -> list[RestoredTable]:
    """Load the rows of chosen tables of the backup, by name, with as many sessions as the job has streams."""
    total = sum(table.size for table in tables.values())
    meter.begin("tables", total_bytes=total, total_tables=len(tables))
    tally = _Tally(tables, meter)
    # Three quarters of what one stream has to do: tables in slices, which come later, make up for what it does alone.
    share = max(total if how.in_order else 3 * total // (4 * job.streams), _SMALL_BYTES) if how.is_fresh else -1
    places = _places(job, source, tables, how)
    at_once = frozenset(name for name in _places_of_their_own(places, how) if tables[name].size <= share)

    def load(slices: list[Entry]) -> None:
        table = tables[_table_of(slices[0])]
        place = places[_table_of(slices[0])]
        # Fetched, decrypted and unpacked while other threads keep the sessions busy.
        chunks = source.read(job, slices[0])
        waiting = chain((next(chunks, b""),), chunks)
        with translated(job.connection), _borrowed(sessions, how.session) as session:
            freeze = _table_of(slices[0]) in at_once
            if freeze:
                truncate(session, place)
            for entry in slices:
                began = time.monotonic()
                chunks = waiting if entry is slices[0] else source.read(job, entry)
                rows = copy_in(session, table, chunks, source.content.encoding, place, where=how.where, freeze=freeze)
                if how.where is None and rows != entry.rows:
                    raise _rows_differ(table, f"{entry.name}: {rows} rows were loaded, {entry.rows} were backed up")
                tally.add(table, entry, rows, time.monotonic() - began)
            if how.session is None:
                session.commit()

    with Streams(lambda _: _prepared(job, how.first_statement), job.streams) as sessions:
        for group in _groups(tables, how.order):
            # What one stream has to do alone is begun first; slices of other tables fill what is left.
            slices = chain(_slices(job, source, group & at_once), _slices(job, source, group - at_once))
            work = _batches(slices, lambda entry: _table_of(entry) in at_once)
            for _ in job.runner(load, work) if how.session is None else map(load, work):
                pass
    return tally.tables()


def _places(
    job: Job, source: Source, tables: Mapping[TableName, TableContent], how: Loading
) -> dict[TableName, TableName]:
    """Return where the rows of each table go: where they are sent, to its root if they have to, or to the table."""
    sent = {name: how.into[name] for name in tables if name in how.into}
    others = {name: table for name, table in tables.items() if name not in sent}
    with (
        translated(job.connection),
        loading_session(job) if how.session is None else nullcontext(how.session) as asked,
        asked.cursor() as cursor,
        our_path(cursor),
    ):
        roots = roots_for_loading(asked, others, source.content.encoding)
    return {name: name for name in others} | roots | sent


def _places_of_their_own(places: Mapping[TableName, TableName], how: Loading) -> Iterator[TableName]:
    """Yield the tables that nothing else is loaded into: what goes through a root shares the root's partitions."""
    taken = Counter(places.values())
    return (name for name, place in places.items() if taken[place] == 1 and place in (name, how.into.get(name)))


def _batches(slices: Iterable[Entry], belongs_together: Callable[[Entry], bool]) -> Iterator[list[Entry]]:
    """Yield slices one by one, but those of a table that is loaded in one transaction together."""
    batch: list[Entry] = []
    for entry in slices:
        if batch and not (belongs_together(entry) and _table_of(entry) == _table_of(batch[0])):
            yield batch
            batch = []
        batch.append(entry)
    if batch:
        yield batch


def _borrowed(
    sessions: Streams[psycopg2.extensions.connection], session: psycopg2.extensions.connection | None
) -> AbstractContextManager[psycopg2.extensions.connection]:
    return sessions.borrow() if session is None else nullcontext(session)


def check_counts(
    job: Job,
    tables: Mapping[TableName, TableContent],
    session: psycopg2.extensions.connection | None = None,
) -> None:
    """Compare the numbers of rows at the destination with the backup's, over one session or as many as there are.

    Partitions whose rows may have been routed otherwise than at the source are counted together, below their root.

    Raises
    ------
    RestoreError
        Code `ROWS_DIFFER`.
    """

    def check(table: TableContent) -> tuple[TableContent, int]:
        job.children.check()
        with translated(job.connection), _borrowed(sessions, session) as counting:
            rows = count_rows(counting, table)
            if session is None:
                counting.commit()
        return table, rows

    differing = {}
    with Streams(lambda _: loading_session(job), job.streams) as sessions:
        for table, rows in job.runner(check, tables.values()) if session is None else map(check, tables.values()):
            if rows != table.rows:
                differing[table.schema_name, table.table_name] = rows
    if differing:
        with translated(job.connection), loading_session(job) if session is None else nullcontext(session) as counting:
            _check_roots(counting, tables, differing)


def _check_roots(
    session: psycopg2.extensions.connection,
    tables: Mapping[TableName, TableContent],
    differing: Mapping[TableName, int],
) -> None:
    """Compare the number of all rows below each root, where rows of its partitions may have been routed otherwise."""
    roots = roots_for_loading(session, tables, encoding="")
    for name, rows in differing.items():
        if name not in roots:
            raise _rows_differ(tables[name], f"{rows} rows are there, {tables[name].rows} were backed up")
    for root in {roots[name] for name in differing}:
        expected = sum(tables[name].rows for name, its in roots.items() if its == root)
        if (rows := count_rows_below(session, root)) != expected:
            leaf = next(tables[name] for name in differing if roots[name] == root)
            raise _rows_differ(leaf, f"{rows} rows are in {shown(*root)}, {expected} were backed up of its partitions")


def refuse_missing_rows(tables: Mapping[TableName, TableContent], loaded: Iterable[RestoredTable]) -> None:
    """Compare the numbers of rows that were loaded with the backup's.

    Raises
    ------
    RestoreError
        Code `ROWS_DIFFER`.
    """
    counted = {table.table: table.rows for table in loaded}
    for name, table in tables.items():
        if counted[shown(*name)] != table.rows:
            raise _rows_differ(table, f"{counted[shown(*name)]} rows were loaded, {table.rows} were backed up")


@contextmanager
def _prepared(job: Job, statement: str) -> Iterator[psycopg2.extensions.connection]:
    with loading_session(job) as session:
        with session.cursor() as cursor:
            cursor.execute(statement)
        session.commit()
        yield session


def _groups(tables: Mapping[TableName, TableContent], order: Mapping[TableName, int]) -> Iterator[frozenset[TableName]]:
    """Yield the names of tables that are loaded at the same time."""
    for number in sorted({order.get(name, 0) for name in tables}):
        yield frozenset(name for name in tables if order.get(name, 0) == number)


def _slices(job: Job, source: Source, wanted: frozenset[TableName]) -> Iterator[Entry]:
    for entry in job.vault.entries(source.manifest):
        if entry.kind is EntryKind.TABLE and _table_of(entry) in wanted:
            yield entry


def _table_of(entry: Entry) -> TableName:
    if entry.relation is None:
        raise IntegrityError(f"The entry {entry.name} names no table.", code="ENTRIES_DAMAGED")
    return entry.relation.schema_name, entry.relation.relation_name


class _Tally:
    """What was loaded, table by table."""

    def __init__(self, contents: Mapping[TableName, TableContent], meter: Meter) -> None:
        self._lock = threading.Lock()
        self._meter = meter
        self._tables = {key: RestoredTable(table=shown(*key), rows=0, size_bytes=0, duration_ms=0) for key in contents}

    def add(self, table: TableContent, entry: Entry, rows: int, seconds: float) -> None:
        with self._lock:
            key = (table.schema_name, table.table_name)
            before = self._tables[key]
            self._tables[key] = before.model_copy(
                update={
                    "rows": before.rows + rows,
                    "size_bytes": before.size_bytes + entry.size,
                    "duration_ms": before.duration_ms + int(seconds * 1000),
                }
            )
            is_whole = self._tables[key].size_bytes == table.size
        self._meter.add(size_bytes=entry.size, tables=int(is_whole), current=before.table)

    def tables(self) -> list[RestoredTable]:
        return list(self._tables.values())


def _rows_differ(table: TableContent, detail: str) -> RestoreError:
    return RestoreError(
        f"The table {shown(table.schema_name, table.table_name)} does not have as many rows as the backup.",
        code="ROWS_DIFFER",
        detail=detail,
        hint="Do not use the restored database. Is somebody else writing to it? If not, please report this.",
    )
