"""What a drain learns of a stream while it is stored, line by line, without decoding rows."""

from __future__ import annotations

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

_END: Final = ": "
_TRUNCATE: Final = ": TRUNCATE:"
_ADDING: Final = ("INSERT:", "TRUNCATE:")


class Cut(NamedTuple):
    """Where a stream may not be followed: behind `lsn`, the end of the transaction before.

    `barrier` is the reason, or `error`, which no drain can read past. Neither: the next transaction is not visible yet,
    so that nothing shows what its rows fit.
    """

    lsn: int
    barrier: Barrier | None
    error: JournalError | None = None


class Passing:
    """Lines that pass by on their way into the vault.

    Parameters
    ----------
    after_lsn
        What was committed up to there is in each base: nothing in it is a reason to cut.
    """

    def __init__(self, definitions: Definitions, snapshot: BaseSnapshot, after_lsn: int) -> None:
        self._definitions = definitions
        self._snapshot = snapshot
        self._after = after_lsn
        # How lines of tables begin, and what prevents that their changes are followed.
        self._known: dict[str, Barrier | None] = {}
        self.cut: Cut | None = None
        self.transactions = 0
        self.lines = 0
        self.end_lsn = 0
        self.first_commit: datetime | None = None
        self.last_commit: datetime | None = None

    def through(self, lines: Iterable[Line]) -> Iterator[Line]:
        """Yield the lines up to the first transaction that cannot be followed: then there is a `cut`.

        Lines of that transaction may have been yielded.

        Raises
        ------
        JournalError
            `JOURNAL_UNREADABLE`: the server does not give the first line. It keeps a whole answer before that, so one
            value that it cannot print costs all of them: less has to be asked for.
        """
        ahead = iter(lines)
        first = list(islice(ahead, 1))
        try:
            yield from self._through(chain(first, ahead))
        except JournalError as error:
            if error.code != "JOURNAL_UNREADABLE":
                raise
            self.cut = Cut(self.end_lsn, None, error)

    def _through(self, lines: Iterable[Line]) -> Iterator[Line]:
        begun: Begin | None = None
        barrier: Barrier | None = None
        for line in lines:
            data = line.data
            if data.startswith("table "):
                barrier = barrier or self._barrier_of(line)
            elif data.startswith("BEGIN"):
                begun, barrier = begin_of(line), None
            elif data.startswith("COMMIT "):
                commit = commit_of(line)
                if begun is None or begun.xid != commit.xid:
                    raise unreadable(line, f"the transaction {commit.xid} has not begun")
                transaction = Transaction(commit.xid, begun.lsn, commit.lsn, commit.time)
                begun = None
                if self._stops(transaction, barrier):
                    return
            yield line
            self.lines += 1

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

    def _barrier_of(self, line: Line) -> Barrier | None:
        data = line.data
        end = data.find(_END)
        head = data[:end]
        if head.count('"') % 2:  # within a name
            end, tables = head_of(line)
            barrier = self._reason(tables)
        elif head in self._known:
            barrier = self._known[head]
        else:
            barrier = self._known[head] = self._reason(head_of(line)[1])
        if barrier is None or barrier.kind is BarrierKind.UNKNOWN_TABLE:
            return barrier
        return None if data.startswith(_ADDING, end + len(_END)) else barrier

    def _reason(self, tables: Iterable[TableName]) -> Barrier | None:
        """Return why changes of tables cannot be followed; of one without an identity, those that need it."""
        for name in tables:
            table = self._definitions.tables.get(name)
            if table is None and name not in self._definitions.views:
                return Barrier(BarrierKind.UNKNOWN_TABLE, name)
            if table is not None and not (table.is_partitioned or table.has_identity):
                return Barrier(BarrierKind.NO_IDENTITY, name)
        return None


def emptied_tables(lines: Iterable[Line]) -> set[TableName]:
    """Return the tables that the transactions of a stream have emptied."""
    found = set[TableName]()
    for line in lines:
        if line.data.startswith("table ") and _TRUNCATE in line.data:
            end, tables = head_of(line)
            if line.data.startswith(_TRUNCATE, end):
                found.update(tables)
    return found
