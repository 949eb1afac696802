"""Chosen tables as of a moment: what the journal has of them, and their staged rows brought to the moment."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Final

from psycopg2 import sql

from coffre.model.errors import RestoreError
from coffre.model.manifest import TableContent
from coffre.model.names import TableName, shown
from coffre.operations.restore_database.job import RestoreJob, Source
from coffre.operations.restore_database.journal_replay import (
    Followed,
    apply_journal,
    definitions_of,
    doubts,
    name_of,
    say_journal,
    say_not_followed,
)
from coffre.operations.restore_database.saved_steps import Memory
from coffre.operations.restore_database.sessions import loading_session
from coffre.operations.restore_database.staging import Staging
from coffre.policy.moments import Chosen
from coffre.postgres.destination import staging_schema
from coffre.postgres.destination.owners_code import owners_path
from coffre.postgres.destination.row_filter import condition
from coffre.postgres.destination.row_merge import Pair
from coffre.postgres.journal.definitions import BY_INDEX, Definitions, Table, read_definitions

_BOOLEAN: Final = "pg_catalog.bool"
_EMPTIED: Final = "emptied"


@dataclass(frozen=True)
class StagedMoment:
    """How staged tables are brought to a moment: their places in the staging schema, by the names in the backup.

    `apart` are partitions with a place of their own for as long as the journal is applied: a TRUNCATE may have emptied
    one of them alone, or what identifies their rows can find rows of another partition too.
    """

    chosen: Chosen[str]
    definitions: Definitions
    places: Mapping[TableName, TableName]
    apart: Mapping[TableName, TableName] = field(default_factory=dict)

    def gone_types(self, name: TableName) -> Mapping[str, str]:
        """Return the types of columns that a table in use may not have any more.

        Anything can be compared as a text but a boolean, of which a backup and a journal have different texts.
        """
        table = self.definitions.tables.get(name)
        columns = table.columns if table is not None else ()
        return {column.name: column.type_name for column in columns if column.type_name == _BOOLEAN}

    def index(self, memory: Memory) -> None:
        """Let rows be found by what the journal has of them. The index goes when the journal is applied."""
        with (
            memory.report.phase("journal"),
            loading_session(memory.job, lasts=memory.is_kept) as session,
            session.cursor() as cursor,
        ):
            for name, keys in self._keys().items():
                memory.job.check_time()
                staging_schema.add_finder(cursor, name, keys)
                session.commit()

    def replay(self, memory: Memory) -> None:
        """Apply the journal up to the moment."""
        with memory.report.phase("journal"):
            followed = Followed(self.places.keys(), self._relocated(memory.job), is_part=True, name="staged")
            apply_journal(memory.job, self.chosen, followed, (), memory.report)

    def gather(self, memory: Memory, whole: Mapping[TableName, TableName]) -> None:
        """Bring the rows of partitions that were apart into the place of their table, each in one transaction."""
        with memory.report.phase("journal"), loading_session(memory.job) as session, session.cursor() as cursor:
            for name, place in self.apart.items():
                memory.job.check_time()
                with owners_path(cursor):
                    staging_schema.move_rows(cursor, place, whole[name])
                session.commit()

    def choose_rows(self, memory: Memory, pairs: Iterable[Pair]) -> None:
        """Remove the rows that were not asked for: which they are is known now."""
        rows = memory.job.scope.rows
        with loading_session(memory.job) as session, session.cursor() as cursor:
            for name, keys in self._keys().items():
                staging_schema.drop_finder(cursor, name, keys)
            session.commit()
            if rows is None:
                return
            for pair in pairs:
                with owners_path(cursor):
                    statement = sql.SQL("DELETE FROM ONLY {} WHERE {} IS NOT TRUE")
                    cursor.execute(statement.format(sql.Identifier(*pair.side), condition(rows)))
                session.commit()

    def _keys(self) -> dict[TableName, list[tuple[str, ...]]]:
        """Return the keys by which rows are found, of each table here."""
        found = dict[TableName, list[tuple[str, ...]]]()
        for name, place in self.places.items():
            table = self.definitions.tables.get(name)
            if table is not None and table.key and table.key not in found.setdefault(place, []):
                found[place].append(table.key)
        return found

    def _relocated(self, job: RestoreJob) -> dict[TableName, Table]:
        with loading_session(job) as session:
            here = read_definitions(session).tables
        made = ((name, place) for name, place in self.places.items() if name in self.definitions.tables)
        return together({name: relocated(self.definitions.tables[name], here[place]) for name, place in made})


def together(moved: Mapping[TableName, Table]) -> dict[TableName, Table]:
    """Return partitions whose rows have the same form as one table."""
    known = dict[Table, Table]()
    return {name: known.setdefault(table, table) for name, table in moved.items()}


def relocated(table: Table, here: Table) -> Table:
    """Return a table of the source as it is here: its rows, in another table's columns."""
    ours = {column.name: column for column in here.columns}
    columns = [ours.get(column.name, column) for column in table.columns]
    return replace(
        here,
        replica_identity=table.replica_identity,
        key=table.key,
        columns=tuple(sorted((replace(one, number=0, version=0) for one in columns), key=lambda one: one.name)),
    )


