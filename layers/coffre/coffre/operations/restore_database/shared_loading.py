"""Rows that several invocations load together: when a restore leaves them to others, and what each of those does."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, replace
from typing import Any, Final

import psycopg2.extensions
from ulid import ULID

from coffre.model.errors import ConnectTransientError
from coffre.model.manifest import TableContent
from coffre.model.names import TableName
from coffre.model.words import counted
from coffre.operations.restore_database.job import RestoreJob, Source
from coffre.operations.restore_database.load_plan import Loading, Share
from coffre.operations.restore_database.load_tables import load_share
from coffre.operations.restore_database.load_transactions import slices_of, table_of
from coffre.operations.restore_database.report_builder import ReportBuilder
from coffre.operations.restore_database.saved_steps import Memory
from coffre.operations.restore_database.sessions import loading_session
from coffre.operations.runs.progress import Meter
from coffre.policy.connection_counts import streams_that_fit
from coffre.policy.spread import Shape
from coffre.postgres.connection.free_connections import free_connections
from coffre.postgres.destination import marks
from coffre.postgres.destination.restore_lock import share_guard

_SHARED: Final = "shared"
# One invocation alone is the restore itself.
_FEWEST: Final = 2
# What an invocation needs to do anything once it has a connection.
_WORTH_WAITING_SECONDS: Final = 120.0
_PAUSE_SECONDS: Final = 1.0
_LONGEST_PAUSE_SECONDS: Final = 20.0


@dataclass(frozen=True)
class _Left:
    """What of the rows is not loaded yet, and the tables of which a part is."""

    size_bytes: int
    done_bytes: int
    done_tables: int
    sliced: frozenset[TableName]


def share_rows(job: RestoreJob, source: Source, memory: Memory, tables: dict[TableName, TableContent]) -> None:
    """Leave rows to several invocations, if that is decided: the restore pauses, and continues when they have ended.

    It loads itself what they have left. They are asked again only if they did something, and enough is left.

    Raises
    ------
    DumpTransientError
        `STOPPED`: it has paused. `job.sharing.begun` says what was begun.
    """
    sharing, session = job.sharing, memory.session
    if sharing is None or session is None or job.in_order:
        return
    left, before = _left(job, source, memory, tables), memory.read(marks.STATE).get(_SHARED)
    if before is not None and before["restore_id"] == job.restore_id:
        functions, streams = counted(before["width"], "function"), counted(before["streams"], "connection")
        memory.report.steps.append(
            f"Hand the rows out to {functions} with {streams} each, and load what they leave. {before['why']}"
        )
        if sharing.is_demanded or left.size_bytes >= before["left"]:
            return
    divided = sharing.divide(left.size_bytes, _free(session))
    if divided is None or divided[0].width < _FEWEST:
        return
    sharing.begun = _hand_out(job, session, tables, source, left, *divided), divided[0]
    job.children.pause()
    job.children.check()


def _left(job: RestoreJob, source: Source, memory: Memory, tables: dict[TableName, TableContent]) -> _Left:
    total, marked = sum(table.size for table in tables.values()), memory.read(marks.ROWS)
    if not marked:
        return _Left(total, 0, 0, frozenset())
    done = dict.fromkeys(tables, 0)
    for entry in slices_of(job, source, frozenset(tables)):
        if entry.name in marked:
            done[table_of(entry)] += entry.size
    sliced = frozenset(name for name, size in done.items() if 0 < size < tables[name].size)
    whole = sum(size == tables[name].size for name, size in done.items())
    return _Left(total - sum(done.values()), sum(done.values()), whole, sliced)


def _free(session: psycopg2.extensions.connection) -> int:
    def query(statement: str) -> list[tuple[Any, ...]]:
        with session.cursor() as cursor:
            cursor.execute(statement)
            return cursor.fetchall()

    found = free_connections(query)
    session.commit()
    return found


def _hand_out(
    job: RestoreJob,
    session: psycopg2.extensions.connection,
    tables: dict[TableName, TableContent],
    source: Source,
    left: _Left,
    shape: Shape,
    why: str,
) -> str:
    """Write at the destination what those who load have to know, and return the id of their load."""
    sharing = str(ULID())
    all_tables = ((table.schema_name, table.table_name) for table in source.content.tables)
    said = {
        "without": [name for name in all_tables if name not in tables],
        "sliced": sorted(left.sliced),
        "streams": shape.width * shape.streams,
        "settings": dict(job.settings),
        "done_bytes": left.done_bytes,
        "done_tables": left.done_tables,
    }
    shared = {
        "restore_id": job.restore_id,
        "left": left.size_bytes,
        "width": shape.width,
        "streams": shape.streams,
        "why": why,
    }
    with session.cursor() as cursor:
        marks.replace(cursor, marks.STATE, _SHARED, shared)
        marks.add(cursor, marks.SHARED, {sharing: said})
    session.commit()
    return sharing


@dataclass(frozen=True)
class Loaded:
    """What all invocations together load: bytes and tables, and how much of them was loaded before they began."""

    total_bytes: int
    total_tables: int
    done_bytes: int
    done_tables: int


@dataclass
class ShareOfRows:
    """One invocation's share of the rows of a restore. It can be repeated, doubled and late: what is loaded stays so.

    Parameters
    ----------
    job
        Of the restore, with the connections of this invocation alone.
    sharing, number, width
        As those of `Share`.
    meter
        Counts what this invocation loads.
    """

    job: RestoreJob
    sharing: str
    number: int
    width: int
    meter: Meter
    whole: Loaded | None = None

    def load(self, source: Source) -> None:
        """Load what no other invocation loads, until nothing is left or it is late.

        Raises
        ------
        LockLostError
            `RUN_OVER`: the restore continues without this.
        ConnectTransientError
            The server has had no free connection for as long as this could wait.
        DumpTransientError
            `STOPPED`: it was late (`Children.has_paused`), or another error ended the run.
        """
        with self.job.pausing(), self._connected() as session:
            said = share_guard(session, self.sharing)
            without = {(schema, table) for schema, table in said["without"]}
            tables = {
                name: table
                for table in source.content.tables
                if (name := (table.schema_name, table.table_name)) not in without
            }
            self.whole = Loaded(
                sum(table.size for table in tables.values()), len(tables), said["done_bytes"], said["done_tables"]
            )
            fitting = streams_that_fit(self.job.streams, _free(session))
            job = replace(self.job, settings=said["settings"], streams=fitting)
            # What is refused or damaged does not end the load: the restore tries it in other ways, and reports it.
            how = Loading(is_fresh=True, report=ReportBuilder(self.meter), is_alone=True, is_marked=True)
            sliced = frozenset((schema, table) for schema, table in said["sliced"])
            load_share(
                job,
                source,
                tables,
                self.meter,
                how,
                Share(self.sharing, self.number, self.width, said["streams"], sliced),
            )

    @contextmanager
    def _connected(self) -> Iterator[psycopg2.extensions.connection]:
        """Give a session; while the server has no room for one, this waits."""
        with ExitStack() as stack:
            yield self._connect(stack)

    def _connect(self, stack: ExitStack) -> psycopg2.extensions.connection:
        pause = _PAUSE_SECONDS
        while True:
            try:
                return stack.enter_context(loading_session(self.job))
            except ConnectTransientError as error:
                is_full = error.code == ConnectTransientError.default_code
                if not is_full or self.job.remaining_seconds() - pause < _WORTH_WAITING_SECONDS:
                    raise
            time.sleep(pause)
            pause = min(2 * pause, _LONGEST_PAUSE_SECONDS)
            self.job.children.check()
