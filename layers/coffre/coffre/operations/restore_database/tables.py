"""Restoring chosen tables: missing ones are created again, of existing ones the backup's version is staged."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager, nullcontext
from dataclasses import replace

from coffre.model.errors import DestinationError
from coffre.model.names import shown
from coffre.model.words import counted
from coffre.operations.restore_database.after_tables import create_followers, followers_of
from coffre.operations.restore_database.altered_columns import say_altered
from coffre.operations.restore_database.definition_report import report_refusals
from coffre.operations.restore_database.definitions import DefinitionRestore
from coffre.operations.restore_database.dropped_dependents import find_missing, named, script_of, spoken
from coffre.operations.restore_database.gone_tables import create_again
from coffre.operations.restore_database.job import RestoreJob, Source
from coffre.operations.restore_database.partition_roots import with_roots
from coffre.operations.restore_database.report_builder import ReportBuilder, after_the_change
from coffre.operations.restore_database.saved_steps import Memory
from coffre.operations.restore_database.sessions import loading_session
from coffre.operations.restore_database.staged_rows import restore_to_staging
from coffre.operations.restore_database.staging import Staging, others_at_stake, plan_staging, refuse_unmergeable
from coffre.operations.restore_database.tables_attempts import Looked, attempt
from coffre.operations.restore_database.tables_moment import StagedMoment, plan_moment
from coffre.operations.restore_database.tables_plan import Chosen, TablesPlan, choose_tables
from coffre.operations.restore_database.unsupported_objects import is_made, leave_out_known
from coffre.postgres.archive.reader import TocEntry
from coffre.postgres.destination.destination import Destination, open_existing


def restore_tables(job: RestoreJob, source: Source, outcome: ReportBuilder) -> None:
    """Restore the tables that the scope names, in one attempt or in several.

    Raises
    ------
    CoffreError
        No table in use was changed then; what was created is dropped again, or named.
    """
    tables = choose_tables(source, job.scope)
    continues = job.continues or job.scope.resume is not None
    with open_existing(job.connection, source.content, job.provider, continues=continues) as destination:
        destination.refuse_reader()
        job = replace(job, settings=destination.profile.settings)
        size = sum(table.content.size for table in tables if table.content)
        with attempt(job, size, "The chosen tables", outcome, destination) as memory:
            _restore(memory, source, tables, destination)


def _restore(memory: Memory, source: Source, tables: Sequence[Chosen], destination: Destination) -> None:
    job, outcome = memory.job, memory.report
    making = DefinitionRestore(job, source, memory.destination(destination), outcome, memory=memory)
    with loading_session(job) as session:
        looked = Looked(session, memory)
        live = looked.live(tables)
        plan = looked.plan(source, tables, live, with_dependencies=job.scope.with_dependencies)
        outcome.exceptions += plan.left_as_they_are
        entries = {table.name: table.entry for table in tables if table.entry}
        staging = with_roots(session, source, entries, Staging(contents=plan.staged, live=live))
        _refuse_gone(job, plan.tables)
        refuse_unmergeable(job, staging, session)
        at_stake = others_at_stake(job, staging, session)
        _refuse_lacking(job, plan.lacking)
        looked.refuse_altered(staging)
        plan = _possible_here(making, plan)
        existing = [entry for name, entry in entries.items() if name in live]
        missing = find_missing(source, existing, plan.known, looked.absent, back=job.scope.with_dependencies)
    _report(plan, outcome)
    missing.say_of_existing(job, outcome)
    plan_staging(job, staging, at_stake, source.chosen.point if source.chosen else None, outcome)
    created = [table.content for table in plan.tables if table.content]
    say_altered(source, entries, staging, outcome, touches=job.scope.touches)
    moment = plan_moment(memory, source, created, staging)
    followers = [*plan.followers, *followers_of(making, missing)]
    memory.attach(making.destination, making.ledger, making.fates, making.how.by_id)
    if not job.scope.dry_run:
        _make(making, memory, plan, (staging, moment), followers)
    report_refusals(making, [*plan.lines, *followers])
    if not job.scope.dry_run:
        lost = making.ledger.lost()
        dependents = named([*plan.dropped.back, *missing.back])
        outcome.dependents += [spoken(entry) for entry in dependents if entry.dump_id not in lost]
    outcome.script = script_of(source, plan.dropped.lost)


def _make(
    making: DefinitionRestore,
    memory: Memory,
    plan: TablesPlan,
    staged: tuple[Staging, StagedMoment | None],
    followers: Sequence[TocEntry],
) -> None:
    job, outcome, (staging, moment) = making.job, making.report, staged
    memory.step("plan", lambda: None)  # from now on, what the first attempt has found counts for each
    empty = create_again(making, memory, plan) if plan.tables else set()
    with _created_tables_named(job, plan):
        if staging.contents:
            restore_to_staging(memory, making.source, staging, moment)
        is_changed = job.scope.touches and bool(staging.contents)
        what, is_paused = "keys, views and policies", lambda: job.children.has_paused
        with after_the_change(outcome, what, is_paused) if is_changed else nullcontext():
            memory.step("what follows", lambda: create_followers(making, plan.lines, followers, empty))


def _possible_here(making: DefinitionRestore, plan: TablesPlan) -> TablesPlan:
    """Return the plan without what the destination cannot have, which is recorded, and without existing schemas."""
    entries = leave_out_known(making.ledger, making.source, making.destination, plan.wanted, making.fates)
    return plan.only([entry for entry in entries if not is_made(entry, making.destination)])


@contextmanager
def _created_tables_named(job: RestoreJob, plan: TablesPlan) -> Iterator[None]:
    try:
        yield
    except Exception as error:
        if plan.tables and not job.children.has_paused:
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
