"""Which chosen tables are restored, and how: a decision over facts that were read before, without a server."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Final

from coffre.model.errors import EventError
from coffre.model.manifest import TableContent
from coffre.model.names import TableName, shown
from coffre.model.restore import Scope
from coffre.operations.restore_database.dropped_dependents import (
    DroppedDependents,
    decide_dropped_dependents,
    dependents_of,
    spoken,
)
from coffre.operations.restore_database.job import Source
from coffre.policy.patterns import chosen
from coffre.postgres.archive.dependencies import needed_by, needing, parts_of, with_partitions
from coffre.postgres.archive.reader import TocEntry

# Keys to tables, and places in publications and partitioned tables: a table can be without them.
_OPTIONAL: Final = frozenset({"FK CONSTRAINT", "PUBLICATION TABLE", "TABLE ATTACH"})
_HOMES: Final = frozenset({"TABLE", "FOREIGN TABLE", "PUBLICATION"})


@dataclass(frozen=True)
class Chosen:
    """A table that was asked for: its rows in the backup (none of a partitioned table itself), and its definition."""

    name: TableName
    content: TableContent | None
    entry: TocEntry | None


@dataclass(frozen=True)
class TablesPlan:
    """How each chosen table is restored, and what is created with the tables that do not exist.

    Parameters
    ----------
    staged
        Existing tables whose rows in the backup are loaded into the staging schema.
    left_as_they_are
        Why other existing tables are not touched, in sentences.
    tables
        Tables that do not exist: they are created again.
    dependencies, lacking
        What these tables need and the database does not have: what is created for them, and what was not asked for.
        With anything `lacking`, nothing can be restored.
    lines, followers
        Entries that create the tables with their dependencies; and those that come last, each by itself: keys, and
        what was dropped with the tables.
    attachments
        Entries by which tables join existing partitioned tables. They are in neither `lines` nor `followers`.
    wanted, known
        The dump ids of all entries that are restored; and of these with what is left out for a reason that was given.
    dropped
        What was dropped with the tables.
    exceptions
        What is left out of the tables that are created again, in sentences.
    """

    staged: Mapping[TableName, TableContent]
    left_as_they_are: Sequence[str]
    tables: Sequence[Chosen]
    dependencies: Sequence[TocEntry]
    lacking: Sequence[TocEntry]
    lines: Sequence[TocEntry]
    followers: Sequence[TocEntry]
    attachments: Sequence[TocEntry]
    wanted: frozenset[int]
    known: frozenset[int]
    dropped: DroppedDependents
    exceptions: Sequence[str]

    def only(self, entries: Collection[TocEntry]) -> TablesPlan:
        """Return the plan without the lines and followers that are not among the entries."""
        ids = {entry.dump_id for entry in entries}
        return replace(
            self,
            lines=[line for line in self.lines if line.dump_id in ids],
            followers=[line for line in self.followers if line.dump_id in ids],
        )


def choose_tables(source: Source, scope: Scope) -> list[Chosen]:
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
    try:
        found = chosen(candidates, lambda table: table.name, scope.tables, scope.schemas)
    except EventError as error:
        if source.chosen is not None:
            error.add_note("Names are those of the moment: a table may have had another one then, or not have existed.")
        raise
    whole = with_partitions(source.toc, [table.entry for table in found if table.entry])
    ids = {entry.dump_id for entry in whole}
    names = {table.name for table in found}
    return [
        table
        for table in sorted(candidates, key=lambda table: table.name)
        if table.name in names or (table.entry and table.entry.dump_id in ids)
    ]


def to_look_up(
    toc: Sequence[TocEntry], tables: Sequence[Chosen], live: Collection[TableName], *, with_dependencies: bool
) -> list[TocEntry]:
    """Return the entries of which `plan_tables` has to know whether the database has them."""
    missing = _definitions(tables, live)
    parts = parts_of(toc, missing)
    own = {part.dump_id for part in parts}
    dependents = [entry for entry in dependents_of(toc, missing) if entry.dump_id not in own]
    needed = needed_by(toc, [*parts, *dependents] if with_dependencies else parts)
    ids = {entry.dump_id for entry in (*dependents, *needed)}
    return [entry for entry in toc if entry.dump_id in ids]


def plan_tables(
    toc: Sequence[TocEntry],
    tables: Sequence[Chosen],
    live: Collection[TableName],
    absent: Collection[int],
    *,
    with_dependencies: bool,
) -> TablesPlan:
    """Decide how each chosen table is restored.

    `live` are the names of those that exist; `absent` the dump ids of entries of `to_look_up` that the database lacks.
    `with_dependencies`: what the tables need, and what was dropped with them, is restored too.
    """
    missing = _definitions(tables, live)
    parts, homeless = _without_homeless(toc, parts_of(toc, missing), absent)
    needed = needed_by(toc, parts)
    lacking = [entry for entry in needed if entry.dump_id in absent]
    dependencies = [entry for entry in lacking if with_dependencies or entry.description == "SCHEMA"]
    own = _ids(parts) | _ids(parts_of(toc, dependencies))
    known = own | _ids(homeless)
    dropped = decide_dropped_dependents(toc, missing, known, absent, back=with_dependencies)
    restored = _ids(parts_of(toc, dropped.back)) - own
    wanted = own | restored
    joins = _joins(parts, _ids(needed))
    late = restored | _ids(needing(parts, [part for part in parts if part.description == "FK CONSTRAINT"]))
    return TablesPlan(
        staged=_staged(tables, live),
        left_as_they_are=_left_as_they_are(tables, live),
        tables=[table for table in tables if table.name not in live],
        dependencies=dependencies,
        lacking=[entry for entry in lacking if entry not in dependencies],
        lines=[entry for entry in toc if entry.dump_id in wanted - joins - late],
        followers=[entry for entry in toc if entry.dump_id in wanted & late],
        attachments=[part for part in parts if part.dump_id in joins and part.description == "TABLE ATTACH"],
        wanted=frozenset(wanted),
        known=frozenset(known | restored | _ids(dropped.lost)),
        dropped=dropped,
        exceptions=[*map(_why_not_restored, homeless), *dropped.exceptions],
    )


def _why_not_restored(part: TocEntry) -> str:
    return f"Not restored, because what it points at is not there: {spoken(part)}."


def _ids(entries: Collection[TocEntry]) -> set[int]:
    return {entry.dump_id for entry in entries}


def _definitions(tables: Sequence[Chosen], live: Collection[TableName]) -> list[TocEntry]:
    return [table.entry for table in tables if table.entry and table.name not in live]


def _staged(tables: Sequence[Chosen], live: Collection[TableName]) -> dict[TableName, TableContent]:
    """Return the existing tables of which the backup has all rows."""
    return {
        table.name: table.content
        for table in tables
        if table.name in live and table.content and _why_left(table.content) is None
    }


def _left_as_they_are(tables: Sequence[Chosen], live: Collection[TableName]) -> list[str]:
    return [
        f"{shown(*table.name)} is left as it is: {why}."
        for table in tables
        if table.name in live and table.content and (why := _why_left(table.content)) is not None
    ]


def _why_left(table: TableContent) -> str | None:
    if table.rows_excluded:
        return "the backup has no rows of it, the configuration leaves them out"
    if table.of_extension and not table.is_member:
        return "it belongs to an extension, which has rows of its own there"
    return None


def _without_homeless(
    toc: Sequence[TocEntry], parts: Sequence[TocEntry], absent: Collection[int]
) -> tuple[list[TocEntry], list[TocEntry]]:
    """Divide the parts of tables: those that are restored, and optional ones that need a table that does not exist."""
    homes = [entry for entry in needed_by(toc, parts) if entry.dump_id in absent and entry.description in _HOMES]
    optional = {entry.dump_id for entry in needing(toc, homes) if entry.description in _OPTIONAL}
    homeless = [part for part in parts if part.dump_id in optional]
    return [part for part in parts if part.dump_id not in optional], homeless


def _joins(parts: Sequence[TocEntry], needed: Collection[int]) -> set[int]:
    """Return what attaches to existing partitioned tables (dump ids): tables join last, and take indexes along."""
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
