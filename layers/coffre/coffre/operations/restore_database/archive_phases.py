"""The entries of an archive by when they are made."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from coffre.postgres.archive.entry_sql import (
    ACL,
)
from coffre.postgres.archive.reader import Section, TocEntry
from coffre.postgres.archive.toc import is_event_trigger, is_of_database
from coffre.postgres.destination.definitions import SESSION


@dataclass(frozen=True)
class Phases:
    """The entries of an archive by when they are made, each in the archive's order.

    `identities` find the rows that a journal changes; without one they are made with `after_rows`.
    """

    before_rows: Sequence[TocEntry]
    identities: Sequence[TocEntry]
    after_rows: Sequence[TocEntry]
    privileges: Sequence[TocEntry]
    event_triggers: Sequence[TocEntry]


def phases_of(entries: Iterable[TocEntry], *, has_journal: bool = False) -> Phases:
    """Divide entries as `pg_restore` does: what has no section of its own belongs to that of the entry before it."""
    before, identities, after = list[TocEntry](), list[TocEntry](), list[TocEntry]()
    privileges, triggers = list[TocEntry](), list[TocEntry]()
    section = Section.PRE_DATA
    for entry in entries:
        if entry.section is not Section.NONE:
            section = entry.section
        if entry.description in (*SESSION, "DATABASE") or is_of_database(entry):
            continue
        if entry.description in ACL:
            privileges.append(entry)
        elif is_event_trigger(entry):
            triggers.append(entry)
        elif section is Section.PRE_DATA:
            before.append(entry)
        elif section is Section.POST_DATA:
            (identities if has_journal and _is_identity(entry) else after).append(entry)
    return Phases(before, identities, after, privileges, triggers)


def _is_identity(entry: TocEntry) -> bool:
    """Return whether an entry is what a table's rows are found by. To take another index for it does no harm."""
    if entry.description not in ("CONSTRAINT", "INDEX"):
        return False
    return "PRIMARY KEY" in entry.definition or "REPLICA IDENTITY" in entry.definition
