"""Making a backup's definitions at the destination: what can be made is made, the rest is named with its SQL.

The order: what tables need and tables; after the rows, indexes, constraints and triggers, over all connections; then
privileges; last what would act on all of it (event triggers).
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from typing import Final

import psycopg2.extensions

from coffre.model.manifest import TableContent
from coffre.model.names import TableName
from coffre.model.words import counted
from coffre.operations.restore_database.definition_schedule import Schedule
from coffre.operations.restore_database.definition_words import is_extension_comment, refused_error
from coffre.operations.restore_database.job import RestoreJob, Source
from coffre.operations.restore_database.privileges import NO_ROLE, Privileges
from coffre.operations.restore_database.provider_objects import Fate, fates
from coffre.operations.restore_database.report_builder import ReportBuilder
from coffre.operations.restore_database.saved_steps import Memory
from coffre.operations.restore_database.search_paths import paths_of
from coffre.operations.restore_database.sessions import loading_session
from coffre.operations.runs.session_pool import SessionPool
from coffre.postgres.archive.dependencies import absent
from coffre.postgres.archive.entry_sql import (
    encoded,
    owner_of,
    readable,
)
from coffre.postgres.archive.reader import TocEntry
from coffre.postgres.destination import marks
from coffre.postgres.destination.definitions import Definitions
from coffre.postgres.destination.destination import Destination
from coffre.postgres.destination.ledger import Ledger, Refusal
from coffre.postgres.destination.making import Making

# What the server's memory allows for building indexes, as far as its own settings show: an eighth of its buffers.
_INDEX_MEMORY: Final = """
SELECT pg_catalog.set_config('maintenance_work_mem', greatest(
    pg_catalog.pg_size_bytes(pg_catalog.current_setting('maintenance_work_mem')),
    least(pg_catalog.pg_size_bytes(pg_catalog.current_setting('shared_buffers')) / 8, 1073741824)) / 1024 || 'kB',
    false)
