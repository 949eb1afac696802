"""The rows of tables at the destination: slices written in a transaction and marked in it, and taken away again."""

from __future__ import annotations

import json
import time
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, nullcontext
from typing import Any

import psycopg2
import psycopg2.extensions

from coffre.model.errors import IntegrityError
from coffre.model.manifest import Entry, TableContent
from coffre.model.names import TableName, shown
from coffre.operations.restore_database.job import RestoreJob, Source
from coffre.operations.restore_database.load_plan import Loading, shared_tables, units_of
from coffre.operations.restore_database.load_transactions import Loaded, Unit, table_of
from coffre.operations.restore_database.row_counts import rows_differ
from coffre.operations.restore_database.sessions import loading_session
from coffre.postgres.connection.partition_routes import roots_for_loading
from coffre.postgres.destination import marks
from coffre.postgres.destination.copy_in import copy_in, delete_ours, refuse_rows_of_others, translated, truncate
from coffre.postgres.destination.fewer_columns import copy_some
from coffre.postgres.destination.owners_code import our_path
from coffre.postgres.destination.restore_lock import claim
from coffre.postgres.destination.unit_of_work import unit
from coffre.vault.shared_frames import SharedFrames, is_shared


class TableRows:
    """What a load does to tables, each step in a transaction of the caller's.

    Attributes
    ----------
    units
        What of each table is one transaction. A table that has rows already is loaded slice by slice.
    """

    def __init__(self, job: RestoreJob, source: Source, tables: Mapping[TableName, TableContent], how: Loading) -> None:
        self._job = job
        self._source = source
        self._tables = tables
        self._how = how
        self._places = _places(job, source, tables, how)
        self._frames = SharedFrames(job.vault, source.decoder)
        self.units = units_of(job, tables, how) | dict.fromkeys(shared_tables(self._places, how), Unit.SHARED)

    def transaction(self, session: psycopg2.extensions.connection) -> AbstractContextManager[None]:
        """Run a block as a transaction of its own, or as a part of the one in which everything is loaded."""
        return unit(session, is_nested=self._how.session is not None)

    def place(self, name: TableName) -> TableName:
        """Return where the rows of a table go."""
        return self._places[name]

    def chunks(self, entry: Entry) -> Iterator[bytes]:
        """Yield the rows of a slice, as they were copied out."""
        if not is_shared(entry):
            return self._source.read(self._job, entry)
        self._job.children.check()
        return iter((self._frames.read(entry),))

    def is_intact(self, entry: Entry) -> bool:
        """Whether every byte of a slice can be read."""
        try:
            for _ in self.chunks(entry):
                pass
        except IntegrityError:
            return False
        return True

    def free(self, session: psycopg2.extensions.connection, slices: Sequence[Entry]) -> Sequence[Entry]:
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
        return entry.name if self.units[name] is Unit.SLICE else shown(*name)

    def begin(self, session: psycopg2.extensions.connection, slices: Sequence[Entry]) -> None:
        """Empty the table of these slices, or refuse rows of others in their tables."""
        unit = self.units[table_of(slices[0])] if slices else Unit.SLICE
        if self._how.is_fresh and unit not in (Unit.SLICE, Unit.SHARED):
            places = [self.place(name) for name in dict.fromkeys(map(table_of, slices))]
            if unit is Unit.TABLE:
                truncate(session, places[0])
            else:
                refuse_rows_of_others(session, places)

    def fill(
        self, session: psycopg2.extensions.connection, entry: Entry, chunks: Iterator[bytes], *, again: bool = False
    ) -> Loaded:
        """Write a slice from its `chunks`; `again`: into a table that was emptied."""
        name, where = table_of(entry), self._how.where
        table, began = self._tables[name], time.monotonic()
        is_emptied = self.units[name] is Unit.TABLE or (again and self.units[name] is not Unit.SHARED)
        freeze = self._how.is_fresh and is_emptied
        encoding = self._source.content.encoding
        if name in self._how.taken:
            rows = copy_some(session, table, chunks, encoding, self.place(name), self._how.taken[name])
        else:
            rows = copy_in(session, table, chunks, encoding, self.place(name), where=where, freeze=freeze)
        if where is None and rows != entry.rows:
            raise rows_differ(table, f"{entry.name}: {rows} rows were loaded, {entry.rows} were backed up")
        return Loaded(entry, rows, time.monotonic() - began)

    def mark(
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

    def unmark(self, cursor: psycopg2.extensions.cursor, slices: Iterable[Entry]) -> None:
        """Remove the marks of slices in the open transaction."""
        if self._how.is_marked:
            marks.remove(cursor, marks.ROWS, [entry.name for entry in slices], self._job.marks_schema)

    def empty(self, session: psycopg2.extensions.connection, name: TableName, rows: int) -> None:
        """Empty a table of the `rows` that were loaded into it."""
        if self._how.is_fresh:
            truncate(session, self.place(name), rows)
        elif rows:
            delete_ours(session, self.place(name), rows)

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
