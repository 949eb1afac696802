"""What points at tables that a backup of chosen tables does not have: keys, and partitions of a parent."""

from __future__ import annotations

import re
from collections.abc import Iterable
from typing import Final

from coffre.model.names import shown
from coffre.postgres.archive.entry_sql import readable
from coffre.postgres.archive.reader import TocEntry

_NAME: Final = r'("(?:[^"]|"")+"|[^\s."(]+)'
# Whatever stands before a name can hold quoted names that look alike: quotes are taken in pairs.
_TEXT: Final = r'(?:"(?:[^"]|"")*"|[^"])*?'
_COLUMNS: Final = r'\((?:"(?:[^"]|"")*"|[^")])*\)'
# As pg_dump writes them.
_POINTS_AT: Final = {
    "FK CONSTRAINT": re.compile(rf"{_TEXT} FOREIGN KEY {_COLUMNS} REFERENCES {_NAME}\.{_NAME}\("),
    "TABLE ATTACH": re.compile(rf"ALTER TABLE ONLY {_NAME}\.{_NAME} ATTACH PARTITION "),
    "INDEX ATTACH": re.compile(rf"ALTER INDEX {_NAME}\.{_NAME} ATTACH PARTITION "),
}

type Names = frozenset[tuple[str | None, str]]


def relations(entries: Iterable[TocEntry]) -> Names:
    """Return the names of tables and indexes in a table of contents, each with its schema."""
    found: set[tuple[str | None, str]] = set()
    for entry in entries:
        if entry.description in ("TABLE", "INDEX"):
            found.add((entry.schema, entry.tag))
        elif (
            entry.description == "CONSTRAINT"
        ):  # the tag is the table's name and the constraint's, with a blank between
            words = entry.tag.split(" ")
            found |= {(entry.schema, " ".join(words[start:])) for start in range(1, len(words))}
    return frozenset(found)


def missing_relation(entry: TocEntry, there: Names, encoding: str | None = None) -> str | None:
    """Return the name of the table or index that an entry points at and that is not there; None when it is.

    `pg_dump` writes a key of a chosen table whether the table that it references is chosen or not. Definitions are in
    the source's `encoding`; without one, the names to look among are as they are.
    """
    pattern = _POINTS_AT.get(entry.description)
    definition = readable(entry.definition, encoding) if encoding else entry.definition
    found = pattern.match(definition) if pattern else None
    if found is None:
        return None
    name = (_unquoted(found[1]), _unquoted(found[2]))
    return None if name in there else shown(*name)


def _unquoted(name: str) -> str:
    return name[1:-1].replace('""', '"') if name.startswith('"') else name
