"""Filling tables from a backup's entries: slices in parallel, counted on the way."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, contextmanager, nullcontext
from dataclasses import dataclass, field
from itertools import chain, groupby
from types import MappingProxyType
from typing import Final

import psycopg2
import psycopg2.extensions
from psycopg2 import sql

from coffre.model.backup import RestoredTable
from coffre.model.errors import CoffreError, IntegrityError, RestoreError
from coffre.model.manifest import Entry, TableContent
from coffre.model.names import TableName, shown
from coffre.operations.restore_database.batches import (
    Loaded,
    LoadTally,
    Unit,
    counted_together,
    is_small,
    slices_of,
    table_of,
    transactions,
    whole_tables,
)
from coffre.operations.restore_database.job import RestoreJob, Source
from coffre.operations.restore_database.report_builder import ReportBuilder
from coffre.operations.restore_database.row_salvage import DamagedSlices, Refused, Salvage, may_be_left_out
from coffre.operations.runs.progress import Meter
from coffre.operations.runs.session_pool import SessionPool
from coffre.postgres.connection.connect import connect
from coffre.postgres.connection.partition_routes import roots_for_loading
from coffre.postgres.destination.copy_in import (
    copy_in,
    count_rows,
    count_rows_below,
    refuse_rows_of_others,
    translated,
    truncate,
)
from coffre.postgres.destination.definitions import unit
from coffre.postgres.destination.owners_code import our_path
from coffre.vault.shared_frames import SharedFrames, is_shared

# What a restore loads is safe once its last transaction is, which waits for the disk; waiting after every slice too
# would only take time.
FAST_COMMITS: Final = "SET synchronous_commit = off"
# Smaller tables are loaded by one stream in any case.
_SMALL_BYTES: Final = 16 * 1024 * 1024


@contextmanager
def loading_session(job: RestoreJob) -> Iterator[psycopg2.extensions.connection]:
    """Give a session at the destination whose errors are explained, and which is cancelled when the run is stopped."""
    with translated(job.connection), connect(job.connection) as session, job.children.cancelling(session):
        yield session


@contextmanager
def clearing_session(job: RestoreJob) -> Iterator[psycopg2.extensions.connection]:
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
        Nobody uses the tables yet, and nothing points at them: those that one stream can load alone without working
        longer than the others (`whole_tables`) are each loaded in one transaction, frozen, so that neither indexing nor
        a later vacuum has to write their rows again. Small ones share a transaction, and are not frozen.
    in_order
        With `is_fresh`: every table is loaded in one transaction, slice after slice, so that its rows lie in the order
        in which they were backed up.
    session
        Load over this session alone, one table after the other, and leave its transaction open. What is refused is
        rolled back to a savepoint.
    outcome
        Where tables are reported whose rows are refused or damaged: they stay empty, and the others are loaded. Without
        it the first one ends the restore. Not together with `into` and `where`.
    is_alone
        With `outcome`: nothing in the database is anybody else's, so that what tables share (domains, checks of their
        parents) may be loosened to load their rows.
    search_paths
        Returns the source's own for a table: what was refused is tried with them too.
    """

    into: Mapping[TableName, TableName] = field(default_factory=dict)
    where: sql.Composable | None = None
    order: Mapping[TableName, int] = field(default_factory=dict)
    first_statement: str = FAST_COMMITS
    is_fresh: bool = False
    in_order: bool = False
    session: psycopg2.extensions.connection | None = None
    outcome: ReportBuilder | None = None
    is_alone: bool = False
    search_paths: Callable[[TableName], Sequence[str]] = field(default=lambda _: ())


