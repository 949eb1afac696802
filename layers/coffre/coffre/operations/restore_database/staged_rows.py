"""Filling the staging schema of a restore, comparing it with tables in use, and merging, in any number of attempts."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Final

import psycopg2.extensions

from coffre.model.backup import OUTCOME_UNKNOWN
from coffre.model.errors import CoffreError, RestoreError
from coffre.model.names import quoted, shown
from coffre.model.restore_report import Kept
from coffre.operations.restore_database.job import RestoreJob, Source
from coffre.operations.restore_database.load_plan import FAST_COMMITS, Loading
from coffre.operations.restore_database.load_tables import load_tables
from coffre.operations.restore_database.row_counts import refuse_missing_rows
from coffre.operations.restore_database.row_merge import merge_tables
from coffre.operations.restore_database.saved_steps import Memory
from coffre.operations.restore_database.sessions import clearing_session, loading_session
from coffre.operations.restore_database.staging import Staging, staging_schema_name, try_filter
from coffre.operations.restore_database.tables_moment import StagedMoment
from coffre.postgres.connection.connect import connect
from coffre.postgres.destination import marks, staging_schema
from coffre.postgres.destination.commit_outcome import commit, outcome_unknown
from coffre.postgres.destination.owners_code import OWNERS_PATH
from coffre.postgres.destination.row_filter import condition
from coffre.postgres.destination.row_merge import Pair

_KEYLESS: Final = "keyless"


def restore_to_staging(memory: Memory, source: Source, staging: Staging, moment: StagedMoment | None) -> None:
    """Stage the backup's rows, compare, and merge when asked to. Tables in use change in one transaction or not at all.

    With a `moment` the rows are brought to it before they are compared.

    What an earlier attempt of the restore has done is not done again.

    Raises
    ------
    CoffreError
        The staging schema is dropped again then.
    """
    work = _Work(memory, source, staging, moment)
    memory.step("staging schema", work.create_schema)
    with _dropped_on_error(memory):
        memory.step("staging tables", work.create_tables)
        memory.step("staged rows", work.load)
        if moment is not None:
            memory.step("staged identities", lambda: moment.index(memory))
            memory.step("staged journal", lambda: moment.replay(memory))
            if moment.apart:
                memory.step("staged partitions", lambda: moment.gather(memory, staging.places(work.pairs)))
            memory.step("staged choice", lambda: moment.choose_rows(memory, work.pairs))
        memory.step("staging keys", work.add_keys)
        memory.step("merge" if memory.job.scope.touches else "compare", work.merge)


class _Work:
    """The steps that fill one staging schema, and compare and merge its tables."""

    def __init__(self, memory: Memory, source: Source, staging: Staging, moment: StagedMoment | None) -> None:
        self._moment = moment
        self._memory = memory
        self._job, self._report = memory.job, memory.report
        self._source = source
        self._staging = staging
        self.pairs = staging.pairs(self._job)
        self._schema = staging_schema_name(self._job)
        backup = self._job.backup
        self._comment = f"restored by Coffre from backup {backup.id} of {backup.target}; nothing uses it."

    def create_schema(self) -> None:
        with self._report.phase("side schema"), loading_session(self._job) as session, session.cursor() as cursor:
            if self._memory.is_resumed:
                staging_schema.drop_staging_schema(session, self._schema)
            staging_schema.create_staging_schema(cursor, self._schema, self._comment)
            session.commit()

    def create_tables(self) -> None:
        with self._report.phase("side schema"), loading_session(self._job) as session, session.cursor() as cursor:
            if self._memory.is_resumed:
                staging_schema.drop_staging_tables(session, self._schema)
            for pair in self.pairs:
                columns = self._staging.contents[pair.live.name].columns
                gone = self._moment.gone_types(pair.live.name) if self._moment else {}
                staging_schema.create_staging_table(cursor, pair.side, columns, pair.live, gone)
                apart = self._moment.apart if self._moment else {}
                for part in self._staging.parts(pair.live.name):
                    if part in apart:
                        staging_schema.create_alike(cursor, apart[part], pair.side)
                session.commit()  # one by one: the server has room for a limited number of locks at the same time
                if self._moment is not None and self._job.scope.rows is not None:
                    # Rows are chosen when the journal is applied: what cannot be understood is known before that.
                    name = f"the backup of {pair.live.shown_name}"
                    try_filter(session, pair.side, name, columns, condition(self._job.scope.rows))
                    session.commit()

    def load(self) -> None:
        job, rows = self._job, self._job.scope.rows if self._moment is None else None
        apart = dict(self._moment.apart) if self._moment else {}
        with self._report.phase("tables"), _other_types_explained():
            how = Loading(
                into=self._staging.places(self.pairs) | apart,
                where=condition(rows) if rows else None,
                is_fresh=True,
                first_statement=f"{FAST_COMMITS}; {OWNERS_PATH}",  # domains have checks
                is_marked=self._memory.is_kept,
            )
            loaded = load_tables(job, self._source, self._staging.loads, self._report.meter, how)
        self._report.tables += loaded
        if rows is None:
            refuse_missing_rows(self._staging.loads, loaded)

    def add_keys(self) -> None:
        """Give staging tables their keys; those that cannot have them are not compared, with the reason reported."""
        job, keyed = self._job, self._memory.read(marks.KEYED)
        keyless = []
        with self._report.phase("compare"), loading_session(job, lasts=self._memory.is_kept) as session:
            for pair in self.pairs:
                name = shown(*pair.side)
                if pair.key and name not in keyed:
                    job.check_time()
                    if not self._add_key(session, pair, name):
                        keyless.append(name)
        self._memory.facts[_KEYLESS] = keyless

    def _add_key(self, session: psycopg2.extensions.connection, pair: Pair, name: str) -> bool:
        is_kept, schema = self._memory.is_kept, self._job.marks_schema
        mark = marks.adding(marks.KEYED, {name: {}}, schema) if is_kept else b""
        try:
            with session.cursor() as cursor:
                staging_schema.add_key(cursor, pair.side, pair.live, mark)
            session.commit()
        except RestoreError as error:
            if self._job.scope.touches:
                raise
            session.rollback()
            self._report.exceptions.append(f"{error.message} It is not compared; the backup's version is {name}.")
            return False
        return True

    def merge(self) -> None:
        job, keyless = self._job, self._memory.facts[_KEYLESS]
        keyed = [pair for pair in self.pairs if pair.key and shown(*pair.side) not in keyless]
        with self._report.phase("compare"), loading_session(job) as session, session.cursor() as cursor:
            self._report.comparisons += merge_tables(job, session, keyed, self._report)
            kept = Kept(what=f"the schema {self._schema}", remove=f"DROP SCHEMA {quoted(self._schema)} CASCADE")
            self._report.kept.append(kept)
            if job.scope.touches:
                staging_schema.mark_applied(cursor, self._schema, self._comment)
                self._memory.save_step("merge", session)
                _commit(job, session, self._schema)
            else:
                session.commit()


def _commit(job: RestoreJob, session: psycopg2.extensions.connection, schema: str) -> None:
    """Commit the change of tables in use; the mark at the staging schema is a part of the transaction."""

    def unknown() -> RestoreError:
        return outcome_unknown(
            f"the rows of {job.connection} were changed",
            f'In psql: \\dn+ {schema} . If its description begins with "Applied", they were, and the tables of this '
            "schema whose names end in _before have the old rows. Otherwise nothing in use was changed.",
        )

    commit(session, lambda: connect(job.connection), lambda cursor: staging_schema.is_applied(cursor, schema), unknown)


@contextmanager
def _other_types_explained() -> Iterator[None]:
    """Say what to do where a table in use has types that do not take the backup's values."""
    try:
        yield
    except RestoreError as error:
        if error.code == "COPY_FAILED":
            error.add_note(
                "Staging tables have the types of the table in use: where they do not take the backup's values, "
                "restore the table into another database (--to)."
            )
        raise


@contextmanager
def _dropped_on_error(memory: Memory) -> Iterator[None]:
    job, schema = memory.job, staging_schema_name(memory.job)
    try:
        yield
    except Exception as error:
        is_unknown = isinstance(error, CoffreError) and error.code == OUTCOME_UNKNOWN
        if job.children.has_paused or is_unknown or not memory.is_ours():
            raise  # the next attempt continues with the schema; or it may have what existed before
        try:
            with clearing_session(job) as session, session.cursor() as cursor:
                # The schema of a change that is done has what existed before.
                if staging_schema.is_applied(cursor, schema):
                    error.add_note(f"But the rows were brought over; what they were before is in the schema {schema}.")
                else:
                    staging_schema.drop_staging_schema(session, schema)
        except CoffreError:
            error.add_note(f"The schema {schema} could not be dropped: DROP SCHEMA {quoted(schema)} CASCADE")
        raise
