"""What the salvage of a table is given: how to load it again, and what may be done to it."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from typing import Any, Protocol

import psycopg2
import psycopg2.errors
import psycopg2.extensions

from coffre.model.names import TableName
from coffre.operations.restore_database.refused_rows import (
    DamagedSlices,
)
from coffre.postgres.destination.loosening import Loosened

type Cursor = psycopg2.extensions.cursor

type Step = Callable[[Cursor, TableName], list[Loosened]]


class Reloading(Protocol):
    """What is needed of who loads tables."""

    def reload(
        self,
        session: psycopg2.extensions.connection,
        name: TableName,
        before: Callable[[Cursor], None],
        after: Callable[[Cursor], None],
    ) -> None:
        """Load all rows of a table in one transaction, with steps before and after its rows, or raise."""

    def place(self, name: TableName) -> TableName:
        """Return where the rows of a table go."""

    def clear(self, session: psycopg2.extensions.connection, name: TableName) -> None:
        """Empty a table of the rows that were loaded."""

    def leave_damage_out(self, name: TableName) -> DamagedSlices | None:
        """Give up the damaged slices of a table, so that the others can be loaded; None when none is intact."""

    def transaction(self, session: psycopg2.extensions.connection) -> AbstractContextManager[None]:
        """Run a block that leaves nothing when it fails."""

    def note(self, cursor: Cursor, name: TableName, said: Mapping[str, object]) -> None:
        """Keep in the open transaction what is to be reported about a table."""

    def noted(self) -> dict[TableName, dict[str, Any]]:
        """Return what earlier attempts of the restore have kept."""


@dataclass(frozen=True)
class SalvageRules:
    """What salvage may do.

    Parameters
    ----------
    search_paths
        Returns the `search_path`s of the source for a table, the likeliest first.
    may_loosen
        Whether the tables are the restore's own, so that their constraints can be dropped for a moment.
    is_alone
        Whether everything in the database is, so that this goes for domains and for parents of tables too.
    is_strict
        Whether only the ways are taken that lose nothing: what they do not load is raised.
    leaves_damage_out
        Whether a table whose bytes are damaged stays empty; else the damage is raised.
    with_rows
        The names of all tables that have rows.
    """

    search_paths: Callable[[TableName], Sequence[str]]
    may_loosen: bool
    is_alone: bool
    is_strict: bool
    leaves_damage_out: bool
    with_rows: frozenset[TableName]
