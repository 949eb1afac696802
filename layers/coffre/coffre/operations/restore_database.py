"""Restore one database backup into a new or empty database: schema, rows in parallel, the rest, and a count of all."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from itertools import chain

import psycopg2.extensions

from coffre.model.backup import RestoredTable, RestoreReport
from coffre.model.errors import IntegrityError, RestoreError
from coffre.model.manifest import Entry, EntryKind, Manifest, TableContent
from coffre.model.names import shown
from coffre.operations.progress import Meter
from coffre.operations.restore_plan import (
    Job,
    Source,
    choose_lines,
    open_source,
    refuse_missing_extensions,
    refuse_unrestorable,
    why_no_owners,
)
from coffre.operations.streams import Streams
from coffre.postgres.connect import connect
from coffre.postgres.destination import Destination, open_destination
from coffre.postgres.load import (
    SchemaLoader,
    copy_in,
    count_rows,
    order_of_keys,
    refresh_materialized_views,
    set_sequences,
    translated,
)
from coffre.postgres.toc import is_event_trigger


@dataclass
class _Clock:
    """How long each phase took, in ms."""

    meter: Meter
    phases_ms: dict[str, int] = field(default_factory=dict)

    @contextmanager
    def phase(self, name: str) -> Iterator[None]:
        self.meter.begin(name)
        began = time.monotonic()
        yield
        self.phases_ms[name] = int((time.monotonic() - began) * 1000)


def restore_database(job: Job, meter: Meter) -> RestoreReport:
    """Restore the whole backup and check the row counts.

    Raises
    ------
    CoffreError
        Whatever stopped it. A database that was created for this restore is dropped again; an existing one that was
        empty keeps what was loaded so far, and the message says so.
    """
    refuse_unrestorable(job.backup)
    clock = _Clock(meter)
    with clock.phase("read"):
        source = open_source(job)
    with ExitStack() as stack:
        with clock.phase("destination"):
            destination = stack.enter_context(open_destination(job.connection, source.manifest.content))
        return _load(job, source, destination, clock)


def _load(job: Job, source: Source, destination: Destination, clock: _Clock) -> RestoreReport:
    content = source.manifest.content
    refuse_missing_extensions(source, destination)
    ownership = why_no_owners(content.roles, destination)
    loader = SchemaLoader(job.tools, job.children, destination, with_owners=ownership is None, jobs=job.streams)
    toc, exceptions = choose_lines(source, destination)
    if ownership is not None:
        exceptions.insert(0, ownership)
    with clock.phase("schema"):
        loader.restore(source.archive, "pre-data", toc)
    with clock.phase("tables"):
        tables = _load_tables(job, source, destination, clock.meter)
    with clock.phase("large objects and sequences"), _session(job, destination) as session:
        if source.large_objects is not None:
            loader.restore_data(source.read(job, source.large_objects))
        set_sequences(session, content.sequences)
        session.commit()
    # Before row level security comes with the rest of the schema: it can hide rows from the owner of a table too.
    with clock.phase("count"):
        _check_counts(job, content.tables, destination)
    with clock.phase("indexes and constraints"):
        loader.restore(source.archive, "post-data", [entry for entry in toc if not is_event_trigger(entry)])
    with clock.phase("materialized views"), _session(job, destination) as session:
        refresh_materialized_views(session, content.materialized_views)
        session.commit()
    if event_triggers := [entry for entry in toc if is_event_trigger(entry)]:
        with clock.phase("event triggers"):
            loader.restore(source.archive, "post-data", event_triggers)
    return RestoreReport(
        id=job.restore_id,
        backup_id=job.backup.id,
        target=job.backup.target,
        destination=str(destination.connection),
        created_database=destination.created,
        with_owners=ownership is None,
        tables=tuple(tables),
        rows=sum(table.rows for table in tables),
        phases_ms=clock.phases_ms,
        exceptions=(*source.manifest.exceptions, *destination.exceptions, *exceptions),
    )


def _load_tables(job: Job, source: Source, destination: Destination, meter: Meter) -> list[RestoredTable]:
    manifest = source.manifest
    contents = {(table.schema_name, table.table_name): table for table in manifest.content.tables}
    meter.begin("tables", total_bytes=sum(t.size for t in contents.values()), total_tables=len(contents))
    tally = _Tally(contents, meter)

    def load(entry: Entry) -> None:
        if entry.relation is None:
            raise IntegrityError(f"The entry {entry.name} names no table.", code="ENTRIES_DAMAGED")
        table = contents[entry.relation.schema_name, entry.relation.relation_name]
        began = time.monotonic()
        chunks = source.read(job, entry)
        # Fetched, decrypted and unpacked while other threads keep the sessions busy.
        first = next(chunks, b"")
        with translated(destination.connection), sessions.borrow() as session:
            rows = copy_in(session, table, chain((first,), chunks), manifest.content.encoding)
            session.commit()
        if rows != entry.rows:
            raise _rows_differ(table, f"{entry.name}: {rows} rows were loaded, {entry.rows} were backed up")
        tally.add(table, entry, time.monotonic() - began)

    with Streams(lambda _: _session(job, destination), job.streams) as sessions:
        # The keys of extensions' tables are there already: what they point at comes first.
        for entry in _extension_slices(job, manifest, destination):
            load(entry)
        for _ in job.runner(load, _slices(job, manifest, of_extension=False)):
            pass
    return tally.tables()


def _slices(job: Job, manifest: Manifest, *, of_extension: bool) -> Iterator[Entry]:
    wanted = {(t.schema_name, t.table_name) for t in manifest.content.tables if t.of_extension is of_extension}
    for entry in job.vault.entries(manifest) if wanted else ():
        # An entry that names no table is an error, which its loading says.
        if entry.kind is EntryKind.TABLE and (_table_of(entry) in wanted or not (entry.relation or of_extension)):
            yield entry


def _extension_slices(job: Job, manifest: Manifest, destination: Destination) -> list[Entry]:
    slices = list(_slices(job, manifest, of_extension=True))
    if not slices:
        return []
    with _session(job, destination) as session:
        order = order_of_keys(session, [table for table in manifest.content.tables if table.of_extension])
    return sorted(slices, key=lambda entry: (order.index(_table_of(entry)), entry.name))


def _table_of(entry: Entry) -> tuple[str, str]:
    return (entry.relation.schema_name, entry.relation.relation_name) if entry.relation else ("", "")


class _Tally:
    """What was loaded, table by table."""

    def __init__(self, contents: dict[tuple[str, str], TableContent], meter: Meter) -> None:
        self._lock = threading.Lock()
        self._meter = meter
        self._tables = {key: RestoredTable(table=shown(*key), rows=0, size_bytes=0, duration_ms=0) for key in contents}

    def add(self, table: TableContent, entry: Entry, seconds: float) -> None:
        with self._lock:
            key = (table.schema_name, table.table_name)
            before = self._tables[key]
            self._tables[key] = before.model_copy(
                update={
                    "rows": before.rows + (entry.rows or 0),
                    "size_bytes": before.size_bytes + entry.size,
                    "duration_ms": before.duration_ms + int(seconds * 1000),
                }
            )
            is_whole = self._tables[key].size_bytes == table.size
        self._meter.add(size_bytes=entry.size, tables=int(is_whole), current=before.table)

    def tables(self) -> list[RestoredTable]:
        return list(self._tables.values())


@contextmanager
def _session(job: Job, destination: Destination) -> Iterator[psycopg2.extensions.connection]:
    with (
        translated(destination.connection),
        connect(destination.connection) as session,
        job.children.cancelling(session),
    ):
        yield session


def _check_counts(job: Job, tables: tuple[TableContent, ...], destination: Destination) -> None:
    """Compare what is there now with the manifest. Tables of extensions may have had rows of their own."""

    def check(table: TableContent) -> None:
        job.children.check()
        with translated(destination.connection), sessions.borrow() as session:
            rows = count_rows(session, table)
            session.commit()
        if rows != table.rows:
            raise _rows_differ(table, f"{rows} rows are there, {table.rows} were backed up")

    with Streams(lambda _: _session(job, destination), job.streams) as sessions:
        for _ in job.runner(check, (table for table in tables if not table.of_extension)):
            pass


def _rows_differ(table: TableContent, detail: str) -> RestoreError:
    return RestoreError(
        f"The table {shown(table.schema_name, table.table_name)} does not have as many rows as the backup.",
        code="ROWS_DIFFER",
        detail=detail,
        hint="Do not use the restored database. Is somebody else writing to it? If not, please report this.",
    )
