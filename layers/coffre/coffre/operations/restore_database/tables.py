"""Restoring chosen tables: missing ones are created again, of existing ones the backup's version is staged."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Sequence
from contextlib import contextmanager, nullcontext
from dataclasses import replace
from itertools import batched
from typing import Final

import psycopg2.extensions
from psycopg2 import sql

from coffre.model.errors import CoffreError, DestinationError
from coffre.model.manifest import TableContent
from coffre.model.names import TableName, shown
from coffre.model.words import counted
from coffre.operations.restore_database.definition_words import refused_error
from coffre.operations.restore_database.definitions import DefinitionRestore, phases_of
from coffre.operations.restore_database.dropped_dependents import (
    find_missing,
    named,
    script_of,
    spoken,
)
from coffre.operations.restore_database.followers import create_followers, followers_of
from coffre.operations.restore_database.job import RestoreJob, Source
from coffre.operations.restore_database.known import is_made, leave_out_known
from coffre.operations.restore_database.load import load_tables
from coffre.operations.restore_database.load_plan import FAST_COMMITS, Loading, refuse_too_large
from coffre.operations.restore_database.partition_roots import with_roots
from coffre.operations.restore_database.report_builder import ReportBuilder, after_the_change
from coffre.operations.restore_database.row_counts import check_counts, loaded_of
from coffre.operations.restore_database.sessions import clearing_session, loading_session
from coffre.operations.restore_database.staging import (
    Staging,
    others_at_stake,
    plan_staging,
    refuse_unmergeable,
    restore_to_staging,
)
from coffre.operations.restore_database.tables_plan import Chosen, TablesPlan, choose_tables, plan_tables, to_look_up
from coffre.postgres.archive.dependencies import absent
from coffre.postgres.archive.reader import TocEntry
from coffre.postgres.connection.partition_routes import whole_table_hint
from coffre.postgres.destination.copy_in import set_sequences
from coffre.postgres.destination.default_privileges import revoke_default_privileges
from coffre.postgres.destination.destination import open_existing
from coffre.postgres.destination.live_tables import live_tables, names_of, table_oids
from coffre.postgres.destination.owners_code import OWNERS_PATH

_ENTRIES_TOGETHER: Final = 500
_CHECK_VIOLATION: Final = "23514"


def restore_tables(job: RestoreJob, source: Source, outcome: ReportBuilder) -> None:
    """Restore the tables that the scope names.

    Raises
    ------
    CoffreError
        No table in use was changed then; what was created is dropped again, or named.
    """
    tables = choose_tables(source, job.scope)
    refuse_too_large(job, sum(table.content.size for table in tables if table.content), "The chosen tables")
    with open_existing(job.connection, source.content, job.provider) as destination:
        destination.refuse_reader()
        job = replace(job, settings=destination.profile.settings)
        making = DefinitionRestore(job, source, destination, outcome)
        with loading_session(job) as session:
            live = live_tables(session, [table.name for table in tables])
            plan = _look_and_plan(source, tables, live, session.cursor(), with_dependencies=job.scope.with_dependencies)
            outcome.exceptions += plan.left_as_they_are
            entries = {table.name: table.entry for table in tables if table.entry}
            staging = with_roots(session, source, entries, Staging(contents=plan.staged, live=live))
            _refuse_gone(job, plan.tables)
            refuse_unmergeable(job, staging, session)
            at_stake = others_at_stake(job, staging, session)
            _refuse_lacking(job, plan.lacking)
            plan = _possible_here(making, plan)
            existing = [entry for name, entry in entries.items() if name in live]
            missing = find_missing(source, existing, plan.known, session.cursor(), back=job.scope.with_dependencies)
        _report(plan, outcome)
        missing.say_of_existing(job, outcome)
        plan_staging(job, staging, at_stake, outcome)
        followers = [*plan.followers, *followers_of(making, missing)]
        if not job.scope.dry_run:
            empty = _create_again(making, plan) if plan.tables else set()
            with _created_tables_named(plan):
                if staging.contents:
                    restore_to_staging(job, source, staging, outcome)
                is_changed = job.scope.touches and bool(staging.contents)
                with after_the_change(outcome, "keys, views and policies") if is_changed else nullcontext():
                    create_followers(making, plan.lines, followers, empty)
        making.report_refusals([*plan.lines, *followers])
        if not job.scope.dry_run:
            lost = making.ledger.lost()
            dependents = named([*plan.dropped.back, *missing.back])
            outcome.dependents += [spoken(entry) for entry in dependents if entry.dump_id not in lost]
        outcome.script = script_of(source, plan.dropped.lost)


def _look_and_plan(
    source: Source,
    tables: Sequence[Chosen],
    live: Collection[TableName],
    cursor: psycopg2.extensions.cursor,
    *,
    with_dependencies: bool,
) -> TablesPlan:
    candidates = to_look_up(source.toc, tables, live, with_dependencies=with_dependencies)
    missing = {entry.dump_id for entry in absent(cursor, candidates)}
    return plan_tables(source.toc, tables, live, missing, with_dependencies=with_dependencies)


def _possible_here(making: DefinitionRestore, plan: TablesPlan) -> TablesPlan:
    """Return the plan without what the destination cannot have, which is recorded, and without existing schemas."""
    entries = leave_out_known(making.ledger, making.source, making.destination, plan.wanted, making.fates)
    return plan.only([entry for entry in entries if not is_made(entry, making.destination)])


@contextmanager
def _created_tables_named(plan: TablesPlan) -> Iterator[None]:
    try:
        yield
    except Exception as error:
        if plan.tables:
            names = ", ".join(shown(*table.name) for table in plan.tables[:10])
            error.add_note(f"Created again before that, and left: {names}{' and more' * (len(plan.tables) > 10)}.")
        raise


def _refuse_gone(job: RestoreJob, gone: Sequence[Chosen]) -> None:
    if gone and job.scope.rows is not None:
        names = ", ".join(shown(*table.name) for table in gone[:3])
        raise DestinationError(
            f"{names} {'is' if len(gone) == 1 else 'are'} not in {job.connection}: there is nothing to compare with.",
            code="TABLE_GONE",
            hint="Restore the whole table first: leave the choice of rows out.",
        )
    if members := [table for table in gone if table.content and table.content.is_member]:
        name = shown(*members[0].name)
        raise DestinationError(
            f"{name} does not exist in {job.connection}, and no backup can define it: it is a member of an extension.",
            code="TABLE_GONE",
            hint=f"Create the table, and restore it again; or take its rows: coffre cat {job.backup.id} '{name}'",
        )
    if unknown := [table for table in gone if table.entry is None]:
        raise DestinationError(
            f"{shown(*unknown[0].name)} belongs to an extension that {job.connection} does not have.",
            code="EXTENSION_MISSING",
            hint="Create the extension first, or leave the table out.",
        )


def _refuse_lacking(job: RestoreJob, lacking: Sequence[TocEntry]) -> None:
    if lacking:
        raise DestinationError(
            f"The chosen tables need what is not in {job.connection}: {', '.join(map(spoken, lacking[:5]))}.",
            code="DEPENDENCY_MISSING",
            hint="Add --with-dependencies to restore it too.",
        )


def _report(plan: TablesPlan, outcome: ReportBuilder) -> None:
    for entry in plan.dependencies:
        outcome.steps.append(f"Create the {spoken(entry)}, which is needed.")
    for table in plan.tables:
        rows = f"with {counted(table.content.rows, 'row')}" if table.content else "(partitioned)"
        outcome.steps.append(f"Create the table {shown(*table.name)} again {rows}, with all that is a part of it.")
    for entry in named(plan.dropped.back):
        outcome.steps.append(f"Restore the {spoken(entry)}, which was dropped with it.")
    outcome.exceptions += plan.exceptions


def _create_again(making: DefinitionRestore, plan: TablesPlan) -> set[TableName]:
    """Create the tables that do not exist with their rows, and return those that stay empty."""
    job, source, outcome = making.job, making.source, making.report
    phases = phases_of(plan.lines)
    sequences = {(entry.schema, entry.tag) for entry in plan.lines if entry.description == "SEQUENCE"}
    created: list[int] = []
    with _dropped_on_error(job, plan, created):
        with outcome.phase("schema"):
            _create(making, plan, phases.before_rows, created)
        contents = _possible(making, plan)
        with outcome.phase("tables"):
            how = Loading(
                is_fresh=True,
                first_statement=f"{FAST_COMMITS}; {OWNERS_PATH}",
                report=outcome,
                search_paths=making.search_paths,
            )
            loaded = load_tables(job, source, contents, outcome.meter, how)
            outcome.tables += loaded
        with outcome.phase("sequences"), loading_session(job) as session:
            values = [v for v in source.content.sequences if (v.schema_name, v.sequence_name) in sequences]
            outcome.say_missing("sequence", set_sequences(session, values))
            session.commit()
        with outcome.phase("count"):
            check_counts(job, loaded_of(contents, loaded, outcome.missing_rows))
        with outcome.phase("indexes and constraints"):
            making.make_in_parallel(phases.after_rows)
            # Keys come later: they see rows of a partition only through the table that it joins.
            _attach(making, plan)
        with outcome.phase("privileges"):
            with loading_session(job) as session:
                revoke_default_privileges(session, making.destination.given, created)
                session.commit()
            making.grant(phases.privileges)
    return (contents.keys() - loaded_of(contents, loaded).keys()) | outcome.missing_rows.keys()


def _possible(making: DefinitionRestore, plan: TablesPlan) -> dict[TableName, TableContent]:
    """Return the tables that could be made, whose rows are loaded.

    Raises
    ------
    RestoreError
        Code `SCHEMA_FAILED`: not one of them could be.
    """
    lost = making.ledger.lost()
    possible = [table for table in plan.tables if table.entry is None or table.entry.dump_id not in lost]
    if not possible:
        refusals = making.ledger.refusals
        raise refused_error(making.job, next((one for one in refusals if one.sqlstate), refusals[0]))
    return {table.name: table.content for table in possible if table.content}


def _attach(making: DefinitionRestore, plan: TablesPlan) -> None:
    making.make(plan.attachments)
    for refusal in making.ledger.refusals:
        if refusal.entry in plan.attachments and refusal.sqlstate == _CHECK_VIOLATION:
            error = refused_error(making.job, refusal)
            homes = [entry for entry in making.source.toc if entry.dump_id in refusal.entry.dependencies]
            error.hint = whole_table_hint(next((e.schema or "", e.tag) for e in homes if e.tag != refusal.entry.tag))
            raise error


def _create(making: DefinitionRestore, plan: TablesPlan, entries: Sequence[TocEntry], created: list[int]) -> None:
    """Create the tables and what they need, and remember which tables are ours: another session can use the same name.

    Entries are created in batches, so that few are created before the tables are looked up.
    """
    names = [table.name for table in plan.tables]
    for lines in batched(entries, _ENTRIES_TOGETHER, strict=False):
        with loading_session(making.job) as session, session.cursor() as cursor:
            before = set(table_oids(cursor, names))
            session.commit()
            try:
                making.make(lines)
            finally:
                # One that was refused because it exists was created by another session meanwhile.
                lost = making.ledger.lost()
                ours = [table.name for table in plan.tables if table.entry and table.entry.dump_id not in lost]
                created += [oid for oid in table_oids(cursor, ours) if oid not in before]
                session.commit()


@contextmanager
def _dropped_on_error(job: RestoreJob, plan: TablesPlan, created: Sequence[int]) -> Iterator[None]:
    """Drop the tables again, in one statement, so that their keys to each other are no obstacle."""
    try:
        yield
    except Exception as error:
        if isinstance(error, CoffreError) and error.code in ("TABLE_NOT_EMPTY", "ROWS_DIFFER"):
            error.add_note("The tables that were created are left: others write to them. Look before you drop them.")
            raise
        try:
            with clearing_session(job) as session, session.cursor() as cursor:
                if names := names_of(cursor, created):
                    listed = sql.SQL(", ").join(sql.Identifier(*name) for name in names)
                    cursor.execute(sql.SQL("DROP TABLE {}").format(listed))
                    session.commit()
                    error.add_note("The tables that were created were dropped again.")
                    if plan.dependencies:
                        error.add_note(f"Left, as they were needed: {', '.join(map(spoken, plan.dependencies[:10]))}.")
        except CoffreError:
            error.add_note("The tables that were created could not be dropped: look before you try again.")
        raise
