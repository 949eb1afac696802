"""What a change stream consists of, whichever output plugin wrote it."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable
from datetime import datetime
from enum import Enum, StrEnum
from typing import Final, NamedTuple

from coffre.model.names import TableName

_LSN: Final = re.compile(r"([0-9A-Fa-f]{1,8})/([0-9A-Fa-f]{1,8})")


class Unchanged(Enum):
    """The mark for a value that the stream leaves out."""

    TOAST = "unchanged"
    """A large value that an UPDATE did not change: it is stored out of line and is not in the stream."""


type Value = str | Unchanged | None
"""A column's text as PostgreSQL prints it (a boolean as true or false); None for NULL."""


class Line(NamedTuple):
    """One row of a slot's answer, as it is stored: where it is in the WAL, its transaction, and the plugin's text.

    A change has the position 0. No reader needs its own, and it would be a fifteenth of what is stored.
    """

    lsn: int
    xid: int
    data: str


type Lines = Callable[[], Iterable[Line]]
"""Opens the lines of a segment from their beginning; may be called again."""


class Row(NamedTuple):
    """Columns of one row, in the order of the table. Rows of the same form share `names`."""

    names: tuple[str, ...]
    values: tuple[Value, ...]


class Begin(NamedTuple):
    """A committed transaction follows."""

    xid: int
    lsn: int


class Insert(NamedTuple):
    """A new row; without what generates its values."""

    table: TableName
    new: Row


class Update(NamedTuple):
    """A changed row.

    `old` is what identifies it, where that is not in `new`: NULL columns are left out of it. `new` is None when the
    server logged nothing of the row.
    """

    table: TableName
    old: Row | None
    new: Row | None


class Delete(NamedTuple):
    """A removed row; None when the table has no identity, so that nothing says which row it was."""

    table: TableName
    old: Row | None


class Truncate(NamedTuple):
    """Tables that were emptied by one statement, those among them that `CASCADE` added."""

    tables: tuple[TableName, ...]
    cascade: bool
    restarts_sequences: bool


class Commit(NamedTuple):
    """The end of a transaction: `lsn` is the byte after its commit record, `time` is UTC."""

    xid: int
    lsn: int
    time: datetime


type RowChange = Insert | Update | Delete
type Change = Begin | RowChange | Truncate | Commit


class BarrierKind(StrEnum):
    """Why a journal cannot be followed past a point: only a new base continues from there."""

    DEFINITION_CHANGED = "definition-changed"
    REWRITTEN = "rewritten"
    NO_IDENTITY = "no-identity"
    UNKNOWN_TABLE = "unknown-table"


class Barrier(NamedTuple):
    """One reason, and the table or type that it is about."""

    kind: BarrierKind
    about: TableName


def parse_lsn(text: str) -> int:
    """Return the number of an LSN such as `16/B374D848`.

    Raises
    ------
    ValueError
        The text is no LSN.
    """
    found = _LSN.fullmatch(text)
    if found is None:
        raise ValueError(f"{text!r} is no LSN: write it as PostgreSQL does, 16/B374D848.")
    return int(found[1], 16) << 32 | int(found[2], 16)


def lsn_text(lsn: int) -> str:
    """Return an LSN as PostgreSQL writes it."""
    return f"{lsn >> 32:X}/{lsn & 0xFFFFFFFF:X}"
