"""Restore a whole backup into a new or empty database: schema, rows in parallel, the rest, and a count of all."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import AbstractContextManager, ExitStack
from dataclasses import replace
from functools import partial
from typing import Final

from coffre.model.errors import DestinationError
from coffre.model.manifest import TableContent
from coffre.model.names import TableName
from coffre.operations.restore_database.archive_phases import phases_of
from coffre.operations.restore_database.database_settings import close_public, make_schemas, set_properties
from coffre.operations.restore_database.definition_report import report_refusals
from coffre.operations.restore_database.definition_words import refused_error
from coffre.operations.restore_database.definitions import DefinitionRestore, possible_tables
from coffre.operations.restore_database.extension_members import empty_members
from coffre.operations.restore_database.job import RestoreJob, Source, is_marked
from coffre.operations.restore_database.journal_replay import Followed, apply_journal, doubts, say_large_objects
from coffre.operations.restore_database.large_objects import restore_large_objects
from coffre.operations.restore_database.load_plan import Loading, refuse_too_large
from coffre.operations.restore_database.load_tables import load_tables
from coffre.operations.restore_database.materialized_views import refresh_views
from coffre.operations.restore_database.moment_sequences import sequences_of
from coffre.operations.restore_database.provider_objects import note_of_given, with_extensions_placed
from coffre.operations.restore_database.provider_rows import (
    call_rows_in,
    called_tables,
    empty_given,
    existing_and_gone,
    is_given,
    loading_given,
    refuse_used,
    restore_sequences,
    say_gone,
    without_left_out,
)
from coffre.operations.restore_database.report_builder import ReportBuilder
from coffre.operations.restore_database.resume import is_kept, refuse_unmarked
from coffre.operations.restore_database.row_counts import check_counts, loaded_of, refuse_missing_rows
from coffre.operations.restore_database.saved_steps import Memory
from coffre.operations.restore_database.sessions import loading_session
from coffre.operations.restore_database.shared_loading import share_rows
from coffre.operations.restore_database.statistics import analyze
from coffre.operations.restore_database.unsupported_objects import is_made, leave_out_known
from coffre.operations.restore_database.whole_plan import not_in_backup, say_plan, subscriptions_off
from coffre.policy.moments import Chosen
from coffre.postgres.archive.reader import TocEntry
from coffre.postgres.destination.copy_in import key_levels
from coffre.postgres.destination.default_privileges import revoke_default_privileges
from coffre.postgres.destination.destination import Destination, open_destination

_CLOSED_SINCE: Final = 150000
# With less, statistics are left to the next invocation.
_ANALYZE_SECONDS: Final = 45.0


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
    _refuse_impossible(job, source)
    with ExitStack() as stack:
        with report.phase("destination"):
            destination = stack.enter_context(_open(job, source))
        job = replace(
            job, settings=destination.profile.settings, is_resumable=destination.is_marked and is_marked(job, source)
        )
        stack.enter_context(job.pausing())
        source = with_extensions_placed(source, destination.profile)
        memory = stack.enter_context(Memory.open(job, report))
        destination = memory.destination(destination)
        if not memory.is_resumed:
            refuse_used(job, destination)
        making = DefinitionRestore(job, source, destination, report, memory=memory)
        entries = leave_out_known(making.ledger, source, destination, fates=making.fates)
        tables = possible_tables(source, making.ledger.lost()) if job.scope.contents.has_rows else {}
        tables = without_left_out(tables, destination.profile, report)
        say_plan(job, source, destination, tables, report)
        report.created_database = destination.created
        report.exceptions += [*source.manifest.exceptions, *destination.exceptions, *not_in_backup(source, entries)]
        report.notes += source.manifest.notes
        report.notes += doubts(job, source)
        report.notes += note_of_given(destination.profile, source.toc, making.fates)
        memory.attach(destination, making.ledger, making.fates, making.how.by_id)
        if not job.scope.dry_run:
            _Restore(making, memory, entries, tables).run()
        report_refusals(making, entries)
        report.notes += subscriptions_off(entries, making.ledger.lost())
        if not job.scope.dry_run:
            _finish(job, source, report)


def _refuse_impossible(job: RestoreJob, source: Source) -> None:
    if not source.content.contents.has_schema:
        raise DestinationError(
            f"The backup {job.backup.id} holds rows only.",
            code="NO_DEFINITIONS",
            hint="Restore its rows into a database that has the tables, empty: --contents data.",
        )
    if source.large_objects is not None and job.scope.contents.has_rows and not (job.is_resumable or job.scope.dry_run):
        refuse_too_large(job, source.large_objects.size, "The large objects")
    if job.scope.resume is not None:
        refuse_unmarked(job)


def _open(job: RestoreJob, source: Source) -> AbstractContextManager[Destination]:
    return open_destination(
        job.connection,
        source.content,
        restore_id=job.owner_id,
        dry_run=job.scope.dry_run,
        restart=job.scope.restart,
        provider=job.provider,
        continues=job.is_resumable,
        keeps=lambda error: job.children.has_paused or is_kept(error),
    )


def _finish(job: RestoreJob, source: Source, report: ReportBuilder) -> None:
    if job.scope.analyze and job.scope.contents.has_rows:
        job.check_time(_ANALYZE_SECONDS)
        analyze(job, report)
    set_properties(job, source, report)
    job.on_whole(report.build(job))


class _Restore:
    """The steps of a restore that change the destination. One that an earlier attempt has done is not done again."""

    def __init__(
        self,
        making: DefinitionRestore,
        memory: Memory,
        entries: Sequence[TocEntry],
        tables: dict[TableName, TableContent],
    ) -> None:
        self._making = making
        self._memory = memory
        self._job, self._source, self._report = making.job, making.source, making.report
        self._entries = entries
        self._exist = [entry for entry in entries if is_made(entry, making.destination)]
        left = (entry for entry in entries if not is_made(entry, making.destination))
        self._phases = phases_of(left, has_journal=self._source.chosen is not None)
        self._called = called_tables(tables, making.destination.profile)
        self._tables = tables

    def run(self) -> None:
        step = self._memory.step
        step("definitions", self._define)
        if self._job.scope.contents.has_rows:
            _refuse_nothing(self._making)
            self._load()
        if (chosen := self._source.chosen) is not None:
            step("identities", partial(self._index, self._phases.identities))
            step("journal", partial(self._replay, chosen))
        step("indexes", partial(self._index, self._phases.after_rows))
        step("privileges", self._grant)
        if self._job.scope.contents.has_rows:
            step("materialized views", self._fill_views)
            step("rows by call", self._call_rows_in)
        step("event triggers", self._make_event_triggers)

    def _define(self) -> None:
        job, source, destination = self._job, self._source, self._making.destination
        if destination.leftovers:
            empty_given(job, destination, self._tables)
        make_schemas(job, source, self._entries, destination)
        if destination.created and destination.version_number < _CLOSED_SINCE:
            close_public(job)
        with self._report.phase("schema"):
            self._making.make(self._phases.before_rows)

    def _load(self) -> None:
        """Load the rows of tables, large objects and sequences, and remember the tables that lack all or some rows."""
        possible = possible_tables(self._source, self._making.ledger.lost())
        tables = {name: table for name, table in self._tables.items() if name in possible}
        existing, gone = existing_and_gone(self._job, tables, self._making.destination)
        # Tables of extensions and of the provider have their keys from the start: what these point at comes first,
        # other tables after.
        own = {name: table for name, table in existing.items() if not is_given(table, self._making.destination)}
        given = {name: table for name, table in existing.items() if name not in own and name not in self._called}
        levels: dict[TableName, int] = {}
        if given:
            with loading_session(self._job) as session:
                levels = key_levels(session, given)

        def make_room() -> None:
            say_gone(self._job, gone, given, self._report)
            self._memory.kept_out = given.keys() - empty_members(self._job, given, levels, self._report).keys()

        def load() -> None:
            with self._report.phase("tables"):
                if given:
                    wanted = {name: table for name, table in given.items() if name not in self._memory.kept_out}
                    how = loading_given(self._job, wanted, levels, self._report, is_marked=self._memory.is_kept)
                    self._report.tables += load_tables(self._job, self._source, wanted, self._report.meter, how)
                share_rows(self._job, self._source, self._memory, own)
                self._report.tables += load_tables(self._job, self._source, own, self._report.meter, self._fresh())

        def count() -> None:
            with self._report.phase("count"):
                self._count(own, given)

        self._memory.step("room for rows", make_room)
        self._memory.step("rows", load)
        self._memory.step("large objects and sequences", self._load_large_objects)
        # Before row level security comes with the rest of the schema: it can hide rows from the owner of a table too.
        self._memory.step("count", count)

    def _fresh(self) -> Loading:
        return Loading(
            is_fresh=True,
            in_order=self._job.in_order,
            report=self._report,
            is_alone=True,
            search_paths=self._making.search_paths,
            is_marked=self._memory.is_kept,
        )

    def _load_large_objects(self) -> None:
        with self._report.phase("large objects and sequences"), loading_session(self._job) as session:
            if self._source.large_objects is not None:
                restore_large_objects(
                    self._job,
                    self._source,
                    self._source.large_objects,
                    self._report,
                    with_owners=True,
                    is_marked=self._memory.is_kept,
                )
            if self._source.chosen is None:
                restore_sequences(session, self._source.content.sequences, self._making.destination, self._report)

    def _count(self, own: dict[TableName, TableContent], given: dict[TableName, TableContent]) -> None:
        report = self._report
        members = {name: table for name, table in given.items() if table.is_member or not table.of_extension}
        filled = loaded_of(own, report.tables, report.missing_rows)
        refuse_missing_rows(filled, report.tables)
        # In a database that this restore created no other session writes: `COPY` has said how many rows each table has.
        counted = {} if report.created_database else filled
        wanted = {**counted, **loaded_of(members, report.tables, report.missing_rows)}
        check_counts(self._job, wanted, is_marked=self._memory.is_kept)
        self._memory.lost = (own.keys() - filled.keys()) | report.missing_rows.keys()

    def _replay(self, chosen: Chosen[str]) -> None:
        """Apply the journal to the tables that have all their rows of the base, and set the sequences."""
        possible = possible_tables(self._source, self._making.ledger.lost())
        without = self._memory.lost | self._memory.kept_out | self._called.keys()
        replayed = {name for name in self._tables.keys() & possible.keys() if name not in without}
        with self._report.phase("journal"):
            how = Followed(replayed, search_paths=self._making.search_paths)
            apply_journal(self._job, chosen, how, self._source.content.tables, self._report)
            say_large_objects(chosen, self._source, self._report)
            with loading_session(self._job) as session:
                values = sequences_of(session, self._source, self._report)
                restore_sequences(session, values, self._making.destination, self._report)

    def _index(self, entries: Sequence[TocEntry]) -> None:
        with self._report.phase("indexes and constraints"):
            self._making.make_in_parallel(entries)

    def _grant(self) -> None:
        with self._report.phase("privileges"):
            if not self._report.created_database:
                with loading_session(self._job) as session:
                    revoke_default_privileges(session, self._making.destination.given)
                    session.commit()
            self._making.grant(self._phases.privileges, self._exist)

    def _fill_views(self) -> None:
        with self._report.phase("materialized views"):
            refresh_views(self._making, self._memory.lost)

    def _call_rows_in(self) -> None:
        with self._report.phase("rows by call"):
            call_rows_in(self._job, self._source, self._called, self._report, is_marked=self._memory.is_kept)

    def _make_event_triggers(self) -> None:
        with self._report.phase("event triggers"):
            self._making.make_marked(self._phases.event_triggers)


def _refuse_nothing(making: DefinitionRestore) -> None:
    """Refuse to continue when not one table could be made: then the role or the database does not fit."""
    own = [table for table in making.source.content.tables if not is_given(table, making.destination)]
    possible = possible_tables(making.source, making.ledger.lost())
    refusals = making.ledger.refusals
    if own and refusals and not any((table.schema_name, table.table_name) in possible for table in own):
        raise refused_error(making.job, next((one for one in refusals if one.sqlstate), refusals[0]))
