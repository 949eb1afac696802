"""Restore a whole backup into a new or empty database: schema, rows in parallel, the rest, and a count of all."""

from __future__ import annotations

from contextlib import ExitStack
from typing import Final

from psycopg2 import sql

from coffre.model.errors import DestinationError
from coffre.model.manifest import TableContent
from coffre.model.names import shown
from coffre.operations.restore_large_objects import restore_large_objects
from coffre.operations.restore_load import (
    Loading,
    check_counts,
    load_tables,
    loaded_of,
    loading_session,
)
from coffre.operations.restore_outcome import Outcome
from coffre.operations.restore_plan import Job, Selection, Source, select, why_no_owners
from coffre.operations.restore_refused import leave_out_views
from coffre.postgres.database_properties import apply_database_properties
from coffre.postgres.destination import Destination, open_destination
from coffre.postgres.live import TableName, live_tables
from coffre.postgres.load import key_levels, refresh_materialized_views, set_sequences
from coffre.postgres.schema_loader import SchemaLoader
from coffre.postgres.toc import is_event_trigger, is_of_database

_CLOSED_SINCE: Final = 150000


def restore_whole(job: Job, source: Source, outcome: Outcome) -> None:
    """Restore definitions and rows (or definitions only) into a database that is new or empty, and count the rows.

    Raises
    ------
    CoffreError
        Whatever stopped it. A database that was created for this restore is dropped again; an existing one that was
        empty keeps what was loaded so far, and the message says so.
    """
    if not source.content.contents.has_schema:
        raise DestinationError(
            f"The backup {job.backup.id} holds rows only.",
            code="NO_DEFINITIONS",
            hint="Restore its rows into a database that has the tables, empty: --contents data.",
        )
    with ExitStack() as stack:
        with outcome.phase("destination"):
            opened = open_destination(job.connection, source.content, dry_run=job.scope.dry_run)
            destination = stack.enter_context(opened)
        selection = select(source, destination)
        tables = selection.tables if job.scope.contents.has_rows else {}
        problem = why_no_owners(source.content.roles, destination)
        _say(job, destination, tables, outcome)
        outcome.exceptions += [
            *source.manifest.exceptions,
            *destination.exceptions,
            *([problem] if problem else []),
            *selection.exceptions,
        ]
        outcome.with_owners = problem is None
        outcome.created_database = destination.created
        if not job.scope.dry_run:
            loader = SchemaLoader(job.tools, job.children, destination, with_owners=problem is None, jobs=job.streams)
            _make_schemas(job, source, selection, destination)
            if destination.created and outcome.with_owners and destination.version_number < _CLOSED_SINCE:
                _close_public(job)
            _restore(job, source, selection, tables, loader, outcome)
            _set_properties(job, source, outcome)


def _say(job: Job, destination: Destination, tables: dict[TableName, TableContent], outcome: Outcome) -> None:
    what = "Create the database" if destination.created else "Load into the empty database"
    outcome.steps.append(f"{what} {job.connection}.")
    if job.scope.contents.has_rows:
        rows, size = (sum(getattr(table, field) for table in tables.values()) for field in ("rows", "size"))
        outcome.steps.append(
            f"Restore {len(tables)} tables with {rows:,} rows ({size / 1e6:,.1f} MB) over {job.streams} connections, "
            "count them, then build indexes and constraints."
        )
    else:
        outcome.steps.append("Restore definitions only: tables stay empty.")


def _close_public(job: Job) -> None:
    """Take away what older servers give everybody on the schema public: `pg_dump` writes rights as if they did not."""
    with loading_session(job) as session, session.cursor() as cursor:
        cursor.execute("REVOKE CREATE ON SCHEMA public FROM PUBLIC")
        session.commit()


