"""Filling tables from a backup's entries: slices in parallel, counted on the way."""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, contextmanager, nullcontext
from dataclasses import replace
from itertools import chain, groupby
from typing import Any

import psycopg2
import psycopg2.extensions

from coffre.model.errors import CoffreError, IntegrityError
from coffre.model.manifest import Entry, TableContent
from coffre.model.names import TableName, shown
from coffre.model.restore_report import RestoredTable
from coffre.operations.restore_database.batches import Loaded, LoadTally, Unit, slices_of, table_of, transactions
from coffre.operations.restore_database.job import RestoreJob, Source
from coffre.operations.restore_database.load_plan import Loading, Share, groups_of, shared_tables, units_of
from coffre.operations.restore_database.refused_rows import DamagedSlices, Refused, may_be_left_out
from coffre.operations.restore_database.report_builder import ReportBuilder
from coffre.operations.restore_database.row_counts import rows_differ
from coffre.operations.restore_database.row_salvage import Salvage
from coffre.operations.restore_database.salvage_rules import SalvageRules
from coffre.operations.restore_database.sessions import borrowed, loading_session
from coffre.operations.runs.progress import Meter
from coffre.operations.runs.session_pool import SessionPool
from coffre.postgres.connection.partition_routes import roots_for_loading
from coffre.postgres.destination import marks
from coffre.postgres.destination.copy_in import copy_in, delete_ours, refuse_rows_of_others, translated, truncate
from coffre.postgres.destination.guard import claim
from coffre.postgres.destination.owners_code import our_path
from coffre.postgres.destination.units import unit
from coffre.vault.shared_frames import SharedFrames, is_shared


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
        self._places = _places(job, source, tables, how)
        self._units = units_of(job, tables, how) | dict.fromkeys(shared_tables(self._places, how), Unit.SHARED)
        self._frames = SharedFrames(job.vault, source.decoder)
        self._marks = _marks(job) if how.is_marked else {}
        self._refused = Refused()
        self._slices: dict[TableName, list[Entry]] = {}  # of the refused ones
        self._given_up: dict[TableName, list[str]] = {}  # the names of their damaged slices

    def load(self, group: frozenset[TableName], is_wanted: Callable[[Sequence[Entry]], bool] = lambda _: True) -> None:
        """Load some tables at the same time, or those of their transactions that are wanted."""
        slices = chain.from_iterable(slices_of(self._job, self._source, names) for names in self._in_order(group))
        work = self._job.in_time(filter(is_wanted, transactions(self._left(slices), self._units)))
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
            if self._units[table_of(entry)] is Unit.TABLE:
                self._units[table_of(entry)] = Unit.SLICE
            if mark["rows"] is not None and self._how.share is None:
                self._tally.add(Loaded(entry, mark["rows"], mark["ms"] / 1000))

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
            if self._how.report is None:
                raise
            return error
        with translated(self._job.connection), borrowed(self._sessions, self._how.session) as session:
            try:
                with self.transaction(session):
                    free = self._free(session, slices)
                    self._begin(session, free)
                    for entry in free:
                        done.append(self._fill(session, entry, waiting if entry is slices[0] else self._chunks(entry)))
                        self._tally.add(done[-1])
                    self._mark(session, done)
            except (CoffreError, psycopg2.Error) as error:
                if self._how.report is None or session.closed or not may_be_left_out(error):
                    raise
                self._tally.undo(done)
                return error
        return None

    def _mark(
        self, session: psycopg2.extensions.connection, done: Iterable[Loaded], left_out: Iterable[str] = ()
    ) -> None:
        """Mark slices in the transaction that has loaded them, and those that are given up."""
        if self._how.is_marked:
            said: dict[str, marks.Said] = {
                loaded.entry.name: {"rows": loaded.rows, "ms": int(loaded.seconds * 1000)} for loaded in done
            }
            with session.cursor() as cursor:
                marks.add(
                    cursor, marks.ROWS, said | {name: {"rows": None} for name in left_out}, self._job.marks_schema
                )

    def _free(self, session: psycopg2.extensions.connection, slices: Sequence[Entry]) -> Sequence[Entry]:
        """Return those slices of a transaction that no other invocation loads or has loaded; they are its own now."""
        if self._how.share is None:
            return slices
        units = {entry.name: self._claimed_as(entry) for entry in slices}
        with session.cursor() as cursor:
            ours = set(claim(cursor, self._how.share.sharing, list(dict.fromkeys(units.values()))))
            loaded = marks.held(cursor, marks.ROWS, units)
        return [entry for entry in slices if units[entry.name] in ours and entry.name not in loaded]

    def _claimed_as(self, entry: Entry) -> str:
        """Return what is claimed to load a slice: itself, or its table, if that is loaded as a whole."""
        name = table_of(entry)
        return entry.name if self._units[name] is Unit.SLICE else shown(*name)

    def look_again(self) -> None:
        """Read what is loaded by now, also by others."""
        self._marks = _marks(self._job)

    def _begin(self, session: psycopg2.extensions.connection, slices: Sequence[Entry]) -> None:
        unit = self._units[table_of(slices[0])] if slices else Unit.SLICE
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
            raise rows_differ(table, f"{entry.name}: {rows} rows were loaded, {entry.rows} were backed up")
        return Loaded(entry, rows, time.monotonic() - began)

    def salvage(self, report: ReportBuilder) -> set[TableName]:
        """Load what was refused in another way, and return the names of the tables that stay empty."""
        refused = frozenset(self._refused.tables())
        if not refused and not self.noted():
            return set()
        for entry in slices_of(self._job, self._source, refused):
            self._slices.setdefault(table_of(entry), []).append(entry)
        with translated(self._job.connection), borrowed(self._sessions, self._how.session) as session:
            rules = SalvageRules(
                search_paths=self._how.search_paths,
                may_loosen=self._how.is_fresh,
                is_alone=self._how.is_alone,
                is_strict=self._job.scope.strict,
                leaves_damage_out=self._job.leaves_damage_out,
                with_rows=frozenset(name for name, table in self._tables.items() if table.rows),
            )
            return Salvage(session, self, report, rules).load(self._refused)

    def reload(
        self,
        session: psycopg2.extensions.connection,
        name: TableName,
        before: Callable[[psycopg2.extensions.cursor], None],
        after: Callable[[psycopg2.extensions.cursor], None],
    ) -> None:
        """Load all rows of a table in one transaction, with steps before and after its rows."""
        with self.transaction(session), session.cursor() as cursor:
            if self._units[name] is not Unit.SHARED:
                self._empty(session, name)
            before(cursor)
            done = [self._fill(session, entry, self._chunks(entry), again=True) for entry in self._slices.get(name, ())]
            after(cursor)
            self._unmark(cursor, name)
            self._mark(session, done, self._given_up.get(name, ()))
        self._tally.forget(name)
        for loaded in done:
            self._tally.add(loaded)

    def clear(self, session: psycopg2.extensions.connection, name: TableName) -> None:
        """Empty a table of the slices that were loaded."""
        if self._tally.rows_of(name):
            with self.transaction(session), session.cursor() as cursor:
                self._empty(session, name)
                self._unmark(cursor, name)
        self._tally.forget(name)

    def _empty(self, session: psycopg2.extensions.connection, name: TableName) -> None:
        rows = self._tally.rows_of(name)
        if self._how.is_fresh:
            truncate(session, self.place(name), rows)
        elif rows:
            delete_ours(session, self.place(name), rows)

    def leave_damage_out(self, name: TableName) -> DamagedSlices | None:
        """Give up the damaged slices of a table, so that the others can be loaded; None when none is intact."""
        slices = self._slices.get(name, [])
        damaged = [entry for entry in slices if not self._is_intact(entry)]
        if len(damaged) == len(slices):
            return None
        self._slices[name] = [entry for entry in slices if entry not in damaged]
        self._given_up[name] = [entry.name for entry in damaged]
        return DamagedSlices(damaged, len(slices))

    def _unmark(self, cursor: psycopg2.extensions.cursor, name: TableName) -> None:
        if self._how.is_marked:
            names = [entry.name for entry in self._slices.get(name, ())]
            marks.remove(cursor, marks.ROWS, names, self._job.marks_schema)

    def note(self, cursor: psycopg2.extensions.cursor, name: TableName, said: marks.Said) -> None:
        """Keep in the open transaction what is to be reported about a table."""
        if self._how.is_marked:
            marks.add(cursor, marks.SALVAGED, {json.dumps(name): said}, self._job.marks_schema)

    def noted(self) -> dict[TableName, dict[str, Any]]:
        """Return what earlier attempts have kept of the tables that are loaded here."""
        if not self._how.is_marked:
            return {}
        with loading_session(self._job) as session:
            found = marks.read(session, marks.SALVAGED, self._job.marks_schema)
        said = {(schema, table): one for key, one in found.items() for schema, table in [json.loads(key)]}
        return {name: one for name, one in said.items() if name in self._tables}

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
