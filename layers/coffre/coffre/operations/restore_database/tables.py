"""Restoring chosen tables: those that are gone come back, those that are there get the backup's version beside."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
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
    DroppedDependents,
    find_dropped_dependents,
    find_missing,
    named,
    script_of,
    spoken,
)
from coffre.operations.restore_database.followers import bring_followers, followers_of
from coffre.operations.restore_database.job import RestoreJob, Source
from coffre.operations.restore_database.known import is_made, leave_out_known
from coffre.operations.restore_database.load import load_tables
from coffre.operations.restore_database.load_plan import FAST_COMMITS, Loading
from coffre.operations.restore_database.partition_roots import with_roots
from coffre.operations.restore_database.report_builder import ReportBuilder
from coffre.operations.restore_database.row_counts import check_counts, loaded_of
from coffre.operations.restore_database.sessions import clearing_session, loading_session
from coffre.operations.restore_database.staging import (
    Staging,
    others_at_stake,
    plan_staging,
    refuse_unmergeable,
    restore_to_staging,
)
from coffre.policy.patterns import chosen
from coffre.postgres.archive.dependencies import absent, needed_by, needing, parts_of, with_partitions
from coffre.postgres.archive.reader import TocEntry
from coffre.postgres.connection.partition_routes import whole_table_hint
from coffre.postgres.destination.copy_in import set_sequences
from coffre.postgres.destination.destination import open_existing
from coffre.postgres.destination.live_tables import LiveTable, live_tables, names_of, table_oids
from coffre.postgres.destination.owners_code import OWNERS_PATH

# Keys to tables, and places in publications and partitioned tables: a table can be without them.
_OPTIONAL: Final = frozenset({"FK CONSTRAINT", "PUBLICATION TABLE", "TABLE ATTACH"})
_HOMES: Final = frozenset({"TABLE", "FOREIGN TABLE", "PUBLICATION"})
_AT_ONCE: Final = 500
_CHECK_VIOLATION: Final = "23514"


@dataclass(frozen=True)
class Chosen:
    """A table that was asked for: its rows in the backup (none of a partitioned table itself), and its definition."""

    name: TableName
    content: TableContent | None
    entry: TocEntry | None


def restore_tables(job: RestoreJob, source: Source, outcome: ReportBuilder) -> None:
    """Restore the tables that the scope names.

    Raises
    ------
    CoffreError
        No table in use was changed then; what was created is dropped again, or named.
    """
    tables = choose_tables(job, source)
    with open_existing(job.connection, source.content) as destination:
        destination.refuse_reader()
        with loading_session(job) as session:
            live = live_tables(session, [table.name for table in tables])
            gone = [table for table in tables if table.name not in live]
            entries = {table.name: table.entry for table in tables if table.entry}
            beside = with_roots(session, source, entries, _beside(tables, live, outcome))
            _refuse_gone(job, gone)
            refuse_unmergeable(job, beside, session)
            at_stake = others_at_stake(job, beside, session)
            making = DefinitionRestore(job, source, destination, outcome)
            plan = _plan_back(making, gone, session.cursor())
            missing = find_missing(
                source,
                [entry for name, entry in entries.items() if name in live],
                plan.known,
                session.cursor(),
                back=job.scope.with_dependencies,
            )
        plan.say(outcome)
        missing.say_of_existing(job, outcome)
        plan_staging(job, beside, at_stake, outcome)
        followers = [*plan.followers, *followers_of(making, missing)]
        if not job.scope.dry_run:
            empty = _bring_back(making, plan) if plan.tables else set()
            with _said_what_came_back(plan):
                if beside.contents:
                    restore_to_staging(job, source, beside, outcome)
                bring_followers(making, plan.lines, followers, empty)
        making.report_refusals([*plan.lines, *followers])
        outcome.script = script_of(source, plan.went.lost)


@contextmanager
def _said_what_came_back(plan: _Plan) -> Iterator[None]:
    try:
        yield
    except Exception as error:
        if plan.tables:
            names = ", ".join(shown(*table.name) for table in plan.tables[:10])
            error.add_note(f"Brought back before that, and left: {names}{' and more' * (len(plan.tables) > 10)}.")
        raise


def _beside(tables: Sequence[Chosen], live: dict[TableName, LiveTable], outcome: ReportBuilder) -> Staging:
    """Take the chosen tables that are there, except those of which the backup has no rows, or not all."""
    there = {table.name: table.content for table in tables if table.name in live and table.content}
    for name, table in there.items():
        if table.rows_excluded:
            outcome.exceptions.append(
                f"{shown(*name)} is left as it is: the backup has no rows of it, the configuration leaves them out."
            )
        elif table.of_extension and not table.is_member:
            outcome.exceptions.append(
                f"{shown(*name)} is left as it is: it belongs to an extension, which has rows of its own there."
            )
    taken = {name: it for name, it in there.items() if not it.rows_excluded and (it.is_member or not it.of_extension)}
    return Staging(contents=taken, live=live)


def choose_tables(job: RestoreJob, source: Source) -> list[Chosen]:
    """Return the tables of the backup that the scope's patterns fit, partitions included.

    Raises
    ------
    EventError
        Code `PATTERN_UNMATCHED` or `PATTERN_INVALID`.
    """
    entries = {entry.oid: entry for entry in source.toc if entry.description == "TABLE"}
    candidates = [
        Chosen((table.schema_name, table.table_name), table, entries.pop(table.oid, None))
        for table in source.content.tables
    ]
    candidates += [Chosen((entry.schema or "", entry.tag), None, entry) for entry in entries.values()]
    found = chosen(candidates, lambda table: table.name, job.scope.tables, job.scope.schemas)
    whole = with_partitions(source.toc, [table.entry for table in found if table.entry])
    ids = {entry.dump_id for entry in whole}
    names = {table.name for table in found}
    return [
        table
        for table in sorted(candidates, key=lambda table: table.name)
        if table.name in names or (table.entry and table.entry.dump_id in ids)
    ]


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


@dataclass(frozen=True)
class _Plan:
    """What brings gone tables back: entries, their tables' rows, and what is left out.

    `followers` come last, each by itself: keys, and what went with the tables. `known` are the dump ids of all entries
    that are restored, or left out for a reason that was given.
    """

    tables: Sequence[Chosen]
    dependencies: Sequence[TocEntry]
    lines: Sequence[TocEntry]
    attachments: Sequence[TocEntry]
    followers: Sequence[TocEntry]
    known: frozenset[int]
    went: DroppedDependents
    exceptions: Sequence[str]

    def say(self, outcome: ReportBuilder) -> None:
        for entry in self.dependencies:
            outcome.steps.append(f"Create the {spoken(entry)}, which is needed.")
        for table in self.tables:
            rows = f"with {counted(table.content.rows, 'row')}" if table.content else "(partitioned)"
            outcome.steps.append(f"Bring back the table {shown(*table.name)} {rows}, with all that is a part of it.")
        for entry in named(self.went.back):
            outcome.steps.append(f"Bring back the {spoken(entry)}, which went with it.")
        outcome.exceptions += self.exceptions


def _plan_back(making: DefinitionRestore, gone: Sequence[Chosen], cursor: psycopg2.extensions.cursor) -> _Plan:
    job, source = making.job, making.source
    tables = [table.entry for table in gone if table.entry]
    parts = parts_of(source.toc, tables)
    missing = absent(cursor, needed_by(source.toc, parts))
    homes = [entry for entry in missing if entry.description in _HOMES]
    without = {entry.dump_id for entry in needing(source.toc, homes) if entry.description in _OPTIONAL}
    homeless = [part for part in parts if part.dump_id in without]
    parts = [part for part in parts if part.dump_id not in without]
    needed = {entry.dump_id for entry in needed_by(source.toc, parts)}
    missing = [entry for entry in missing if entry.dump_id in needed]
    dependencies = _dependencies(job, missing)
    wanted = {entry.dump_id for entry in (*parts, *parts_of(source.toc, dependencies))}
    known = wanted | {part.dump_id for part in homeless}
    went = find_dropped_dependents(source, tables, known, cursor, back=job.scope.with_dependencies)
    back = {entry.dump_id for entry in parts_of(source.toc, went.back)} - wanted
    lines = leave_out_known(making.ledger, source, making.destination, wanted | back)
    lines = [line for line in lines if not is_made(line, making.destination)]
    exceptions = [f"Not restored, because what it points at is not there: {spoken(part)}." for part in homeless]
    exceptions += went.exceptions
    joins = _joins(parts, needed)
    keys = [part for part in parts if part.description == "FK CONSTRAINT"]
    late = back | {part.dump_id for part in needing(parts, keys)}
    return _Plan(
        tables=gone,
        dependencies=dependencies,
        lines=[line for line in lines if line.dump_id not in joins | late],
        attachments=[part for part in parts if part.dump_id in joins and part.description == "TABLE ATTACH"],
        followers=[line for line in lines if line.dump_id in late],
        known=frozenset(known | back | {entry.dump_id for entry in went.lost}),
        went=went,
        exceptions=exceptions if gone else (),
    )


def _joins(parts: Sequence[TocEntry], needed: Collection[int]) -> set[int]:
    """Return what attaches to partitioned tables in use (dump ids): tables join at the end, and take indexes along."""
    by_id = {part.dump_id: part for part in parts}
    attached = [
        part for part in parts if part.description == "TABLE ATTACH" and not set(needed).isdisjoint(part.dependencies)
    ]
    tables = {child: by_id[child] for part in attached for child in part.dependencies if child in by_id}
    indexes = {
        (part.schema, part.tag.removeprefix(f"{tables[table].tag} ") if part.description == "CONSTRAINT" else part.tag)
        for part in parts
        if part.description in ("INDEX", "CONSTRAINT")
        for table in tables.keys() & set(part.dependencies)
    }
    return {part.dump_id for part in attached} | {
        part.dump_id for part in parts if part.description == "INDEX ATTACH" and (part.schema, part.tag) in indexes
    }


def _dependencies(job: RestoreJob, missing: Sequence[TocEntry]) -> list[TocEntry]:
    """Return what is created because the tables need it.

    Raises
    ------
    DestinationError
        Code `DEPENDENCY_MISSING`: it was not asked for.
    """
    found = [entry for entry in missing if job.scope.with_dependencies or entry.description == "SCHEMA"]
    if lacking := [entry for entry in missing if entry not in found]:
        raise DestinationError(
            f"The chosen tables need what is not in {job.connection}: {', '.join(map(spoken, lacking[:5]))}.",
            code="DEPENDENCY_MISSING",
            hint="Add --with-dependencies to bring it back too.",
        )
    return found


def _bring_back(making: DefinitionRestore, plan: _Plan) -> set[TableName]:
    """Restore tables that are gone, and return those that stay empty."""
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
            making.grant(phases.privileges)
    return (contents.keys() - loaded_of(contents, loaded).keys()) | outcome.missing_rows.keys()


def _possible(making: DefinitionRestore, plan: _Plan) -> dict[TableName, TableContent]:
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


def _attach(making: DefinitionRestore, plan: _Plan) -> None:
    making.make(plan.attachments)
    for refusal in making.ledger.refusals:
        if refusal.entry in plan.attachments and refusal.sqlstate == _CHECK_VIOLATION:
            error = refused_error(making.job, refusal)
            homes = [entry for entry in making.source.toc if entry.dump_id in refusal.entry.dependencies]
            error.hint = whole_table_hint(next((e.schema or "", e.tag) for e in homes if e.tag != refusal.entry.tag))
            raise error


def _create(making: DefinitionRestore, plan: _Plan, entries: Sequence[TocEntry], created: list[int]) -> None:
    """Create the tables and what they need, and remember which tables are ours: a name alone can be somebody else's.

    So many at a time, so that little is created by the time when it is looked at.
    """
    names = [table.name for table in plan.tables]
    for lines in batched(entries, _AT_ONCE, strict=False):
        with loading_session(making.job) as session, session.cursor() as cursor:
            before = set(table_oids(cursor, names))
            session.commit()
            try:
                making.make(lines)
            finally:
                # One that was refused because it exists is somebody else's, who made it meanwhile.
                lost = making.ledger.lost()
                ours = [table.name for table in plan.tables if table.entry and table.entry.dump_id not in lost]
                created += [oid for oid in table_oids(cursor, ours) if oid not in before]
                session.commit()


@contextmanager
def _dropped_on_error(job: RestoreJob, plan: _Plan, created: Sequence[int]) -> Iterator[None]:
    """Drop the tables again, all at once, so that their keys to each other are no obstacle."""
    try:
        yield
    except Exception as error:
        if isinstance(error, CoffreError) and error.code in ("TABLE_NOT_EMPTY", "ROWS_DIFFER"):
            error.add_note(
                "The tables that were brought back are left: others write to them. Look before you drop them."
            )
            raise
        try:
            with clearing_session(job) as session, session.cursor() as cursor:
                if names := names_of(cursor, created):
                    listed = sql.SQL(", ").join(sql.Identifier(*name) for name in names)
                    cursor.execute(sql.SQL("DROP TABLE {}").format(listed))
                    session.commit()
                    error.add_note("The tables that were brought back were dropped again.")
                    if plan.dependencies:
                        error.add_note(f"Left, as they were needed: {', '.join(map(spoken, plan.dependencies[:10]))}.")
        except CoffreError:
            error.add_note("The tables that were brought back could not be dropped: look before you try again.")
        raise
