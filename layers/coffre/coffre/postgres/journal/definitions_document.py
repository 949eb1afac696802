"""The definitions of a journal as a document of the vault (docs/format/v1.md)."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Final

from pydantic import TypeAdapter, ValidationError

from coffre.model.errors import JournalError
from coffre.model.names import TableName
from coffre.postgres.journal.definitions import Definitions, Table, UserType

_FORMAT: Final = 1
_NAME: Final = r'(?:[a-z_][a-z0-9_]*|"(?:[^"\x00]|"")+")'
_TYPE_NAME: Final = re.compile(rf"{_NAME}\.{_NAME}")


@dataclass(frozen=True)
class _Document:
    format: int
    tables: tuple[Table, ...]
    views: tuple[TableName, ...]
    types: tuple[tuple[TableName, UserType], ...]


_DOCUMENT: Final = TypeAdapter(_Document)


def definitions_document(definitions: Definitions) -> bytes:
    """Return definitions as JSON."""
    tables = tuple(table for _, table in sorted(definitions.tables.items()))
    document = _Document(_FORMAT, tables, tuple(sorted(definitions.views)), tuple(sorted(definitions.types.items())))
    return _DOCUMENT.dump_json(document)


def parse_definitions(document: bytes) -> Definitions:
    """Return the definitions of a document, which another program may have written.

    Raises
    ------
    JournalError
        `JOURNAL_UNREADABLE`
    """
    try:
        found = _DOCUMENT.validate_json(document)
    except ValidationError as error:
        raise _unreadable(f"{error.error_count()} fields are missing or are not what they should be") from error
    if found.format != _FORMAT:
        raise _unreadable(f"its format is {found.format}, and this version reads {_FORMAT}")
    for table in found.tables:
        for column in table.columns:
            if not _TYPE_NAME.fullmatch(column.type_name):  # a part of statements
                raise _unreadable("a column's type is no quoted name")
    return Definitions({table.name: table for table in found.tables}, frozenset(found.views), dict(found.types))


def _unreadable(why: str) -> JournalError:
    return JournalError(
        f"The definitions of an interval of the journal cannot be read: {why}.",
        code="JOURNAL_UNREADABLE",
        hint="Backups are not affected: choose a moment of another interval (`coffre journal list TARGET`), or a"
        " backup. A newer version of Coffre may have written it.",
    )
