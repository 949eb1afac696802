"""What a replay knows of the source of its changes, and which table here each of them is of."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from coffre.model.errors import JournalError
from coffre.model.names import TableName, shown
from coffre.postgres.journal.changes import Truncate
from coffre.postgres.journal.definitions import Definitions, Table
from coffre.postgres.journal.transactions import BaseSnapshot


@dataclass(frozen=True)
class Source:
    """What is known of the source: what the base has seen, and the definitions that all changes fit.

    Parameters
    ----------
    without
        Changes of these tables are left out: they do not have the rows of the base.
    places
        Tables that have another name here. Those of several can be in one table.
    is_part
        The database has tables of others, which no statement may change.
    """

    base: BaseSnapshot
    definitions: Definitions
    without: frozenset[TableName] = frozenset()
    places: Mapping[TableName, Table] = field(default_factory=dict)
    is_part: bool = False

    @property
    def followed(self) -> list[Table]:
        """The tables here that changes can be of."""
        tables = self.definitions.tables.items()
        return [self.places.get(name, table) for name, table in tables if name not in self.without]

    @property
    def changed(self) -> set[TableName]:
        """Their names."""
        return {table.name for table in self.followed}

    def table(self, name: TableName) -> Table | None:
        """Return the table here that a change of this one is made to; None: it is left out.

        Raises
        ------
        JournalError
            `JOURNAL_UNKNOWN_TABLE`
        """
        if name in self.without or name in self.definitions.views:
            return None
        table = self.places.get(name) or self.definitions.tables.get(name)
        if table is None:
            raise JournalError(
                f"The journal has changes of the table {shown(*name)}, which the base does not have.",
                code="JOURNAL_UNKNOWN_TABLE",
                hint="It was created, renamed or dropped since. Choose a moment before that, or a later backup.",
            )
        return table

    def emptied(self, change: Truncate) -> list[Table]:
        """Return the tables here that a TRUNCATE empties.

        Raises
        ------
        JournalError
            `JOURNAL_UNKNOWN_TABLE`. `JOURNAL_PARTITIONS`: it has emptied some of the partitions that lie in one table.
        """
        found = [table for name in change.tables if (table := self.table(name)) is not None]
        shared = {table.name for table in found}
        kept = [name for name, place in self.places.items() if place.name in shared and name not in change.tables]
        if kept:
            raise JournalError(
                f"The journal has a TRUNCATE of some partitions, and not of {shown(*min(kept))}. Here their rows are in"
                " one table, because no record of the journal has said that one of them was emptied.",
                code="JOURNAL_PARTITIONS",
                hint="Restore all of this moment into a new database, and copy the table from there: coffre restore"
                " database latest --target TARGET --to ADDRESS, with the same --at. Or choose an earlier moment.",
            )
        return list({table.name: table for table in found}.values())