def _make_schemas(job: Job, source: Source, selection: Selection, destination: Destination) -> None:
    """Create the schemas that a backup of chosen tables does not have: `pg_dump --table` writes tables alone."""
    dumped = {entry.tag for entry in source.toc if entry.description == "SCHEMA"} | destination.schemas
    missing = sorted({entry.schema for entry in selection.lines if entry.schema} - dumped)
    if missing:
        with loading_session(job) as session, session.cursor() as cursor:
            for schema in missing:
                cursor.execute(sql.SQL("CREATE SCHEMA {}").format(sql.Identifier(schema)))
            session.commit()


def _restore(
    job: Job,
    source: Source,
    selection: Selection,
    tables: dict[TableName, TableContent],
    loader: SchemaLoader,
    outcome: Outcome,
) -> None:
    lines, content = selection.lines, source.content
    salvage = None if job.scope.strict else outcome
    with outcome.phase("schema"):
        loader.restore(source.archive, "pre-data", lines)
    if job.scope.contents.has_rows:
        tables = _there(job, tables, outcome)
        with outcome.phase("tables"):
            # Extensions' tables have their keys from the start: what these point at comes first, other tables after.
            own = {name: table for name, table in tables.items() if not table.of_extension}
            if of_extensions := {name: table for name, table in tables.items() if table.of_extension}:
                with loading_session(job) as session:
                    how = Loading(order=key_levels(session, of_extensions), outcome=salvage)
                outcome.tables += load_tables(job, source, of_extensions, outcome.meter, how)
            fresh = Loading(is_fresh=True, in_order=job.in_order, outcome=salvage, is_alone=True)
            loaded = load_tables(job, source, own, outcome.meter, fresh)
            outcome.tables += loaded
        with outcome.phase("large objects and sequences"), loading_session(job) as session:
            if source.large_objects is not None:
                owners = outcome.with_owners
                restore_large_objects(job, source, source.large_objects, outcome, with_owners=owners)
            outcome.say_missing("sequence", set_sequences(session, content.sequences))
            session.commit()
        # Before row level security comes with the rest of the schema: it can hide rows from the owner of a table too.
        # It takes no time: what it writes down of each row, building indexes would have to, by fewer processes.
        with outcome.phase("count"):
            check_counts(job, loaded_of(own, loaded))
    with outcome.phase("indexes and constraints"):
        loader.restore(source.archive, "post-data", [entry for entry in lines if not is_event_trigger(entry)])
    if job.scope.contents.has_rows:
        with outcome.phase("materialized views"), loading_session(job) as session:
            lost = own.keys() - loaded_of(own, loaded).keys()
            views = leave_out_views(session, content.materialized_views, lost, outcome)
            missing = refresh_materialized_views(session, views)
            outcome.say_missing("materialized view", missing)
            session.commit()
    if event_triggers := [entry for entry in lines if is_event_trigger(entry)]:
        with outcome.phase("event triggers"):
            loader.restore(source.archive, "post-data", event_triggers)


def _set_properties(job: Job, source: Source, outcome: Outcome) -> None:
    """Give a database that was created what the source's own is set to; one that was there keeps its own settings."""
    entries = [entry for entry in source.toc if is_of_database(entry)]
    if not outcome.created_database:
        if entries:
            outcome.exceptions.append(
                "Not set, because the database was there already: settings, comment and rights of the database itself."
            )
        return
    with outcome.phase("settings"), loading_session(job) as session:
        outcome.exceptions += apply_database_properties(
            session,
            entries,
            source=source.content.database,
            encoding=source.content.encoding,
            with_rights=outcome.with_owners,
        )


def _there(job: Job, tables: dict[TableName, TableContent], outcome: Outcome) -> dict[TableName, TableContent]:
    """Leave out tables of extensions that the destination does not have, or has without them."""
    of_extensions = [name for name, table in tables.items() if table.of_extension]
    with loading_session(job) as session:
        missing = set(of_extensions) - live_tables(session, of_extensions).keys()
    outcome.say_missing("extension's table", [shown(*name) for name in sorted(missing)])
    return {name: table for name, table in tables.items() if name not in missing}
