"""How definitions are made, where that differs between restores."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

from coffre.postgres.archive.reader import TocEntry
from coffre.postgres.destination import marks


@dataclass(frozen=True)
class Making:
    """How definitions are made.

    Parameters
    ----------
    by_id
        All entries of the archive.
    encoding
        The source's.
    may_give
        Whether the restoring role can give an object to a role.
    paths
        The `search_path`s that the source may have made an entry's object with, the likeliest first.
    in_parallel
        Other sessions of ours make definitions too: what meets them is postponed.
    is_nested
        The session's transaction is the caller's: neither committed nor rolled back.
    reduces_tables
        A table is made without the parts that the server refuses.
    is_marked
        What was made is marked, in the transaction that makes it.
    marks_schema
        Where its mark goes.
    """

    by_id: Mapping[int, TocEntry]
    encoding: str
    may_give: Callable[[str], bool]
    paths: Callable[[TocEntry], Sequence[str]]
    in_parallel: bool = False
    is_nested: bool = False
    reduces_tables: bool = True
    is_marked: bool = False
    marks_schema: str = marks.SCHEMA
