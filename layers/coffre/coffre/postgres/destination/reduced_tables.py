"""Tables that cannot be made as they were: made without the parts that the server refuses, so that their rows can come.

Each part is tried by itself, in a table that is dropped again immediately.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Final

import psycopg2

from coffre.model.names import shown
from coffre.postgres.archive.entry_sql import readable
from coffre.postgres.archive.reader import TocEntry
from coffre.postgres.archive.table_parts import Part, PartKind, TableDefinition, parts_of_table
from coffre.postgres.connection.connect import one_line

type Refused = Callable[[str], psycopg2.Error | None]
"""Executes statements as one unit, and returns why the server refused them."""

_WORDS: Final = {
    PartKind.DEFAULT: ("the default of the column {name} of {table}", "the column has none"),
    PartKind.GENERATED: (
        "the values of the generated column {name} of {table}",
        "it is a plain column without values",
    ),
    PartKind.COLLATION: (
        "the collation of the column {name} of {table}",
        "it has the database's own, which may compare and sort otherwise",
    ),
    PartKind.TYPE: (
        "the type of the column {name} of {table}",
        "it is text, with the values as the source wrote them, and may compare and sort otherwise",
    ),
    PartKind.CHECK: ("the constraint {name} of {table}", "rows are not checked"),
    PartKind.SETTING: ("a setting of {table}", "the server's own value counts"),
}


@dataclass(frozen=True)
class LackingPart:
    """A part that a table was made without: it, the server's words and what holds instead, and the SQL for later."""

    entry: TocEntry
    what: str
    reason: str
    sql: str
    sqlstate: str | None


@dataclass(frozen=True)
class ReducedTable:
    """A definition that the server takes, and what it lacks."""

    definition: str
    lacking: Sequence[LackingPart]


def reduced_table(entry: TocEntry, definition: str, encoding: str, refused: Refused) -> ReducedTable | None:
    """Find the parts of a table that the server refuses; None when the table cannot be made without them either.

    `encoding` is the source's, in which the definition is.
    """
    table = parts_of_table(definition)
    if table is None:
        return None
    lacking = _refused_types(table, refused)
    if lacking is None:
        return None
    of_type = {part.name for part in lacking}
    pending = [part for part in table.optional() if not (part.kind in _OF_TYPE and part.name in of_type)]
    while pending:
        part = pending.pop(0)
        if (error := _probed(table, [*lacking, *pending], refused)) is not None:
            lacking[part] = error
    said = [_lacking(entry, part, error, encoding) for part, error in lacking.items()]
    return ReducedTable(table.text(lacking), said)


def _refused_types(table: TableDefinition, refused: Refused) -> dict[Part, psycopg2.Error] | None:
    """Return the types that the server does not have; None when the table cannot be made without them either."""
    optional = table.optional()
    if _probed(table, optional, refused) is None:
        return {}
    lacking = {part: error for part, probe in table.types() if (error := refused(probe + _dropped(table))) is not None}
    return lacking if lacking and _probed(table, [*optional, *lacking], refused) is None else None


# What is left out with a column's type, without a word of its own.
_OF_TYPE: Final = frozenset({PartKind.DEFAULT, PartKind.COLLATION})


def _probed(table: TableDefinition, without: Sequence[Part], refused: Refused) -> psycopg2.Error | None:
    return refused(table.text(without) + _dropped(table))


def _dropped(table: TableDefinition) -> str:
    return f"DROP TABLE {table.table};"


def _lacking(entry: TocEntry, part: Part, error: psycopg2.Error, encoding: str) -> LackingPart:
    what, instead = _WORDS[part.kind]
    return LackingPart(
        entry,
        what=what.format(name=readable(part.name, encoding), table=shown(entry.schema or "", entry.tag)),
        reason=f"{one_line(error)}; {instead}",
        sql=readable(part.later, encoding) + "\n",
        sqlstate=error.pgcode,
    )