def load_tables(
    job: RestoreJob,
    source: Source,
    tables: Mapping[TableName, TableContent],
    meter: Meter,
    how: Loading = Loading(),
) -> list[RestoredTable]:
    """Load the rows of chosen tables of the backup, by name, with as many sessions as the job has streams.

    Returns what was loaded; with an `outcome` to report to, tables that could not be loaded are not among it.
    """
    meter.begin("tables", total_bytes=sum(table.size for table in tables.values()), total_tables=len(tables))
    tally = LoadTally(tables, meter)
    with SessionPool(lambda _: _prepared(job, how.first_statement), job.streams) as sessions:
        loader = _Loader(job, source, tables, how, tally, sessions)
        for group in _groups(tables, how.order):
            loader.load(group)
        lost = loader.salvage(how.outcome) if how.outcome is not None else set()
    return tally.tables(without=lost)


class _Loader:
    """Loads tables: what one stream has to do alone is begun first; slices of other tables fill what is left."""

    def __init__(
        self,
        job: RestoreJob,
        source: Source,
        tables: Mapping[TableName, TableContent],
        how: Loading,
        tally: LoadTally,
        sessions: SessionPool[psycopg2.extensions.connection],
    ) -> None:
        self._job = job
        self._source = source
        self._tables = tables
        self._how = how
        self._tally = tally
        self._sessions = sessions
        self._places = _places(job, source, tables, how)
        self._units = _units(job, tables, how) | dict.fromkeys(_shared(self._places, how), Unit.SHARED)
        self._frames = SharedFrames(job.vault, source.decoder)
        self._refused = Refused()
        self._slices: dict[TableName, list[Entry]] = {}  # of the refused ones

    def load(self, group: frozenset[TableName]) -> None:
        """Load some tables at the same time."""
        slices = chain.from_iterable(slices_of(self._job, self._source, names) for names in self._in_order(group))
        work = transactions(slices, self._units)
        alone = self._how.session is not None
        for _ in map(self._load, work) if alone else self._job.runner(self._load, work):
            pass

    def _in_order(self, group: frozenset[TableName]) -> Iterator[frozenset[TableName]]:
        """Yield tables in the order in which they are begun: first, one by one, what one stream has long to do with."""
        of_unit = {unit: frozenset(name for name in group if self._units[name] is unit) for unit in Unit}
        size = sum(self._tables[name].size for name in group)
        large = {name for name in of_unit[Unit.TABLE] if self._tables[name].size > size // (4 * self._job.streams)}
        yield from (frozenset((name,)) for name in sorted(large, key=lambda name: -self._tables[name].size))
        yield of_unit[Unit.TABLE] - large
        yield from (of_unit[unit] for unit in (Unit.SHARED, Unit.SLICE, Unit.SMALL_TABLES))

    def _load(self, slices: Sequence[Entry]) -> None:
        wanted = [entry for entry in slices if table_of(entry) not in self._refused]
        if not wanted or (error := self._load_together(wanted)) is None:
            return
        of_tables = [(name, list(own)) for name, own in groupby(wanted, table_of)]
        if len(of_tables) == 1:
            self._refused.add(of_tables[0][0], error)
            return
        for name, own in of_tables:  # one of them was refused, which must not cost the others
            if (reason := self._load_together(own)) is not None:
                self._refused.add(name, reason)

    def _load_together(self, slices: Sequence[Entry]) -> CoffreError | psycopg2.Error | None:
        """Load slices in one transaction. Return what refused them, if that may be left out."""
        done: list[Loaded] = []
        try:
            # Fetched, decrypted and unpacked while other threads keep the sessions busy.
            chunks = self._chunks(slices[0])
            waiting = chain((next(chunks, b""),), chunks)
        except IntegrityError as error:
            if self._how.outcome is None:
                raise
            return error
        with translated(self._job.connection), _borrowed(self._sessions, self._how.session) as session:
            try:
                with self.transaction(session):
                    self._begin(session, slices)
                    for entry in slices:
                        done.append(self._fill(session, entry, waiting if entry is slices[0] else self._chunks(entry)))
                        self._tally.add(done[-1])
            except (CoffreError, psycopg2.Error) as error:
                if self._how.outcome is None or session.closed or not may_be_left_out(error):
                    raise
                self._tally.undo(done)
                return error
        return None

    def _begin(self, session: psycopg2.extensions.connection, slices: Sequence[Entry]) -> None:
        unit = self._units[table_of(slices[0])]
        if self._how.is_fresh and unit not in (Unit.SLICE, Unit.SHARED):
            places = [self.place(name) for name in dict.fromkeys(map(table_of, slices))]
            if unit is Unit.TABLE:
                truncate(session, places[0])
            else:
                refuse_rows_of_others(session, places)

    def _fill(
        self, session: psycopg2.extensions.connection, entry: Entry, chunks: Iterator[bytes], *, again: bool = False
    ) -> Loaded:
        name, where = table_of(entry), self._how.where
        table, began = self._tables[name], time.monotonic()
        is_emptied = self._units[name] is Unit.TABLE or (again and self._units[name] is not Unit.SHARED)
        freeze = self._how.is_fresh and is_emptied
        encoding = self._source.content.encoding
        rows = copy_in(session, table, chunks, encoding, self.place(name), where=where, freeze=freeze)
        if where is None and rows != entry.rows:
            raise _rows_differ(table, f"{entry.name}: {rows} rows were loaded, {entry.rows} were backed up")
        return Loaded(entry, rows, time.monotonic() - began)

    def salvage(self, outcome: ReportBuilder) -> set[TableName]:
        """Load what was refused in another way, and return the names of the tables that stay empty."""
        refused = frozenset(self._refused.tables())
        if not refused:
            return set()
        for entry in slices_of(self._job, self._source, refused):
            self._slices.setdefault(table_of(entry), []).append(entry)
        with translated(self._job.connection), _borrowed(self._sessions, self._how.session) as session:
            return Salvage(
                session,
                self,
                outcome,
                search_paths=self._how.search_paths,
                may_loosen=self._how.is_fresh,
                is_alone=self._how.is_alone,
                is_strict=self._job.scope.strict,
                leaves_damage_out=self._job.leaves_damage_out,
                with_rows=frozenset(name for name, table in self._tables.items() if table.rows),
            ).load(self._refused)

    def reload(
        self,
        session: psycopg2.extensions.connection,
        name: TableName,
        before: Callable[[psycopg2.extensions.cursor], None],
        after: Callable[[psycopg2.extensions.cursor], None],
    ) -> None:
        """Load all rows of a table in one transaction, with steps before and after its rows."""
        with self.transaction(session), session.cursor() as cursor:
            if self._how.is_fresh and self._units[name] is not Unit.SHARED:
                truncate(session, self.place(name), self._tally.rows_of(name))
            before(cursor)
            done = [self._fill(session, entry, self._chunks(entry), again=True) for entry in self._slices.get(name, ())]
            after(cursor)
        self._tally.forget(name)
        for loaded in done:
            self._tally.add(loaded)

    def clear(self, session: psycopg2.extensions.connection, name: TableName) -> None:
        """Empty a table of the slices that were loaded."""
        if rows := self._tally.rows_of(name):
            with self.transaction(session):
                truncate(session, self.place(name), rows)
        self._tally.forget(name)

    def leave_damage_out(self, name: TableName) -> DamagedSlices | None:
        """Give up the damaged slices of a table, so that the others can be loaded; None when none is intact."""
        slices = self._slices.get(name, [])
        damaged = [entry for entry in slices if not self._is_intact(entry)]
        if len(damaged) == len(slices):
            return None
        self._slices[name] = [entry for entry in slices if entry not in damaged]
        return DamagedSlices(damaged, len(slices))

    def _is_intact(self, entry: Entry) -> bool:
        try:
            for _ in self._chunks(entry):
                pass
        except IntegrityError:
            return False
        return True

    def transaction(self, session: psycopg2.extensions.connection) -> AbstractContextManager[None]:
        """Run a block as a transaction of its own, or as a part of the one in which everything is loaded."""
        return unit(session, is_nested=self._how.session is not None)

    def _chunks(self, entry: Entry) -> Iterator[bytes]:
        if not is_shared(entry):
            return self._source.read(self._job, entry)
        self._job.children.check()
        return iter((self._frames.read(entry),))

    def place(self, name: TableName) -> TableName:
        """Return where the rows of a table go."""
        return self._places[name]


def _places(
    job: RestoreJob, source: Source, tables: Mapping[TableName, TableContent], how: Loading
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


def _shared(places: Mapping[TableName, TableName], how: Loading) -> Iterator[TableName]:
    """Yield the tables whose rows do not have a place of their own."""
    taken = Counter(places.values())
    return (name for name, place in places.items() if taken[place] > 1 or place not in (name, how.into.get(name)))


def _units(job: RestoreJob, tables: Mapping[TableName, TableContent], how: Loading) -> dict[TableName, Unit]:
    """Decide what of each table is loaded in one transaction."""
    if how.in_order or (how.outcome is not None and not how.is_fresh):
        whole = set(tables)  # what was committed of a table could not be told from rows of others
    elif how.is_fresh:
        whole = set(whole_tables({name: table.size for name, table in tables.items()}, job.streams, _SMALL_BYTES))
    else:
        whole = set()
    # Only into a table that its own transaction has emptied rows go one behind the other.
    shares = {name: is_small(table) and not how.in_order for name, table in tables.items()}
    return {name: Unit.SMALL_TABLES if shares[name] else Unit.TABLE if name in whole else Unit.SLICE for name in tables}


def _borrowed(
    sessions: SessionPool[psycopg2.extensions.connection], session: psycopg2.extensions.connection | None
) -> AbstractContextManager[psycopg2.extensions.connection]:
    return sessions.borrow() if session is None else nullcontext(session)


def check_counts(
    job: RestoreJob,
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
    differing: dict[TableName, int] = {}

    def check(together: Sequence[TableContent]) -> None:
        job.children.check()
        with translated(job.connection), _borrowed(sessions, session) as counting:
            counts = count_rows(counting, together)
            if session is None:
                counting.commit()
        for table, rows in zip(together, counts, strict=True):
            if rows != table.rows:
                differing[table.schema_name, table.table_name] = rows

    work = counted_together(tables.values())
    with SessionPool(lambda _: loading_session(job), job.streams) as sessions:
        for _ in job.runner(check, work) if session is None else map(check, work):
            pass
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


def loaded_of(
    tables: Mapping[TableName, TableContent],
    loaded: Iterable[RestoredTable],
    missing_rows: Mapping[TableName, int] = MappingProxyType({}),
) -> dict[TableName, TableContent]:
    """Return those of the tables that were loaded, without the rows that are reported as missing."""
    names = {table.table for table in loaded}
    found = {name: table for name, table in tables.items() if shown(*name) in names}
    return found | {
        name: found[name].model_copy(update={"rows": found[name].rows - rows})
        for name, rows in missing_rows.items()
        if name in found
    }


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
def _prepared(job: RestoreJob, statement: str) -> Iterator[psycopg2.extensions.connection]:
    with loading_session(job) as session:
        with session.cursor() as cursor:
            cursor.execute(statement)
        session.commit()
        yield session


def _groups(tables: Mapping[TableName, TableContent], order: Mapping[TableName, int]) -> Iterator[frozenset[TableName]]:
    """Yield the names of tables that are loaded at the same time."""
    for number in sorted({order.get(name, 0) for name in tables}):
        yield frozenset(name for name in tables if order.get(name, 0) == number)


def _rows_differ(table: TableContent, detail: str) -> RestoreError:
    return RestoreError(
        f"The table {shown(table.schema_name, table.table_name)} does not have as many rows as the backup.",
        code="ROWS_DIFFER",
        detail=detail,
        hint="Do not use the restored database. Is somebody else writing to it? If not, please report this.",
    )
