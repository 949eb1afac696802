"""Restore the rows of a whole backup into tables that exist and are empty."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from typing import Final

from psycopg2 import sql

from coffre.model.errors import CoffreError, DestinationError, RestoreError
from coffre.model.manifest import RelationName, TableContent
from coffre.model.names import TableName, qualified, shown
from coffre.operations.restore_database.altered_columns import say_narrower
from coffre.operations.restore_database.extension_members import leave_out_members
from coffre.operations.restore_database.job import RestoreJob, Source
from coffre.operations.restore_database.large_objects import restore_large_objects
from coffre.operations.restore_database.load_plan import FAST_COMMITS, Loading
from coffre.operations.restore_database.load_tables import load_tables
from coffre.operations.restore_database.materialized_views import leave_out_views
from coffre.operations.restore_database.provider_rows import restore_sequences, without_left_out
from coffre.operations.restore_database.report_builder import ReportBuilder
from coffre.operations.restore_database.row_counts import check_counts, loaded_of
from coffre.operations.restore_database.saved_steps import Memory
from coffre.operations.restore_database.sessions import clearing_session, loading_session
from coffre.operations.restore_database.tables_attempts import attempt
from coffre.postgres.destination import unfinished_restore
from coffre.postgres.destination.broken_keys import broken_keys
from coffre.postgres.destination.copy_in import has_rows, key_levels
from coffre.postgres.destination.destination import Destination, open_existing
from coffre.postgres.destination.ledger import Ledger
from coffre.postgres.destination.live_tables import live_tables
from coffre.postgres.destination.materialized_views import refresh_materialized_views
from coffre.postgres.destination.owners_code import OWNERS_PATH

# Whether large objects are restored too: then all that exist are the restore's.
_OBJECTS: Final = "large objects"
# Neither keys nor triggers see the rows: only a superuser can say so.
_WITHOUT_TRIGGERS: Final = f"{FAST_COMMITS}; SET session_replication_role = replica"


def restore_rows(job: RestoreJob, source: Source, report: ReportBuilder) -> None:
    """Load the rows of all tables into a database that has the tables, empty, and count them.

    A table whose rows are refused or damaged stays empty, and is named; with `strict` it ends the restore. Nothing of
    the tables' definitions is loosened: they are not the restore's own.

    Raises
    ------
    DestinationError
        `TABLES_NOT_READY`: a table is missing, lacks a column, or has rows. Nothing was changed then.
    CoffreError
        Another reason stopped it; the tables are emptied again then.
    """
    if not source.content.contents.has_rows:
        raise DestinationError(
            f"The backup {job.backup.id} holds definitions only: it has no rows.",
            code="NO_ROWS",
            hint="Choose a backup of the whole target, or leave --contents out.",
        )
    tables = {
        (t.schema_name, t.table_name): t for t in source.content.tables if not (t.rows_excluded or t.of_extension)
    }
    members = {(t.schema_name, t.table_name): t for t in source.content.tables if t.is_member}
    leave_out_members(job, members, report, "rows alone are not restored into members of extensions")
    continues = job.continues or job.scope.resume is not None
    with open_existing(job.connection, source.content, job.provider, continues=continues) as destination:
        # Marks need a schema; without the right to create one, the rows have to fit into one attempt.
        is_resumable = job.is_resumable and destination.may_create
        job = replace(job, settings=destination.profile.settings, is_resumable=is_resumable)
        tables = without_left_out(tables, destination.profile, report)
        size_bytes = sum(table.size for table in tables.values())
        size_bytes += source.large_objects.size if source.large_objects is not None else 0
        with attempt(job, size_bytes, "The rows", report, destination) as memory:
            _restore(memory, source, tables, destination)


def _look_for_large_objects(memory: Memory, report: ReportBuilder) -> None:
    """Decide whether large objects are restored: where the database has none, which the first attempt knows."""
    job = memory.job
    if not memory.is_resumed:
        with loading_session(job) as session, session.cursor() as cursor:
            cursor.execute("SELECT EXISTS (SELECT FROM pg_largeobject_metadata)")
            memory.facts[_OBJECTS] = cursor.fetchall() == [(False,)]
    if memory.facts.get(_OBJECTS):
        report.steps.append("Restore large objects.")
    else:
        report.exceptions.append(
            f"Not restored: large objects. {job.connection} has some already, which may have the same numbers."
        )


def _restore(memory: Memory, source: Source, tables: dict[TableName, TableContent], destination: Destination) -> None:
    job, report = memory.job, memory.report
    if not memory.is_resumed:
        _refuse_unready(job, tables)
    is_superuser = destination.capabilities.is_superuser
    words = "without their keys and triggers seeing it" if is_superuser else "in the order of their foreign keys"
    report.steps.append(f"Load the rows of {len(tables)} tables into {job.connection}, {words}.")
    report.exceptions += source.manifest.exceptions
    with loading_session(job) as session:
        say_narrower(source, live_tables(session, list(tables)).values(), report)
    if source.large_objects is not None:
        _look_for_large_objects(memory, report)
    memory.attach(destination, Ledger(), {}, {})
    if job.scope.dry_run:
        return
    with loading_session(job) as session:
        order = {} if is_superuser else key_levels(session, tables)
    first_statement = f"{_WITHOUT_TRIGGERS if is_superuser else FAST_COMMITS}; {OWNERS_PATH}"
    how = Loading(order=order, first_statement=first_statement, report=report, is_marked=memory.is_kept)
    memory.step("plan", lambda: None)  # from now on, rows in the tables are the restore's
    with _emptied_on_error(memory, tables):
        _Filling(memory, source, tables, how, destination).run()


class _Filling:
    """The steps that fill tables which exist."""

    def __init__(
        self,
        memory: Memory,
        source: Source,
        tables: dict[TableName, TableContent],
        how: Loading,
        destination: Destination,
    ) -> None:
        self._memory = memory
        self._job, self._report = memory.job, memory.report
        self._source = source
        self._tables = tables
        self._how = how
        self._destination = destination

    def run(self) -> None:
        step = self._memory.step
        step("rows", self._load)
        if self._memory.facts.get(_OBJECTS):
            step("large objects", self._load_large_objects)
        step("sequences", self._set_sequences)
        step("count", self._count)
        step("keys", self._name_broken_keys)
        step("materialized views", self._refresh)

    def _load(self) -> None:
        with self._report.phase("tables"):
            self._report.tables += load_tables(self._job, self._source, self._tables, self._report.meter, self._how)

    def _load_large_objects(self) -> None:
        entry = self._source.large_objects
        if entry is None:
            return
        with self._report.phase("large objects"):
            restore_large_objects(
                self._job, self._source, entry, self._report, with_owners=True, is_marked=self._memory.is_kept
            )

    def _set_sequences(self) -> None:
        with self._report.phase("sequences"), loading_session(self._job) as session:
            restore_sequences(session, self._source.content.sequences, self._destination, self._report)

    def _filled(self) -> dict[TableName, TableContent]:
        return loaded_of(self._tables, self._report.tables, self._report.missing_rows)

    def _count(self) -> None:
        with self._report.phase("count"):
            check_counts(self._job, self._filled(), is_marked=self._memory.is_kept)

    @property
    def _lacking(self) -> set[TableName]:
        return (self._tables.keys() - self._filled().keys()) | self._report.missing_rows.keys()

    def _name_broken_keys(self) -> None:
        """Name the keys whose rows came without those that they refer to: only a superuser's rows are not checked."""
        if not self._destination.capabilities.is_superuser or not self._lacking:
            return
        with self._report.phase("keys"), loading_session(self._job) as session:
            for key in broken_keys(session, self._lacking):
                self._report.leave_out(
                    f"what {key.rows:,} rows of {key.table} refer to",
                    f"not all rows of {key.parent} came back; the foreign key {key.name} counts as valid all the same",
                )

    def _refresh(self) -> None:
        job, report = self._job, self._report
        lacking = self._lacking
        with report.phase("materialized views"), loading_session(job) as session:
            for view in leave_out_views(session, self._source.content.materialized_views, lacking, report):
                job.check_time()
                report.say_missing(
                    "materialized view", refresh_materialized_views(session, [view], _refused(job, report))
                )


