"""Restore a whole backup into a new or empty database: schema, rows in parallel, the rest, and a count of all."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from contextlib import ExitStack
from dataclasses import replace
from typing import Final

from psycopg2 import sql

from coffre.model.errors import DestinationError
from coffre.model.manifest import TableContent
from coffre.model.names import TableName, shown
from coffre.operations.restore_database.definition_words import refused_error
from coffre.operations.restore_database.definitions import DefinitionRestore, Phases, phases_of, possible_tables
from coffre.operations.restore_database.extension_members import empty_members, leave_out_members
from coffre.operations.restore_database.given import note_of_given, with_extensions_placed
from coffre.operations.restore_database.given_rows import (
    call_rows_in,
    called_tables,
    empty_given,
    is_given,
    refuse_used,
    restore_sequences,
    without_left_out,
)
from coffre.operations.restore_database.job import RestoreJob, Source
from coffre.operations.restore_database.known import is_made, leave_out_known
from coffre.operations.restore_database.large_objects import restore_large_objects
from coffre.operations.restore_database.load import load_tables
from coffre.operations.restore_database.load_plan import Loading
from coffre.operations.restore_database.materialized_views import refresh_views
from coffre.operations.restore_database.report_builder import ReportBuilder
from coffre.operations.restore_database.row_counts import check_counts, loaded_of, refuse_missing_rows
from coffre.operations.restore_database.sessions import loading_session
from coffre.operations.restore_database.statistics import analyze
from coffre.postgres.archive.reader import TocEntry
from coffre.postgres.archive.toc import is_of_database
from coffre.postgres.connection.database_properties import apply_database_properties
from coffre.postgres.destination.copy_in import key_levels
from coffre.postgres.destination.default_privileges import revoke_default_privileges
from coffre.postgres.destination.destination import Destination, open_destination
from coffre.postgres.destination.live_tables import live_tables

_CLOSED_SINCE: Final = 150000


def restore_whole(job: RestoreJob, source: Source, report: ReportBuilder) -> None:
    """Restore definitions and rows (or definitions only) into a database that is new or empty, and count the rows.

    What cannot be restored is left out with what needs it, and named in the report; with `strict` it stops the
    restore.

    Raises
    ------
    CoffreError
        For the reason that stopped it. A database that was created for this restore is dropped again; an existing one
        that was empty keeps what was loaded so far, and the message says so.
    """
    if not source.content.contents.has_schema:
        raise DestinationError(
            f"The backup {job.backup.id} holds rows only.",
            code="NO_DEFINITIONS",
            hint="Restore its rows into a database that has the tables, empty: --contents data.",
        )
    with ExitStack() as stack:
        with report.phase("destination"):
            opened = open_destination(
                job.connection,
                source.content,
                restore_id=job.restore_id,
                dry_run=job.scope.dry_run,
                restart=job.scope.restart,
                provider=job.provider,
            )
            destination = stack.enter_context(opened)
        job = replace(job, settings=destination.profile.settings)
        source = with_extensions_placed(source, destination.profile)
        refuse_used(job, destination)
        making = DefinitionRestore(job, source, destination, report)
        entries = leave_out_known(making.ledger, source, destination, fates=making.fates)
        tables = possible_tables(source, making.ledger.lost()) if job.scope.contents.has_rows else {}
        tables = without_left_out(tables, destination.profile, report)
        _say_plan(job, destination, tables, report)
        report.created_database = destination.created
        report.exceptions += [*source.manifest.exceptions, *destination.exceptions, *_not_in_backup(source, entries)]
        report.notes += source.manifest.notes
        report.notes += note_of_given(destination.profile, source.toc, making.fates)
        if not job.scope.dry_run:
            if destination.leftovers:
                empty_given(job, destination, tables)
            _make_schemas(job, source, entries, destination)
            if destination.created and destination.version_number < _CLOSED_SINCE:
                _close_public(job)
            _restore(making, entries, tables)
        making.report_refusals(entries)
        if not job.scope.dry_run:
            if job.scope.analyze and job.scope.contents.has_rows:
                analyze(job, report)
            _set_properties(job, source, report)


def _not_in_backup(source: Source, entries: Sequence[TocEntry]) -> Iterable[str]:
    if tablespaces := sorted({entry.tablespace for entry in entries if entry.tablespace}):
        yield f"Not restored: tablespaces ({', '.join(tablespaces)}). Everything is in the database's own."
    if empty := [shown(table.schema_name, table.table_name) for table in source.content.tables if table.rows_excluded]:
        yield f"The backup has no rows of {', '.join(empty)}: the configuration leaves them out."


def _say_plan(
    job: RestoreJob, destination: Destination, tables: dict[TableName, TableContent], report: ReportBuilder
) -> None:
    for left in destination.leftovers:
        report.steps.append(f"Remove the {left}, which an unfinished restore has left.")
    what = "Create the database" if destination.created else "Load into the empty database"
    report.steps.append(f"{what} {job.connection}.")
    if job.scope.contents.has_rows:
        rows, size = (sum(getattr(table, field) for table in tables.values()) for field in ("rows", "size"))
        report.steps.append(
            f"Restore {len(tables)} tables with {rows:,} rows ({size / 1e6:,.1f} MB) over {job.streams} connections, "
            "count them, then build indexes and constraints."
        )
        if job.scope.analyze:
            report.steps.append("Gather the statistics that the planner needs (ANALYZE).")
    else:
        report.steps.append("Restore definitions only: tables stay empty.")


def _close_public(job: RestoreJob) -> None:
    """Revoke what older servers grant to PUBLIC on the schema public: `pg_dump` writes as if they did not."""
    with loading_session(job) as session, session.cursor() as cursor:
        cursor.execute("REVOKE CREATE ON SCHEMA public FROM PUBLIC")
        session.commit()


def _make_schemas(job: RestoreJob, source: Source, entries: Sequence[TocEntry], destination: Destination) -> None:
    """Create the schemas that a backup of chosen tables does not have: `pg_dump --table` writes tables alone."""
    dumped = {entry.tag for entry in source.toc if entry.description == "SCHEMA"} | destination.schemas
    missing = sorted({entry.schema for entry in entries if entry.schema} - dumped)
    if missing:
        with loading_session(job) as session, session.cursor() as cursor:
            for schema in missing:
                cursor.execute(sql.SQL("CREATE SCHEMA {}").format(sql.Identifier(schema)))
            session.commit()


def _restore(making: DefinitionRestore, entries: Sequence[TocEntry], tables: dict[TableName, TableContent]) -> None:
    job, source, report = making.job, making.source, making.report
    exist = [entry for entry in entries if is_made(entry, making.destination)]
    phases = phases_of(entry for entry in entries if not is_made(entry, making.destination))
    lost: set[TableName] = set()
    with report.phase("schema"):
        making.make(phases.before_rows)
    if job.scope.contents.has_rows:
        _refuse_nothing(making)
        possible = possible_tables(source, making.ledger.lost())
        lost = _load(making, {name: table for name, table in tables.items() if name in possible})
    _finish(making, phases, exist, lost, tables)


def _load(making: DefinitionRestore, tables: dict[TableName, TableContent]) -> set[TableName]:
    """Load the rows of tables, large objects and sequences, and return the tables that lack all or some rows."""
    job, source, report = making.job, making.source, making.report
    tables = _existing(job, tables, making.destination, report)
    called = called_tables(tables, making.destination.profile)
    with report.phase("tables"):
        # Tables of extensions and of the provider have their keys from the start: what these point at comes first,
        # other tables after.
        own = {name: table for name, table in tables.items() if not is_given(table, making.destination)}
        if given := {name: table for name, table in tables.items() if name not in own and name not in called}:
            with loading_session(job) as session:
                levels = key_levels(session, given)
            given = dict(empty_members(job, given, levels, report))
            how = Loading(order=levels, report=report)
            report.tables += load_tables(job, source, given, report.meter, how)
        fresh = Loading(
            is_fresh=True,
            in_order=job.in_order,
            report=report,
            is_alone=True,
            search_paths=making.search_paths,
        )
        loaded = load_tables(job, source, own, report.meter, fresh)
        report.tables += loaded
    with report.phase("large objects and sequences"), loading_session(job) as session:
        if source.large_objects is not None:
            restore_large_objects(job, source, source.large_objects, report, with_owners=True)
        restore_sequences(session, source.content.sequences, making.destination, report)
    # Before row level security comes with the rest of the schema: it can hide rows from the owner of a table too.
    with report.phase("count"):
        members = {name: table for name, table in given.items() if table.is_member or not table.of_extension}
        filled = loaded_of(own, loaded, report.missing_rows)
        refuse_missing_rows(filled, loaded)
        # In a database that this restore created no other session writes: `COPY` has said how many rows each table has.
        counted = {} if report.created_database else filled
        check_counts(job, {**counted, **loaded_of(members, report.tables, report.missing_rows)})
    return (own.keys() - filled.keys()) | report.missing_rows.keys()


def _finish(
    making: DefinitionRestore,
    phases: Phases,
    existing: Sequence[TocEntry],
    empty: set[TableName],
    tables: dict[TableName, TableContent],
) -> None:
    job, report = making.job, making.report
    with report.phase("indexes and constraints"):
        making.make_in_parallel(phases.after_rows)
    with report.phase("privileges"):
        if not report.created_database:
            with loading_session(job) as session:
                revoke_default_privileges(session, making.destination.given)
                session.commit()
        making.grant(phases.privileges, existing)
    if job.scope.contents.has_rows:
        with report.phase("materialized views"):
            refresh_views(making, empty)
        with report.phase("rows by call"):
            call_rows_in(job, making.source, called_tables(tables, making.destination.profile), report)
    with report.phase("event triggers"):
        making.make(phases.event_triggers)


def _refuse_nothing(making: DefinitionRestore) -> None:
    """Refuse to continue when not one table could be made: then the role or the database does not fit."""
    own = [table for table in making.source.content.tables if not is_given(table, making.destination)]
    possible = possible_tables(making.source, making.ledger.lost())
    refusals = making.ledger.refusals
    if own and refusals and not any((table.schema_name, table.table_name) in possible for table in own):
        raise refused_error(making.job, next((one for one in refusals if one.sqlstate), refusals[0]))


def _set_properties(job: RestoreJob, source: Source, report: ReportBuilder) -> None:
    """Give a database that was created what the source's own is set to; one that existed keeps its own settings."""
    entries = [entry for entry in source.toc if is_of_database(entry)]
    if not report.created_database:
        if entries:
            report.exceptions.append(
                "Not set, because the database existed already: settings, comment and privileges of the database "
                "itself."
            )
        return
    with report.phase("settings"), loading_session(job) as session:
        report.exceptions += apply_database_properties(
            session, entries, source=source.content.database, encoding=source.content.encoding
        )


def _existing(
    job: RestoreJob, tables: dict[TableName, TableContent], destination: Destination, report: ReportBuilder
) -> dict[TableName, TableContent]:
    """Leave out tables of extensions and of the provider that the destination does not have."""
    given = [name for name, table in tables.items() if is_given(table, destination)]
    with loading_session(job) as session:
        missing = set(given) - live_tables(session, given).keys()
    gone = {name: tables[name] for name in missing}
    leave_out_members(job, gone, report, "the table does not exist here, and only its extension can define it")
    report.say_missing("extension's table", [shown(*name) for name in sorted(gone) if not gone[name].is_member])
    return {name: table for name, table in tables.items() if name not in missing}
