"""Filling tables from a backup's entries: slices in parallel, counted on the way."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import replace
from itertools import chain, groupby
from typing import Any

import psycopg2
import psycopg2.extensions

from coffre.model.errors import CoffreError, IntegrityError
from coffre.model.manifest import Entry, TableContent
from coffre.model.names import TableName
from coffre.model.restore_report import RestoredTable
from coffre.operations.restore_database.job import RestoreJob, Source
from coffre.operations.restore_database.load_plan import Loading, Share, groups_of
from coffre.operations.restore_database.load_transactions import (
    Loaded,
    LoadTally,
    Unit,
    slices_of,
    table_of,
    transactions,
)
from coffre.operations.restore_database.refused_rows import Refused, may_be_left_out
from coffre.operations.restore_database.reload import Reload
from coffre.operations.restore_database.report_builder import ReportBuilder
from coffre.operations.restore_database.row_salvage import Salvage
from coffre.operations.restore_database.salvage_rules import SalvageRules
from coffre.operations.restore_database.sessions import borrowed, loading_session
from coffre.operations.restore_database.table_rows import TableRows
from coffre.operations.runs.progress import Meter
from coffre.operations.runs.session_pool import SessionPool
from coffre.postgres.destination import marks
from coffre.postgres.destination.copy_in import translated


def load_tables(
    job: RestoreJob,
    source: Source,
    tables: Mapping[TableName, TableContent],
    meter: Meter,
    how: Loading,
) -> list[RestoredTable]:
    """Load the rows of chosen tables of the backup, by name, with as many sessions as the job has streams.

    Returns what was loaded; with a `report`, tables that could not be loaded are not among it.
    """
    meter.begin("tables", total_bytes=sum(table.size for table in tables.values()), total_tables=len(tables))
    tally = LoadTally(tables, meter)
    with SessionPool(lambda _: _prepared(job, how.first_statement), job.streams) as sessions:
        loader = _Loader(job, source, tables, how, tally, sessions)
        for group in groups_of(tables, how.order):
            loader.load(group)
        lost = loader.salvage(how.report) if how.report is not None else set()
    return tally.tables(without=lost)


def load_share(
    job: RestoreJob, source: Source, tables: Mapping[TableName, TableContent], meter: Meter, how: Loading, share: Share
) -> None:
    """Load what of some tables no other invocation loads: first this one's share, then what is left of the others'.

    What is refused is left to the restore itself. Transactions that others have begun are not waited for.
    """
    tally = LoadTally(tables, meter)
    with SessionPool(lambda _: _prepared(job, how.first_statement), job.streams) as sessions:
        loader = _Loader(job, source, tables, replace(how, share=share), tally, sessions)
        loader.load(frozenset(tables), share.is_own)
        loader.look_again()
        loader.load(frozenset(tables), lambda slices: not share.is_own(slices))


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
        self._rows = TableRows(job, source, tables, how)
        self._marks = _marks(job) if how.is_marked else {}
        self._refused = Refused()

    def load(self, group: frozenset[TableName], is_wanted: Callable[[Sequence[Entry]], bool] = lambda _: True) -> None:
        """Load some tables at the same time, or those of their transactions that are wanted."""
        slices = chain.from_iterable(slices_of(self._job, self._source, names) for names in self._in_order(group))
        work = self._job.in_time(filter(is_wanted, transactions(self._left(slices), self._rows.units)))
        alone = self._how.session is not None
        for _ in map(self._load, work) if alone else self._job.runner(self._load, work):
            pass
        self._job.check_time()

    def _left(self, slices: Iterator[Entry]) -> Iterator[Entry]:
        """Yield the slices without a mark, and count the others as loaded."""
        for entry in slices:
            mark = self._marks.get(entry.name)
            if mark is None:
                yield entry
                continue
            # What is left of this table comes to rows that stay.
            if self._rows.units[table_of(entry)] is Unit.TABLE:
                self._rows.units[table_of(entry)] = Unit.SLICE
            if mark["rows"] is not None and self._how.share is None:
                self._tally.add(Loaded(entry, mark["rows"], mark["ms"] / 1000))

    def _in_order(self, group: frozenset[TableName]) -> Iterator[frozenset[TableName]]:
        """Yield tables in the order in which they are begun: first, one by one, what one stream has long to do with."""
        of_unit = {unit: frozenset(name for name in group if self._rows.units[name] is unit) for unit in Unit}
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
            chunks = self._rows.chunks(slices[0])
            waiting = chain((next(chunks, b""),), chunks)
        except IntegrityError as error:
            if self._how.report is None:
                raise
            return error
        with translated(self._job.connection), borrowed(self._sessions, self._how.session) as session:
            try:
                with self._rows.transaction(session):
                    free = self._rows.free(session, slices)
                    self._rows.begin(session, free)
                    for entry in free:
                        rows = waiting if entry is slices[0] else self._rows.chunks(entry)
                        done.append(self._rows.fill(session, entry, rows))
                        self._tally.add(done[-1])
                    self._rows.mark(session, done)
            except (CoffreError, psycopg2.Error) as error:
                if self._how.report is None or session.closed or not may_be_left_out(error):
                    raise
                self._tally.undo(done)
                return error
        return None

    def look_again(self) -> None:
        """Read what is loaded by now, also by others."""
        self._marks = _marks(self._job)

    def salvage(self, report: ReportBuilder) -> set[TableName]:
        """Load what was refused in another way, and return the names of the tables that stay empty."""
        refused = frozenset(self._refused.tables())
        if not refused and not self._rows.noted():
            return set()
        again = Reload(self._rows, self._tally, slices_of(self._job, self._source, refused))
        with translated(self._job.connection), borrowed(self._sessions, self._how.session) as session:
            rules = SalvageRules(
                search_paths=self._how.search_paths,
                may_loosen=self._how.is_fresh,
                is_alone=self._how.is_alone,
                is_strict=self._job.scope.strict,
                leaves_damage_out=self._job.leaves_damage_out,
                with_rows=frozenset(name for name, table in self._tables.items() if table.rows),
            )
            return Salvage(session, self._rows, again, report, rules).load(self._refused)


@contextmanager
def _prepared(job: RestoreJob, statement: str) -> Iterator[psycopg2.extensions.connection]:
    with loading_session(job) as session:
        with session.cursor() as cursor:
            cursor.execute(statement)
        session.commit()
        yield session


def _marks(job: RestoreJob) -> dict[str, dict[str, Any]]:
    with loading_session(job) as session:
        return marks.read(session, marks.ROWS, job.marks_schema)