def plan_moment(
    memory: Memory, source: Source, created: Sequence[TableContent], staging: Staging
) -> StagedMoment | None:
    """Return how staged tables are brought to the moment that was asked for, and say it; None: it is the backup's.

    Which partitions are apart is what the first attempt has found: records can be deleted since.

    Parameters
    ----------
    created
        The tables that are created again.

    Raises
    ------
    RestoreError
        `JOURNAL_TABLES`: tables in use would be changed, and the journal does not have the changes of one.
    CoffreError
        For the reason that the definitions of the journal cannot be read.
    """
    if source.chosen is None:
        return None
    job, report = memory.job, memory.report
    definitions, loads = definitions_of(job, source.chosen), staging.loads
    lacking = [table for table in created if name_of(table) not in definitions.tables]
    lacking += [table for table in loads.values() if not _is_followed(definitions, table)]
    if lacking and job.scope.touches:
        names = ", ".join(shown(*name_of(table)) for table in lacking[:3])
        raise RestoreError(
            f"The journal has no changes of {names}: unlogged tables are not in it, nor are those that have a generated"
            " column in their key.",
            code="JOURNAL_TABLES",
            hint="Nothing was changed. Leave these tables out, or restore them without --at as they are in the backup.",
        )
    say_journal(source.chosen, report)
    report.notes += doubts(job, source)
    say_not_followed(source.chosen, lacking, report)
    pairs = staging.pairs(job)
    emptied = [] if memory.is_resumed else sorted(source.chosen.emptied & loads.keys())
    found = {(schema, name) for schema, name in memory.facts.setdefault(_EMPTIED, emptied)}
    staged, apart = staging.places(pairs), _apart(definitions, staging, pairs, found)
    places = {name: place for name, place in (staged | apart).items() if _is_followed(definitions, loads[name])}
    return StagedMoment(source.chosen, definitions, places, apart)


def _apart(
    definitions: Definitions, staging: Staging, pairs: Iterable[Pair], emptied: Collection[TableName]
) -> dict[TableName, TableName]:
    """Return places for partitions that may be emptied, or whose rows an index finds that need not have their key."""
    pairs, found = list(pairs), dict[TableName, TableName]()
    taken = {place for pair in pairs for place in (pair.side, pair.before)}
    for pair in pairs:
        parts = staging.parts(pair.live.name)
        for name in sorted(parts) if len(parts) > 1 else ():
            table, number = definitions.tables.get(name), 1
            if table is not None and (name in emptied or table.replica_identity == BY_INDEX):
                while (place := (pair.side[0], staging_schema.shortened(pair.side[1], f"_part_{number}"))) in taken:
                    number += 1
                taken.add(place)
                found[name] = place
    return found


def _is_followed(definitions: Definitions, content: TableContent) -> bool:
    """Return whether the journal can change staged rows of a table: they have no generated columns."""
    table = definitions.tables.get(name_of(content))
    return table is not None and set(table.key) <= set(content.columns)
