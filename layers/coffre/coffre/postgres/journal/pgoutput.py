"""The messages of the output plugin `pgoutput`, as the lines that `test_decoding` prints.

A journal has one text (docs/format/v1.md), so that whatever reads it knows nothing of plugins. Of a column the type is
left out, and every value is in quotes. The protocol's version is 1: no transaction comes before its commit.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from datetime import UTC, datetime, timedelta
from typing import Final, NamedTuple

from coffre.model.errors import JournalError
from coffre.postgres.journal.changes import Line, lsn_text

PLUGIN: Final = "pgoutput"
_PLAIN: Final = re.compile("[a-z_][a-z0-9_]*")
_BOOLEAN: Final = 16
_EPOCH: Final = datetime(2000, 1, 1, tzinfo=UTC)
_CHANGES: Final = b"IUDT"
_INSERT, _UPDATE, _DELETE, _TRUNCATE = _CHANGES
_BEGIN, _COMMIT, _RELATION = b"BCR"
_OF_NO_ROW: Final = b"OYM"  # an origin, a type, a message of an application
_NEW, _KEY, _WHOLE = b"NKO"
_NULL, _UNCHANGED, _TEXT = b"nut"
_CASCADE: Final = 1
_RESTART: Final = 2
_NO_SCHEMA: Final = "pg_catalog"  # is sent as an empty name


class Message(NamedTuple):
    """One message, with its position in the WAL and its transaction (0 where the transport does not say)."""

    lsn: int
    xid: int
    data: bytes


class _Relation(NamedTuple):
    """A table as the stream describes it: its quoted name, and what stands before the value of each column."""

    name: str
    columns: tuple[tuple[str, bool], ...]


def lines_of(messages: Iterable[Message], encoding: str) -> Iterator[Line]:
    """Yield the lines of transactions that have changes, in the order of their commits.

    Parameters
    ----------
    encoding
        Python's name of the session's encoding.

    Raises
    ------
    JournalError
        `JOURNAL_UNREADABLE`
    UnicodeDecodeError
        A text is not of this encoding.
    """
    reader = _Reader(encoding)
    begun: Line | None = None
    xid = 0
    for message in messages:
        data = message.data
        kind = data[0] if data else 0
        if kind in _CHANGES:
            if begun is not None:
                # A stream sends the position of the last message that belongs to a change alone.
                yield begun if begun.lsn else begun._replace(lsn=message.lsn)
                begun = None
            yield Line(0, xid, reader.change(message))
        elif kind == _BEGIN:
            xid = int.from_bytes(data[17:21])
            begun = Line(message.lsn, xid, f"BEGIN {xid}")
        elif kind == _COMMIT:
            if begun is None:  # else it has no change
                yield Line(int.from_bytes(data[10:18]), xid, _commit(xid, data))
            begun = None
        elif kind == _RELATION:
            reader.remember(message)
        elif kind not in _OF_NO_ROW:
            raise _unreadable(message)


def commit_of_begin(data: bytes) -> int | None:
    """Return where the commit of a transaction is that a message begins; None: it begins none."""
    return int.from_bytes(data[1:9]) if data.startswith(b"B") else None


def _commit(xid: int, data: bytes) -> str:
    time = _EPOCH + timedelta(microseconds=int.from_bytes(data[18:26], signed=True))
    return f"COMMIT {xid} (at {time:%Y-%m-%d %H:%M:%S.%f}+00)"


class _Reader:
    """Reads messages of changes by the tables that the stream has described."""

    def __init__(self, encoding: str) -> None:
        self._encoding = encoding
        self._relations: dict[int, _Relation] = {}

    def remember(self, message: Message) -> None:
        """Keep what the stream says of a table; it comes again after a change."""
        try:
            self._remember(message.data)
        except (KeyError, IndexError) as error:
            raise _unreadable(message) from error

    def change(self, message: Message) -> str:
        """Return the line of a change."""
        try:
            return self._change(message.data[0], message.data)
        except (KeyError, IndexError) as error:
            raise _unreadable(message) from error

    def _remember(self, data: bytes) -> None:
        schema, at = self._name(data, 5)
        name, at = self._name(data, at)
        count = int.from_bytes(data[at + 1 : at + 3])  # after the letter of the replica identity
        at += 3
        columns = list[tuple[str, bool]]()
        for _ in range(count):
            column, at = self._name(data, at + 1)  # after its flags
            columns.append((f" {_quoted(column)}[]:", int.from_bytes(data[at : at + 4]) == _BOOLEAN))
            at += 8  # its type and modifier
        quoted = f"{_quoted(schema or _NO_SCHEMA)}.{_quoted(name)}"
        self._relations[int.from_bytes(data[1:5])] = _Relation(quoted, tuple(columns))

    def _change(self, kind: int, data: bytes) -> str:
        if kind == _TRUNCATE:
            return self._truncate(data)
        relation = self._relations[int.from_bytes(data[1:5])]
        head = f"table {relation.name}: "
        if kind == _INSERT:
            return f"{head}INSERT:{self._row(relation, data, 5, _NEW)[0]}"
        if kind == _DELETE:
            return f"{head}DELETE:{self._row(relation, data, 5, _KEY, _WHOLE)[0]}"
        if data[5] == _NEW:
            return f"{head}UPDATE:{self._row(relation, data, 5, _NEW)[0]}"
        old, at = self._row(relation, data, 5, _KEY, _WHOLE)
        return f"{head}UPDATE: old-key:{old} new-tuple:{self._row(relation, data, at, _NEW)[0]}"

    def _truncate(self, data: bytes) -> str:
        count, flags = int.from_bytes(data[1:5]), data[5]
        names = [self._relations[int.from_bytes(data[at : at + 4])].name for at in range(6, 6 + 4 * count, 4)]
        words = [*([" restart_seqs"] if flags & _RESTART else []), *([" cascade"] if flags & _CASCADE else [])]
        return f"table {', '.join(names)}: TRUNCATE:{''.join(words) or ' (no-flags)'}"

    def _row(self, relation: _Relation, data: bytes, at: int, *kinds: int) -> tuple[str, int]:
        """Return the columns of a tuple, and where it ends. NULL of an old one says nothing, and is left out."""
        if data[at] not in kinds or int.from_bytes(data[at + 1 : at + 3]) != len(relation.columns):
            raise IndexError
        is_new = data[at] == _NEW
        at += 3
        parts = list[str]()
        for prefix, is_boolean in relation.columns:
            kind = data[at]
            at += 1
            if kind == _TEXT:
                start = at + 4
                at = start + int.from_bytes(data[at:start])
                if at > len(data):
                    raise IndexError
                value = data[start:at].decode(self._encoding)
                if is_boolean:
                    value = "true" if value == "t" else "false"
                parts.append(f"{prefix}'{value.replace("'", "''")}'")
            elif kind == _UNCHANGED:
                parts.append(f"{prefix}unchanged-toast-datum")
            elif kind != _NULL:
                raise IndexError
            elif is_new:
                parts.append(f"{prefix}null")
        return "".join(parts), at

    def _name(self, data: bytes, at: int) -> tuple[str, int]:
        end = data.find(0, at)
        if end < 0:
            raise IndexError
        return data[at:end].decode(self._encoding), end + 1


def _quoted(name: str) -> str:
    return name if _PLAIN.fullmatch(name) else '"' + name.replace('"', '""') + '"'


def _unreadable(message: Message) -> JournalError:
    """Return the error of a message, without its values."""
    kind = chr(message.data[0]) if message.data else "none"
    return JournalError(
        f'The stream of pgoutput is not understood at {lsn_text(message.lsn)} (a message of the kind "{kind}").',
        code="JOURNAL_UNREADABLE",
        hint="The server sends another version of the protocol than 1. Report it; the next base is not affected.",
    )
