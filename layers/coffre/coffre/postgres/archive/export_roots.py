"""Through which root the rows of a partition are loaded from an export, which meets a server that is not known yet."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from typing import Final

from coffre.model.manifest import TableContent
from coffre.postgres.archive.data_entries import Names
from coffre.postgres.archive.dependencies import with_partitions
from coffre.postgres.archive.reader import TocEntry

_BY_HASH: Final = re.compile(r"\bPARTITION BY HASH\b")

type _Name = tuple[str | None, str]


class Roots:
    """The partitioned tables of a table of contents.

    Parameters
    ----------
    entries
        What will be exported.
    knows_roots
        Whether the backup says which rows go through a root. Of one that does not, all rows of partitions do: that is
        right for each of them, and slower for most.
    """

    def __init__(self, entries: Sequence[TocEntry], names: Names, *, knows_roots: bool) -> None:
        self._entries = entries
        self._ids = {entry.dump_id for entry in entries}
        self._names = names
        self._knows_roots = knows_roots
        self._tables = {(entry.schema, entry.tag): entry for entry in entries if entry.description == "TABLE"}
        by_id = {entry.dump_id: entry for entry in entries if entry.description in ("TABLE", "FOREIGN TABLE")}
        self._parents: dict[_Name, TocEntry] = {}
        for entry in entries:
            if entry.description == "TABLE ATTACH":
                related = [by_id[needed] for needed in entry.dependencies if needed in by_id]
                for parent in related:
                    if (parent.schema, parent.tag) != (entry.schema, entry.tag):
                        self._parents[entry.schema, entry.tag] = parent
        foreign = [entry for entry in entries if entry.description == "FOREIGN TABLE"]
        self._with_foreign = {root.dump_id for entry in foreign if (root := self._root_of(entry))}

    def of(self, table: TableContent) -> TocEntry | None:
        """Return the root through which the rows of a table go; None: they go into the table itself."""
        name = self._names.archived(table.schema_name), self._names.archived(table.table_name)
        if name not in self._tables or (self._knows_roots and table.through is None):
            return None
        root = self._root_of(self._tables[name])
        # What a root passes on to a foreign table would leave for another server.
        return None if root is None or root.dump_id in self._with_foreign else root

    def without_siblings(self, tables: Iterable[TableContent], whole: Sequence[TocEntry]) -> set[int]:
        """Return what attaches partitions (dump ids) whose rows may belong into others, which are not exported.

        Parameters
        ----------
        tables
            What was chosen.
        whole
            All that the backup has.
        """
        lonely: set[int] = set()
        for table in tables:
            root = self.of(table)
            siblings = {entry.dump_id for entry in with_partitions(whole, [root])} if root else set()
            if root and not siblings <= self._ids and (table.through or _BY_HASH.search(root.definition)):
                name = self._names.archived(table.schema_name), self._names.archived(table.table_name)
                lonely.add(self._tables[name].dump_id)
        indexes = {
            entry.dump_id
            for entry in self._entries
            if entry.description in ("INDEX", "CONSTRAINT") and lonely.intersection(entry.dependencies)
        }
        return {
            entry.dump_id
            for entry in self._entries
            if (entry.description == "TABLE ATTACH" and self._tables_id(entry) in lonely)
            or (entry.description == "INDEX ATTACH" and indexes.intersection(entry.dependencies))
        }

    def _tables_id(self, attach: TocEntry) -> int | None:
        child = self._tables.get((attach.schema, attach.tag))
        return child.dump_id if child else None

    def _root_of(self, table: TocEntry) -> TocEntry | None:
        root = None
        while (table.schema, table.tag) in self._parents:
            root = table = self._parents[table.schema, table.tag]
        return root
