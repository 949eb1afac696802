"""What of a backup a drill restores at a time: all of it that an ordinary role can have, in groups that fit the disk.

A drill's role is no superuser: someone who could forge a backup must not get a program run where the private key is.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator, Sequence
from dataclasses import replace
from typing import Final

from coffre.model.manifest import DatabaseContent, TableContent
from coffre.operations.restore_database.archive_phases import phases_of
from coffre.operations.restore_database.job import Source
from coffre.postgres.archive.dependencies import needing
from coffre.postgres.archive.reader import Section, TocEntry

# Rows come back with a header of 28 bytes and padding, and keys; other indexes are guessed at: about as much again.
_BYTES_A_ROW: Final = 64
_BYTES_A_BYTE: Final = 2
# A drill must not call other servers.
_OF_OTHER_SERVERS: Final = frozenset({"FOREIGN DATA WRAPPER", "SERVER", "SUBSCRIPTION", "USER MAPPING"})
_ELSEWHERE: Final = "a drill reaches no other server"
_NO_LOCALE: Final = "the scratch server does not have its locale"
_NAMES_SHOWN: Final = 20


def for_drill(source: Source, impossible: Collection[TocEntry] = ()) -> tuple[Source, list[str]]:
    """Return the backup without what leads to other servers, and a sentence for each.

    What the drill's role may not make is found out like in any restore: by trying. `impossible` are collations that the
    server cannot make.
    """
    lost: set[int] = set()
    sentences = []
    for entry in source.toc:
        reason = _NO_LOCALE if entry in impossible else _ELSEWHERE if entry.description in _OF_OTHER_SERVERS else None
        if reason is not None and entry.dump_id not in lost:
            found = needing(source.toc, [entry])
            lost |= {one.dump_id for one in found}
            sentences.append(f"Not restored: {entry.shown}: {reason}{_with(found, entry)}.")
    gone = [table for table in source.content.tables if table.oid in _oids(source, lost)]
    tables = tuple(table for table in source.content.tables if table not in gone)
    toc = tuple(entry for entry in source.toc if entry.dump_id not in lost)
    return _with_content(replace(source, toc=toc), tables=tables), sentences


def _oids(source: Source, lost: Collection[int]) -> set[int]:
    """Return the oids of tables by the dump ids of their entries."""
    return {entry.oid for entry in source.toc if entry.dump_id in lost and entry.description == "TABLE"}


def _with(found: Sequence[TocEntry], root: TocEntry) -> str:
    names = [one.shown for one in found if one.section is Section.PRE_DATA and one != root]
    if not names:
        return ""
    more = f", and {len(names) - _NAMES_SHOWN} more" if len(names) > _NAMES_SHOWN else ""
    return f"; nor what needs it: {'; '.join(names[:_NAMES_SHOWN])}{more}"


def estimated_bytes(table: TableContent) -> int:
    """Return what a table is going to take with its indexes, generously."""
    return _BYTES_A_BYTE * table.size + _BYTES_A_ROW * table.rows


def groups_of(content: DatabaseContent, budget_bytes: float) -> list[list[TableContent]]:
    """Divide the tables into groups that fit, in their order; a table that alone is too large is a group of its own."""
    groups: list[list[TableContent]] = [[]]
    used = 0
    for table in content.tables:
        needed = estimated_bytes(table)
        if groups[-1] and used + needed > budget_bytes:
            groups.append([])
            used = 0
        groups[-1].append(table)
        used += needed
    return groups


def part_of(source: Source, group: Iterable[TableContent], *, is_whole: bool) -> Source:
    """Return the backup with the rows of one group of tables, and all definitions.

    Unless the group is the whole, foreign keys to tables of other groups are left out, and materialized views stay as
    they are: what they read is not there.
    """
    tables = tuple(group)
    if is_whole:
        return _with_content(source, tables=tables)
    possible = {entry.dump_id for entry in source.toc if not _is_key(entry)} | keys_within(source, tables)
    toc = tuple(entry for entry in source.toc if entry.dump_id in possible)
    return _with_content(replace(source, toc=toc), tables=tables, views=False)


def rows_alone(source: Source, group: Iterable[TableContent]) -> Source:
    """Return the backup with the rows of some tables, and nothing that is made after the journal is applied to them."""
    phases = phases_of(source.toc, has_journal=True)
    later = {entry.dump_id for entry in (*phases.after_rows, *phases.privileges, *phases.event_triggers)}
    toc = tuple(entry for entry in source.toc if entry.dump_id not in later)
    return _with_content(replace(source, toc=toc, large_objects=None), tables=tuple(group), views=False)


def keys_within(source: Source, group: Collection[TableContent]) -> set[int]:
    """Return the foreign keys (dump ids) all of whose tables have their rows in a group of tables.

    Rows of a partitioned table are in its partitions: a key from or to one counts as reaching out.
    """
    here = {table.oid for table in group} | {table.oid for table in source.content.tables if not table.rows}
    tables = {entry.dump_id: entry.oid for entry in source.toc if entry.description == "TABLE"}
    by_id = {entry.dump_id: entry for entry in source.toc}

    def involved(key: TocEntry) -> Iterator[int]:
        for needed in key.dependencies:
            if needed in tables:
                yield tables[needed]
            elif needed in by_id:  # the constraint or index of the other table
                yield from (tables[one] for one in by_id[needed].dependencies if one in tables)

    return {entry.dump_id for entry in source.toc if _is_key(entry) and set(involved(entry)) <= here}


def keys_never_checked(source: Source, groups: Sequence[Collection[TableContent]]) -> list[str]:
    """Return a sentence for each foreign key that no group could check."""
    checked: set[int] = set()
    for group in groups:
        checked |= keys_within(source, group)
    return [
        f"Not checked: {entry.shown}: its tables were restored in different groups."
        for entry in source.toc
        if _is_key(entry) and entry.dump_id not in checked
    ]


def _is_key(entry: TocEntry) -> bool:
    return entry.description == "FK CONSTRAINT"


def _with_content(source: Source, *, tables: tuple[TableContent, ...], views: bool = True) -> Source:
    changes: dict[str, object] = {"tables": tables, **({} if views else {"materialized_views": ()})}
    content = source.content.model_copy(update=changes)
    return replace(source, manifest=source.manifest.model_copy(update={"content": content}))
