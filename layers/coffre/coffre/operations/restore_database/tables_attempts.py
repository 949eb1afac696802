"""Restores into a database in use in several attempts: their marks, and what the first attempt has found there.

The marks have a schema of their own next to the tables in use: those of a database that a restore fills would let
`--restart` remove what others have made since.
"""

from __future__ import annotations

import hashlib
from collections.abc import Collection, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import replace
from typing import Final

import psycopg2.extensions

from coffre.model.errors import CoffreError, DestinationError, RestoreError
from coffre.model.manifest import TableContent
from coffre.model.names import TableName, quoted, shown
from coffre.model.restore_report import Kept, RestoreReport
from coffre.operations.restore_database.job import MARKED_BYTES, RestoreJob, Source
from coffre.operations.restore_database.journal_replay import no_marks
from coffre.operations.restore_database.load_plan import refuse_too_large
from coffre.operations.restore_database.report_builder import ReportBuilder
from coffre.operations.restore_database.resume import is_kept, nothing_to_resume
from coffre.operations.restore_database.saved_steps import Memory
from coffre.operations.restore_database.sessions import clearing_session, loading_session
from coffre.operations.restore_database.staging import Staging, staging_schema_name
from coffre.operations.restore_database.tables_plan import Chosen, TablesPlan, plan_tables, to_look_up
from coffre.postgres.archive.dependencies import absent
from coffre.postgres.archive.reader import TocEntry
from coffre.postgres.destination import marks
from coffre.postgres.destination.destination import Destination
from coffre.postgres.destination.live_tables import LiveTable, live_tables
from coffre.postgres.destination.staging_schema import is_applied, schema_exists

_LIVE: Final = "live"
_ABSENT: Final = "absent"
_STAGING: Final = "staging"


@contextmanager
def attempt(
    job: RestoreJob, size_bytes: int, what: str, report: ReportBuilder, destination: Destination
) -> Iterator[Memory]:
    """Give what earlier attempts of a restore have done and found, and keep what this one does.

    The marks are removed at the end, and after an error that no attempt continues from. A restore to a moment always
    has some: they say how far the journal is.

    Parameters
    ----------
    size_bytes, what
        Of the rows that are restored, and they as the subject of a sentence in the plural.

    Raises
    ------
    RestoreError
        `RESUME_UNCLEAR`: an earlier attempt has left no marks. `RESUME_MISSING`: the restore that a person wants to be
        continued has none. `RESTORE_TOO_LARGE`: no other attempt can continue, and
        this one is too short. `JOURNAL_MARKS`: the role may create no schema.
    """
    schema = marks.schema_of(job.owner_id)
    has_marks = not job.scope.dry_run and (
        job.scope.at is not None or (job.is_resumable and size_bytes >= MARKED_BYTES)
    )
    is_marked = has_marks and job.is_resumable
    if not (job.is_resumable or job.scope.dry_run):
        refuse_too_large(job, size_bytes, what)
    job = replace(job, is_resumable=is_marked, marks_schema=schema)
    if job.scope.at is not None and not destination.may_create:
        raise no_marks(job)
    if has_marks:
        _begin(job, schema)
    elif job.continues:
        raise _unclear(job)
    elif job.scope.resume is not None:
        raise nothing_to_resume(job)
    try:
        with job.pausing(), Memory.open(job, report) as memory:
            memory.is_ours = destination.is_ours
            yield memory
    except Exception as error:
        if has_marks and not (job.children.has_paused or is_kept(error)) and destination.is_ours():
            _forget(job, schema, error)
        raise
    if has_marks:
        with loading_session(job) as session:
            marks.end(session, schema)


def _begin(job: RestoreJob, schema: str) -> None:
    with loading_session(job) as session:
        if marks.exist(session, schema):
            return
        if job.continues:
            raise _unclear(job)
        if job.scope.resume is not None:
            raise nothing_to_resume(job)
        marks.begin(session, schema, f"what Coffre's restore {job.owner_id} has done, until it ends")


def _forget(job: RestoreJob, schema: str, error: Exception) -> None:
    try:
        with clearing_session(job) as session:
            marks.end(session, schema)
    except CoffreError:
        error.add_note(f"The schema {schema} could not be dropped: DROP SCHEMA {quoted(schema)} CASCADE")


