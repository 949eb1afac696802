"""What the salvage of a table may do to it."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import psycopg2
import psycopg2.errors
import psycopg2.extensions

from coffre.model.names import TableName
from coffre.postgres.destination.loosening import Loosened

type Cursor = psycopg2.extensions.cursor

type Step = Callable[[Cursor, TableName], list[Loosened]]


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