"""


@dataclass
class DefinitionRestore:
    """Makes definitions, and says in the report what could not be made.

    Parameters
    ----------
    session
        Make everything over this session, in its open transaction; default: sessions of its own, which
        commit as they go.
    ledger
        What could not be made so far.
    fates
        What the destination's provider makes itself, by dump id.
    memory
        What an earlier attempt of the restore has done.
    """

    job: RestoreJob
    source: Source
    destination: Destination
    report: ReportBuilder
    session: psycopg2.extensions.connection | None = None
    memory: Memory | None = None
    ledger: Ledger = field(init=False)
    fates: Mapping[int, Fate] = field(init=False)

    def __post_init__(self) -> None:
        reduces_tables = not self.job.scope.strict
        self.ledger = Ledger(reduces_tables=reduces_tables)
        self.fates = _fates(self.job, self.source, self.destination)
        if self.memory is not None:
            self.fates = self.memory.fates(self.fates)
        by_id = {entry.dump_id: entry for entry in self.source.toc}
        self.privileges = Privileges(self.destination, by_id)
        self.how = Making(
            by_id=by_id,
            encoding=self.source.content.encoding,
            may_give=self.privileges.may_give,
            paths=paths_of(self.source),
            is_nested=self.session is not None,
            reduces_tables=reduces_tables,
            marks_schema=self.job.marks_schema,
        )
        self._size_of = _sizes(self.source)
        self._tables = {
            (entry.schema or "", entry.tag): entry for entry in self.source.toc if entry.description == "TABLE"
        }

    def search_paths(self, table: TableName) -> list[str]:
        """Return the `search_path`s of the source for a table's rows, the likeliest first."""
        entry = self._tables.get(table)
        return list(self.how.paths(entry)) if entry is not None else []

    def make(self, entries: Sequence[TocEntry]) -> None:
        """Make entries one after the other."""
        with self._definitions(self.how) as definitions:
            definitions.make(entries)
        self._refuse_if_strict()

    def make_marked(self, entries: Sequence[TocEntry], *, lasts: bool = False) -> None:
        """Make entries one after the other, but those that an earlier attempt of the restore has made.

        With `lasts`, the server finishes what is being made when the run pauses.
        """
        how = replace(self.how, is_marked=self._is_marked)
        with self._definitions(how, lasts=lasts and self._is_marked) as definitions:
            definitions.make(self._left(entries))
        self._refuse_if_strict()

    def make_in_parallel(self, entries: Sequence[TocEntry]) -> None:
        """Make entries over all connections, as far as they do not need each other, but those that are made."""
        marked = replace(self.how, is_marked=self._is_marked)

        def check() -> None:
            self.job.children.check()
            if self.job.is_late():  # what is being made gets the time until the pause
                schedule.stop()

        schedule = Schedule(self._left(entries), self.how.by_id, self._size_of, check)
        how = replace(marked, in_parallel=True)

        def work(_: int) -> None:
            try:
                with sessions.borrow() as definitions:
                    while batch := schedule.take():
                        definitions.make(batch)
                        schedule.done(batch)
            except BaseException:
                schedule.stop()
                raise

        with SessionPool(lambda _: self._definitions(how, lasts=self._is_marked), self.job.streams) as sessions:
            for _ in self.job.runner(work, range(self.job.streams)):
                pass
        self.job.check_time()
        if postponed := self.ledger.take_postponed():
            with self._definitions(marked, lasts=self._is_marked) as definitions:
                definitions.make(postponed)
        self._refuse_if_strict()

    @property
    def _is_marked(self) -> bool:
        return self.memory is not None and self.memory.is_kept

    def _left(self, entries: Sequence[TocEntry]) -> list[TocEntry]:
        """Return the entries that no attempt has made, and know how the others were made."""
        said = self.memory.read(marks.MADE) if self.memory is not None else {}
        made = [entry for entry in entries if str(entry.dump_id) in said]
        if made:
            with self._definitions(self.how) as definitions:
                for entry in made:
                    definitions.take_up(entry, said[str(entry.dump_id)])
        return [entry for entry in entries if str(entry.dump_id) not in said]

    def grant(self, entries: Sequence[TocEntry], schemas: Sequence[TocEntry] = ()) -> None:
        """Set privileges, and the owners of schemas that exist, statement by statement."""
        granted: list[tuple[bytes, Callable[[str, str | None], None]]] = []
        refused: defaultdict[tuple[str, str], list[str]] = defaultdict(list)
        for entry in entries:
            if self.ledger.is_lost(entry):
                continue
            for statement in self.privileges.statements(entry):
                text = readable(statement, self.how.encoding)
                if self.fates.get(entry.dump_id) is Fate.OWN_GRANTS and self.privileges.is_providers(text):
                    continue
                if missing := self.privileges.missing_role(text):
                    if not text.startswith("REVOKE"):
                        refused[f" of {missing}", NO_ROLE].append(text)
                    continue
                granted.append((statement.encode("utf-8", "surrogateescape"), _into(refused, text)))
        for schema in schemas:
            statement = owner_of(schema).strip()
            if statement and self.privileges.may_give(schema.owner):
                granted.append((encoded(statement, self.how.encoding), self._owner_refused(schema)))
        with self._definitions(self.how) as definitions:
            for start in range(0, len(granted), 500):
                definitions.execute(granted[start : start + 500])
        for (whose, reason), statements in refused.items():
            self.report.leave_out(counted(len(statements), "privilege") + whose, reason, "\n".join(statements) + "\n")
            self.report.with_owners = False

    def _owner_refused(self, entry: TocEntry) -> Callable[[str, str | None], None]:
        return lambda reason, state: self.ledger.owners_refused.append(Refusal(entry, reason, state))

    @contextmanager
    def _definitions(self, how: Making, *, lasts: bool = False) -> Iterator[Definitions]:
        if self.session is not None:
            definitions = Definitions(self.session, self.ledger, how)
            yield definitions
            definitions.restore_session()
            return
        with loading_session(self.job, lasts=lasts) as session:
            definitions = Definitions(session, self.ledger, how)
            with session.cursor() as cursor:
                cursor.execute(_INDEX_MEMORY)
            session.commit()
            yield definitions

    def _refuse_if_strict(self) -> None:
        if self.job.scope.strict:
            for refusal in self.ledger.refusals:
                costs_rows = any(entry.description == "TABLE" for entry in refusal.needing)
                if (refusal.sqlstate is not None or costs_rows) and not is_extension_comment(refusal.entry):
                    raise refused_error(self.job, refusal)
            for refusal in self.ledger.not_valid:
                raise refused_error(self.job, refusal)


def _fates(job: RestoreJob, source: Source, destination: Destination) -> Mapping[int, Fate]:
    if not destination.given:
        return {}
    with loading_session(job) as session, session.cursor() as cursor:
        return fates(destination, source.toc, lambda entries: absent(cursor, entries, with_triggers=True))


def possible_tables(source: Source, lost: frozenset[int]) -> dict[TableName, TableContent]:
    """Return the tables whose definitions are not lost, by name."""
    oids = {entry.oid for entry in source.toc if entry.dump_id in lost and entry.description == "TABLE"}
    return {(table.schema_name, table.table_name): table for table in source.content.tables if table.oid not in oids}


def _into(refused: defaultdict[tuple[str, str], list[str]], statement: str) -> Callable[[str, str | None], None]:
    return lambda reason, _: refused["", reason].append(statement)


def _sizes(source: Source) -> dict[int, int]:
    by_oid = {table.oid: table.size for table in source.content.tables}
    return {entry.dump_id: by_oid.get(entry.oid, 0) for entry in source.toc if entry.description == "TABLE"}
