"""What a drain learns of a stream while it is stored, by how its lines begin, without decoding rows."""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Iterator
from datetime import datetime
from itertools import chain, islice
from typing import Final, NamedTuple

from coffre.model.errors import JournalError
from coffre.model.names import TableName
from coffre.postgres.journal.changes import Barrier, BarrierKind, Begin, Line
from coffre.postgres.journal.definitions import Definitions
from coffre.postgres.journal.test_decoding import begin_of, commit_of, head_of, unreadable
from coffre.postgres.journal.transactions import BaseSnapshot, Transaction

_TRUNCATE: Final = ": TRUNCATE:"
_INSERT: Final = b": INSERT:"
_MESSAGE: Final = b"message: "
# How a line begins in its stored form, up to the kind of the change of a row; nothing of any other. A comma and a quote
# stand together before the text alone, and at its end if a comma is its last character.
_NAME: Final = rb'(?:[a-z_][a-z0-9_]*+|\\"(?:[^"\\]++|\\[^"]|\\"\\")*+\\")'
_BEGINNING: Final = re.compile(
    rb',"(?!\]\n)(table %b\.%b: (?:INSERT|UPDATE|DELETE):|BEGIN|COMMIT |message: |)' % (_NAME, _NAME)
)


class Cut(NamedTuple):
    """Where a stream may not be followed: behind `lsn`, the end of the transaction before.

    `barrier` is the reason, or `error`, which no drain can read past. Neither: the next transaction is not visible yet,
    so that nothing shows what its rows fit.
    """

    lsn: int
    barrier: Barrier | None
    error: JournalError | None = None


class Passing:
    """Lines in their stored form that pass by on their way into the vault.

    Parameters
    ----------
    definitions
        What rows have to fit; None: any rows do.
    after_lsn
        What was committed up to there is in each base: nothing in it is a reason to cut.
    """

    def __init__(self, definitions: Definitions | None, snapshot: BaseSnapshot, after_lsn: int) -> None:
        self._definitions = definitions
        self._snapshot = snapshot
        self._after = after_lsn
        # How lines with changes of rows begin: of those that can be followed, and what prevents it of the others.
        self._followed = {_MESSAGE}
        self._barriers: dict[bytes, Barrier] = {}
        self._begun: Begin | None = None
        self._barrier: Barrier | None = None
        self.cut: Cut | None = None
        self.transactions = 0
        self.lines = 0
        self.end_lsn = 0
        self.first_commit: datetime | None = None
        self.last_commit: datetime | None = None

    def through(self, pieces: Iterable[bytes]) -> Iterator[bytes]:
        """Yield the pieces of a stream up to the first transaction that cannot be followed: then there is a `cut`.

        Lines of that transaction, and of the one before, may have been yielded or not.

        Parameters
        ----------
        pieces
            Lines as they are stored. One that comes in several pieces begins one (`peek.LONG_LINE_BYTES`).

        Raises
        ------
        JournalError
            `JOURNAL_UNREADABLE`: the server does not give the first line. It keeps a whole answer before that, so one
            value that it cannot print costs all of them: less has to be asked for.
        """
        ahead = iter(pieces)
        first = list(islice(ahead, 1))
        try:
            yield from self._through(chain(first, ahead))
        except JournalError as error:
            if error.code != "JOURNAL_UNREADABLE":
                raise
            self.cut = Cut(self.end_lsn, None, error)

    def _through(self, pieces: Iterable[bytes]) -> Iterator[bytes]:
        is_within = False
        for piece in pieces:
            if not is_within and self._stops_in(piece):
                return
            is_within = not piece.endswith(b"\n")
            yield piece

    def _stops_in(self, piece: bytes) -> bool:
        """Look at the lines that begin in a piece; most are changes of rows that can be followed."""
        beginnings, before = _BEGINNING.findall(piece), self.lines
        others = [(number, one) for number, one in enumerate(beginnings) if one not in self._followed]
        lines = piece.split(b"\n") if others else []
        for number, beginning in others:
            self.lines = before + number
            if beginning in self._barriers:
                self._barrier = self._barrier or self._barriers[beginning]
            elif self._stops_at(beginning, lines[number]):
                return True
        self.lines = before + len(beginnings)
        return False

    def _stops_at(self, beginning: bytes, line: bytes) -> bool:
        if beginning.startswith(b"table "):  # changes of a row, of a table and kind that were not seen before
            text = json.loads(b'"%b"' % beginning)
            lsn, xid, _ = line[1:].split(b",", 2)
            barrier = self._reason(head_of(Line(int(lsn), int(xid), text))[1])
            if barrier is not None and barrier.kind is BarrierKind.NO_IDENTITY and beginning.endswith(_INSERT):
                barrier = None
            if barrier is None:
                self._followed.add(beginning)
            else:
                self._barriers[beginning] = barrier
                self._barrier = self._barrier or barrier
            return False
        found = Line(*json.loads(line))
        if beginning.startswith(b"BEGIN"):
            self._begun, self._barrier = begin_of(found), None
        elif beginning.startswith(b"COMMIT "):
            commit = commit_of(found)
            begun, self._begun = self._begun, None
            if begun is None or begun.xid != commit.xid:
                raise unreadable(found, f"the transaction {commit.xid} has not begun")
            return self._stops(Transaction(commit.xid, begun.lsn, commit.lsn, commit.time), self._barrier)
        elif found.data.startswith("table "):  # they were emptied
            barrier = self._reason(head_of(found)[1])
            if barrier is not None and barrier.kind is BarrierKind.UNKNOWN_TABLE:
                self._barrier = self._barrier or barrier
        return False

    def _stops(self, transaction: Transaction, barrier: Barrier | None) -> bool:
        if transaction.commit_lsn > self._after:
            if not self._snapshot.has(transaction):
                self.cut = Cut(self.end_lsn, None)
                return True
            if barrier is not None:
                self.cut = Cut(self.end_lsn, barrier)
                return True
        self.transactions += 1
        self.end_lsn = transaction.commit_lsn
        self.first_commit = min(self.first_commit or transaction.time, transaction.time)
        self.last_commit = max(self.last_commit or transaction.time, transaction.time)
        return False

    def _reason(self, tables: Iterable[TableName]) -> Barrier | None:
        """Return why changes of tables cannot be followed; of one without an identity, those that need it."""
        definitions = self._definitions
        if definitions is None:
            return None
        for name in tables:
            table = definitions.tables.get(name)
            if table is None and name not in definitions.views:
                return Barrier(BarrierKind.UNKNOWN_TABLE, name)
            if table is not None and not (table.is_partitioned or table.has_identity):
                return Barrier(BarrierKind.NO_IDENTITY, name)
        return None


def emptied_tables(lines: Iterable[Line]) -> Iterator[tuple[tuple[TableName, int], frozenset[TableName]]]:
    """Yield the tables that a stream has emptied, each with the transaction, and all of the same statement."""
    for line in lines:
        if line.data.startswith("table ") and _TRUNCATE in line.data:
            end, tables = head_of(line)
            if line.data.startswith(_TRUNCATE, end):
                yield from (((table, line.xid), frozenset(tables)) for table in tables)
