"""Chosen tables of a table of contents, as something that loads into an empty database."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Final

from coffre.postgres.archive.dependencies import parts_of
from coffre.postgres.archive.reader import TocEntry

_RELATIONS: Final = frozenset({"TABLE", "VIEW", "MATERIALIZED VIEW", "FOREIGN TABLE"})
_ABOUT: Final = frozenset({"ACL", "COMMENT", "SECURITY LABEL"})
_ALWAYS: Final = frozenset({"ENCODING", "STDSTRINGS", "SEARCHPATH", "DATABASE"})


def excerpt(entries: Sequence[TocEntry], tables: Sequence[TocEntry]) -> tuple[list[TocEntry], list[TocEntry]]:
    """Return the entries of chosen tables, in order, and those of their parts that stay away.

    What the tables and their parts need (types, functions, sequences, extensions) comes along, with its rights and
    comments. A part that needs another table, view, or publication stays away.
    """
    by_id = {entry.dump_id: entry for entry in entries}
    selected = {entry.dump_id for entry in entries if entry.description in _ALWAYS}
    for table in tables:
        selected |= _needs(by_id, table.dump_id)
    allowed = frozenset(selected)
    left_out = []
    for part in parts_of(entries, tables):
        needs = _needs(by_id, part.dump_id)
        others = [need for need in needs - allowed if by_id[need].description in _RELATIONS]
        if part.description == "PUBLICATION TABLE" or others:
            left_out.append(part)
        else:
            selected |= needs
    gone = {entry.dump_id for entry in left_out}
    for entry in entries:
        if entry.description in _ABOUT and entry.dump_id not in gone and not selected.isdisjoint(entry.dependencies):
            selected.add(entry.dump_id)
    return [entry for entry in entries if entry.dump_id in selected], left_out


def _needs(by_id: Mapping[int, TocEntry], dump_id: int) -> set[int]:
    """Return an entry with all that it needs, directly or not."""
    found: set[int] = set()
    waiting = [dump_id]
    while waiting:
        entry = by_id.get(waiting.pop())
        if entry is not None and entry.dump_id not in found:
            found.add(entry.dump_id)
            waiting += entry.dependencies
    return found
