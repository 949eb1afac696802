"""Chosen tables that do not exist: created again with all that is a part of them, in any number of attempts."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from itertools import batched
from typing import Final

import psycopg2
import psycopg2.errors
from psycopg2 import sql

from coffre.model.errors import CoffreError
from coffre.model.manifest import TableContent
from coffre.model.names import TableName
from coffre.operations.restore_database.archive_phases import phases_of
from coffre.operations.restore_database.definition_words import refused_error
from coffre.operations.restore_database.definitions import DefinitionRestore
from coffre.operations.restore_database.dropped_dependents import spoken
from coffre.operations.restore_database.journal_replay import Followed, apply_journal, definitions_of
from coffre.operations.restore_database.load_plan import FAST_COMMITS, Loading
from coffre.operations.restore_database.load_tables import load_tables
from coffre.operations.restore_database.moment_sequences import sequences_of
from coffre.operations.restore_database.row_counts import check_counts, loaded_of
from coffre.operations.restore_database.saved_steps import Memory
from coffre.operations.restore_database.sessions import clearing_session, loading_session
from coffre.operations.restore_database.tables_plan import TablesPlan
from coffre.policy.moments import Chosen
from coffre.postgres.archive.reader import TocEntry
from coffre.postgres.connection.partition_routes import whole_table_hint
from coffre.postgres.destination import marks, staging_schema
from coffre.postgres.destination.copy_in import set_sequences
from coffre.postgres.destination.default_privileges import revoke_default_privileges
from coffre.postgres.destination.live_tables import names_of, table_oids
from coffre.postgres.destination.owners_code import OWNERS_PATH

_ENTRIES_TOGETHER: Final = 500
_CHECK_VIOLATION: Final = "23514"
# The tables that the restore has created, by oid: another session can use the same name.
_CREATED: Final = "created"


def create_again(making: DefinitionRestore, memory: Memory, plan: TablesPlan) -> set[TableName]:
    """Create the tables that do not exist with their rows, and return those that lack all or some rows.

    Raises
    ------
    CoffreError
        The tables are dropped again then, unless others have written to them.
    """
    created = memory.facts.setdefault(_CREATED, [])
    with _dropped_on_error(memory, plan, created):
        again = _Again(making, memory, plan, created)
        memory.step("definitions", again.define)
        contents = _possible(making, plan)
        memory.step("rows", lambda: again.load(contents))
        memory.step("count", lambda: again.count(contents))
        if (chosen := making.source.chosen) is not None:
            memory.step("identities", lambda: again.identify(chosen))
            memory.step("journal", lambda: again.replay(chosen, contents))
        memory.step("sequences", again.set_sequences)
        memory.step("indexes", again.index)
        memory.step("privileges", again.grant)
    missing = memory.report.missing_rows
    return (contents.keys() - loaded_of(contents, memory.report.tables).keys()) | (missing.keys() & contents.keys())


class _Again:
    """The steps that create tables again."""

    def __init__(self, making: DefinitionRestore, memory: Memory, plan: TablesPlan, created: list[int]) -> None:
        self._making = making
        self._memory = memory
        self._plan = plan
        self._created = created
        self._job, self._source, self._report = making.job, making.source, making.report
        self._phases = phases_of(plan.lines, has_journal=making.source.chosen is not None)

    def define(self) -> None:
        """Create the tables and what they need, in batches, so that few are created before they are looked up."""
        names = [table.name for table in self._plan.tables]
        made = self._memory.read(marks.MADE)
        earlier = [table.name for table in self._plan.tables if table.entry and str(table.entry.dump_id) in made]
        with self._report.phase("schema"), loading_session(self._job) as session, session.cursor() as cursor:
            self._created += sorted(set(table_oids(cursor, earlier)) - set(self._created))
            for lines in batched(self._phases.before_rows, _ENTRIES_TOGETHER, strict=False):
                before = set(table_oids(cursor, names))
                session.commit()
                try:
                    self._making.make_marked(lines)
                finally:
                    # One that was refused because it exists was created by another session meanwhile.
                    lost = self._making.ledger.lost()
                    ours = [one.name for one in self._plan.tables if one.entry and one.entry.dump_id not in lost]
                    self._created += [oid for oid in table_oids(cursor, ours) if oid not in before]
                    session.commit()
                self._memory.save()

    def load(self, contents: dict[TableName, TableContent]) -> None:
        with self._report.phase("tables"):
            how = Loading(
                is_fresh=True,
                first_statement=f"{FAST_COMMITS}; {OWNERS_PATH}",
                report=self._report,
                search_paths=self._making.search_paths,
                is_marked=self._memory.is_kept,
            )
            self._report.tables += load_tables(self._job, self._source, contents, self._report.meter, how)

    def set_sequences(self) -> None:
        # One that was refused, as its name is taken, is another one here: of a renamed table, in use.
        lost = self._making.ledger.lost()
        made = (one for one in self._plan.lines if one.description == "SEQUENCE" and one.dump_id not in lost)
        names = {(entry.schema, entry.tag) for entry in made}
        with self._report.phase("sequences"), loading_session(self._job) as session:
            values = sequences_of(session, self._source, self._report, names)
            self._report.say_missing("sequence", set_sequences(session, values))
            session.commit()

    def count(self, contents: dict[TableName, TableContent]) -> None:
        with self._report.phase("count"):
            loaded = loaded_of(contents, self._report.tables, self._report.missing_rows)
            check_counts(self._job, loaded, is_marked=self._memory.is_kept)

    def identify(self, chosen: Chosen[str]) -> None:
        """Make what rows are found by. Where its name is taken, as by a table that was renamed, another index does."""
        with self._report.phase("indexes and constraints"):
            self._making.make_in_parallel(self._phases.identities)
            if keys := self._keys_without_index(chosen):
                with loading_session(self._job, lasts=self._memory.is_kept) as session, session.cursor() as cursor:
                    for name, key in keys.items():
                        self._job.check_time()
                        # What the role may not index is brought to the moment all the same, slowly.
                        with suppress(psycopg2.ProgrammingError, psycopg2.errors.ProgramLimitExceeded):
                            staging_schema.add_finder(cursor, name, [key], self._finder)
                            session.commit()
                        session.rollback()

    def _keys_without_index(self, chosen: Chosen[str]) -> dict[TableName, tuple[str, ...]]:
        lost = self._making.ledger.lost()
        needed = {one for entry in self._phases.identities if entry.dump_id in lost for one in entry.dependencies}
        names = [
            table.name
            for table in self._plan.tables
            if table.content and table.entry and table.entry.dump_id in needed - lost
        ]
        tables = definitions_of(self._job, chosen).tables if names else {}
        return {name: tables[name].key for name in names if name in tables and tables[name].key}

    @property
    def _finder(self) -> str:
        """A part of a name that no other index has."""
        return f"_{self._job.owner_id.lower()}"

    def replay(self, chosen: Chosen[str], contents: dict[TableName, TableContent]) -> None:
        """Apply the journal to the tables that have all their rows of the base."""
        whole = loaded_of(contents, self._report.tables).keys() - self._report.missing_rows.keys()
        lost = [table for name, table in contents.items() if name not in whole]
        followed = Followed(whole, is_part=True, name="created", search_paths=self._making.search_paths)
        with self._report.phase("journal"):
            apply_journal(self._job, chosen, followed, lost, self._report)
            if keys := self._keys_without_index(chosen):
                with loading_session(self._job) as session, session.cursor() as cursor:
                    for name, key in keys.items():
                        staging_schema.drop_finder(cursor, name, [key], self._finder)
                        session.commit()

    def index(self) -> None:
        with self._report.phase("indexes and constraints"):
            self._making.make_in_parallel(self._phases.after_rows)
            # Keys come later: they see rows of a partition only through the table that it joins.
            _attach(self._making, self._plan.attachments)

    def grant(self) -> None:
        with self._report.phase("privileges"):
            with loading_session(self._job) as session:
                revoke_default_privileges(session, self._making.destination.given, self._created)
                session.commit()
            self._making.grant(self._phases.privileges)


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


def _attach(making: DefinitionRestore, attachments: Sequence[TocEntry]) -> None:
    making.make_marked(attachments, lasts=True)
    for refusal in making.ledger.refusals:
        if refusal.entry in attachments and refusal.sqlstate == _CHECK_VIOLATION:
            error = refused_error(making.job, refusal)
            homes = [entry for entry in making.source.toc if entry.dump_id in refusal.entry.dependencies]
            error.hint = whole_table_hint(next((e.schema or "", e.tag) for e in homes if e.tag != refusal.entry.tag))
            raise error


@contextmanager
def _dropped_on_error(memory: Memory, plan: TablesPlan, created: Sequence[int]) -> Iterator[None]:
    """Drop the tables again, in one statement, so that their keys to each other are no obstacle."""
    try:
        yield
    except Exception as error:
        job = memory.job
        if job.children.has_paused or not memory.is_ours():
            raise  # the next attempt continues with them
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