def _unclear(job: RestoreJob) -> RestoreError:
    return RestoreError(
        f"An earlier attempt of the restore {job.owner_id} ended, and left nothing in {job.connection} that says what "
        "it has done.",
        code="RESUME_UNCLEAR",
        hint=f"Look at its tables, and for the schema {staging_schema_name(job)}: if its comment begins with "
        '"Applied", rows were brought over. Drop what the restore has made, and start it again.',
    )


def report_if_ended(job: RestoreJob, tables: Mapping[TableName, TableContent]) -> RestoreReport | None:
    """Return the report of a restore of these tables that an earlier attempt has ended; None when it continues.

    Raises
    ------
    RestoreError
        `RESUME_UNCLEAR`: it has left no marks, and nothing that proves what it has done.
    """
    name = staging_schema_name(job)
    with loading_session(job) as session:
        if marks.exist(session, marks.schema_of(job.owner_id)):
            return None
        is_staged = schema_exists(session, name)
        if is_staged and job.scope.touches:
            with session.cursor() as cursor:
                is_staged = is_applied(cursor, name)
    is_large = job.scope.at is not None or sum(table.size for table in tables.values()) >= MARKED_BYTES
    if not (is_staged and is_large):
        raise _unclear(job)  # it may never have begun: as many rows as the backup has prove nothing
    kept = Kept(what=f"the schema {name}", remove=f"DROP SCHEMA {quoted(name)} CASCADE")
    return RestoreReport(
        id=job.restore_id,
        backup_id=job.backup.id,
        target=job.backup.target,
        destination=str(job.connection),
        rows=sum(table.rows for table in tables.values()),
        phases_ms={},
        exceptions=(),
        kept=(kept,),
        notes=("It was complete before the interruption: its marks were removed, which is its last step.",),
    )


class Looked:
    """What the database has and lacks, as the first attempt has found it: later ones see what that has made."""

    def __init__(self, session: psycopg2.extensions.connection, memory: Memory) -> None:
        self._session = session
        self._job = memory.job
        self._facts = memory.facts
        self._is_known = memory.is_resumed
        self._facts.setdefault(_ABSENT, [])

    def live(self, tables: Sequence[Chosen]) -> dict[TableName, LiveTable]:
        """Return those of the tables that exist, and were not created by the restore."""
        found = live_tables(self._session, [table.name for table in tables])
        if not self._is_known:
            self._facts[_LIVE] = sorted(found)
            return found
        then = {(schema, table) for schema, table in self._facts[_LIVE]}
        if gone := sorted(then - found.keys()):
            raise self._altered(f"{shown(*gone[0])} does not exist any more")
        return {name: found[name] for name in found if name in then}

    def absent(self, entries: Sequence[TocEntry]) -> set[int]:
        """Return the dump ids of the entries that the database lacked."""
        if not self._is_known:
            with self._session.cursor() as cursor:
                self._facts[_ABSENT] += [entry.dump_id for entry in absent(cursor, entries)]
        return {entry.dump_id for entry in entries}.intersection(self._facts[_ABSENT])

    def plan(
        self, source: Source, tables: Sequence[Chosen], live: Collection[TableName], *, with_dependencies: bool
    ) -> TablesPlan:
        """Decide how each table is restored."""
        missing = self.absent(to_look_up(source.toc, tables, live, with_dependencies=with_dependencies))
        return plan_tables(source.toc, tables, live, missing, with_dependencies=with_dependencies)

    def refuse_altered(self, staging: Staging) -> None:
        """Refuse to continue when tables in use are not what the staging tables were made for.

        Raises
        ------
        DestinationError
            `DESTINATION_CHANGED`
        """
        now = {shown(*name): _print_of(live) for name, live in staging.live.items()}
        now |= {shown(*name): "together" for parts in staging.partitions.values() for name in parts}
        then: Mapping[str, str] = self._facts.setdefault(_STAGING, now)
        if changed := sorted(name for name in now.keys() | then.keys() if now.get(name) != then.get(name)):
            raise self._altered(f"{changed[0]} was altered")

    def _altered(self, what: str) -> DestinationError:
        return DestinationError(
            f"The tables of {self._job.connection} are not as they were when the restore began: {what}.",
            code="DESTINATION_CHANGED",
            hint="No table in use was changed. Run the restore again.",
        )


def _print_of(table: LiveTable) -> str:
    return hashlib.sha256(repr(table).encode()).hexdigest()[:16]