def _refused(job: RestoreJob, report: ReportBuilder) -> Callable[[RelationName, RestoreError], None]:
    """Return what is done about a materialized view whose query fails: it is named, or ends a strict restore."""

    def refused(view: RelationName, error: RestoreError) -> None:
        if job.scope.strict:
            raise error
        name = (view.schema_name, view.relation_name)
        reason = f"its query fails at the destination: {error.detail}"
        report.leave_out(
            f"the rows of the materialized view {shown(*name)}",
            reason,
            f"REFRESH MATERIALIZED VIEW {qualified(*name)};",
        )

    return refused


@contextmanager
def _emptied_on_error(memory: Memory, tables: dict[TableName, TableContent]) -> Iterator[None]:
    """Empty the tables again, in one statement, unless others have written to them: they were empty before."""
    try:
        yield
    except Exception as error:
        job, code = memory.job, error.code if isinstance(error, CoffreError) else ""
        if job.children.has_paused or not memory.is_ours():
            raise  # the next attempt continues with them
        if code == "TABLE_NOT_EMPTY" or (code == "ROWS_DIFFER" and "rows" in memory.done):
            error.add_note("The tables are left as they are: others write to them. Look before you empty them.")
            raise
        names = sql.SQL(", ").join(sql.SQL("ONLY {}").format(sql.Identifier(*name)) for name in tables)
        try:
            with clearing_session(job) as session, session.cursor() as cursor:
                cursor.execute(sql.SQL("TRUNCATE {}").format(names))
                session.commit()
                if memory.facts.get(_OBJECTS):
                    session.autocommit = True
                    unfinished_restore.remove_large_objects(session)
            error.add_note("The tables were emptied again.")
        except CoffreError as left:
            error.add_note(f"The tables hold a part of the backup and could not be emptied: {left.detail}")
        raise


def _refuse_unready(job: RestoreJob, tables: dict[TableName, TableContent]) -> None:
    problems = []
    with loading_session(job) as session:
        live = live_tables(session, list(tables))
        for name, table in tables.items():
            if name not in live:
                problems.append(f"{shown(*name)} is missing")
            elif lacking := [column for column in table.columns if live[name].column(column) is None]:
                problems.append(f"{shown(*name)} lacks the column {lacking[0]}")
            elif has_rows(session, name):
                problems.append(f"{shown(*name)} has rows")
    if problems:
        more = f", and {len(problems) - 5} more" if len(problems) > 5 else ""
        raise DestinationError(
            f"Rows alone need the backup's tables, empty; in {job.connection} {'; '.join(problems[:5])}{more}.",
            code="TABLES_NOT_READY",
            hint="Nothing was changed. Restore definitions first (--contents schema), or all into a new database.",
        )
