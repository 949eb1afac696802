"""Changes are applied to a restored base, each exactly once.

What is applied is committed together with the position up to where it is (`destination/marks.py`): a replay that was
killed continues there. A segment is read twice, first for its transactions and then for their rows, because the stream
says when a transaction was committed only at its end.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import suppress
from typing import Final

import psycopg2.extensions

from coffre.model.errors import JournalError
from coffre.model.names import TableName
from coffre.postgres.destination import marks
from coffre.postgres.journal import statements
from coffre.postgres.journal.applying import Applier, Position
from coffre.postgres.journal.changes import Begin, Commit, Line, Lines, RowChange, Truncate
from coffre.postgres.journal.column_types import read_column_types
from coffre.postgres.journal.definitions import Table
from coffre.postgres.journal.pending_changes import Pending
from coffre.postgres.journal.replay_source import Source
from coffre.postgres.journal.search_path import AnotherPath, Paths
from coffre.postgres.journal.statements import Statement
from coffre.postgres.journal.test_decoding import decode
from coffre.postgres.journal.transactions import Moment, choose, outline
from coffre.postgres.journal.triggers_off import require_nothing_fires

# A commit costs as much as dozens of rows; what is not committed is lost when the process is killed.
_MOST_TRANSACTIONS: Final = 500
_MOST_CHANGES: Final = 20_000
# What waits is in memory here; a row can have hundreds of megabytes.
_MOST_CHARACTERS: Final = 8 << 20
_SETTINGS: Final = (
    # Keys are found by their index, whatever the statistics of a table that was loaded just now.
    "SET enable_seqscan = off",
    "SET enable_hashjoin = off",
    "SET enable_mergejoin = off",
    "SET jit = off",
    # The rows and the position are in the same commit: they are lost together.
    "SET synchronous_commit = off",
)


class Replay:
    """Applies segments, one after another, in one session that does nothing else.

    Raises
    ------
    JournalError
        `JOURNAL_TRIGGERS`: the database would answer to changes with further ones.
    """

    def __init__(
        self,
        session: psycopg2.extensions.connection,
        source: Source,
        schema: str = marks.SCHEMA,
        name: str = "position",
        paths: Paths | None = None,
    ) -> None:
        """Continue where an earlier one with the same `schema` of marks and `name` has come to."""
        self._source = source
        self._tables: dict[TableName, Pending] = {}
        self._waiting: dict[TableName, Pending] = {}  # the same by the tables' names at the source
        self._transactions = 0
        self._changes = 0
        self._characters = self._size = 0  # of what waits, and of the last line
        with session, session.cursor() as cursor:
            cursor.execute("; ".join(_SETTINGS))
        require_nothing_fires(session, source.changed)
        self._types = read_column_types(session, source.followed)
        self._applier = Applier(session, schema, name, paths or Paths())
        self._given = self.position  # what the applier has been given
        self._most_transactions = _MOST_TRANSACTIONS

    @property
    def position(self) -> Position:
        """How far everything is committed."""
        return self._applier.position

    def apply(self, lines: Lines, moment: Moment | None = None, *, one_by_one: bool = False) -> bool:
        """Apply the transactions of a segment up to a moment, and return whether the moment is reached.

        Parameters
        ----------
        lines
            Read twice.
        one_by_one
            Commit each transaction alone, so that one that cannot be applied takes none before it along.

        Raises
        ------
        JournalError
            `JOURNAL_UNREADABLE`, `JOURNAL_NO_IDENTITY`, `JOURNAL_UNKNOWN_TABLE`, `JOURNAL_DIVERGED`, `JOURNAL_REPLAY`,
            `JOURNAL_TWO_REPLAYS`. What was committed before stays, and the position says how far that is.
        JournalTransientError
            The session was cut: another one continues.
        """
        self._most_transactions = 1 if one_by_one else _MOST_TRANSACTIONS
        while True:
            with suppress(AnotherPath):  # from what is committed
                return self._apply_once(lines, moment)

    def _apply_once(self, lines: Lines, moment: Moment | None) -> bool:
        choice = choose(outline(lines()), self._source.base, moment or Moment(), self.position.lsn)
        # By both: an empty transaction may seem to begin where the next one does.
        wanted = {(transaction.begin_lsn, transaction.xid) for transaction in choice.transactions}

        def is_wanted(begin: Begin) -> bool:
            """Take each transaction once, also where the segment repeats it."""
            try:
                wanted.remove((begin.lsn, begin.xid))
            except KeyError:
                return False
            return True

        self._given = self.position
        try:
            if wanted:
                with self._applier.at_work():
                    self._apply(lines, is_wanted)
        except BaseException:  # the applier keeps nothing that is not committed
            self._tables.clear()
            self._waiting.clear()
            self._transactions = self._changes = self._characters = 0
            raise
        if wanted:
            raise JournalError(
                f"The journal has lost {len(wanted)} transactions between two looks at the same segment.",
                code="JOURNAL_UNREADABLE",
                hint="Read the segment again from the vault or from a copy.",
            )
        return choice.is_last

    def _apply(self, lines: Lines, is_wanted: Callable[[Begin], bool]) -> None:
        last = self.position.lsn
        for change in decode(self._measured(lines), is_wanted=is_wanted):
            if isinstance(change, Begin):
                continue
            if isinstance(change, Commit):
                last = change.lsn
                self._transactions += 1
                if self._transactions >= self._most_transactions or self._changes >= _MOST_CHANGES:
                    self._commit(last)
                continue
            if not self._takes(change):
                continue
            self._changes += 1
            # Of a transaction that is larger than a commit should be, the rows go to the server all the same.
            if self._changes % _MOST_CHANGES == 0 or self._characters >= _MOST_CHARACTERS:
                self._applier.run(self._take())
        if self._transactions:
            self._commit(last)

    def _measured(self, lines: Lines) -> Iterator[Line]:
        """Yield the lines, each when the change before it is taken."""
        for line in lines():
            self._size = len(line.data)
            self._characters += self._size
            yield line

    def _takes(self, change: RowChange | Truncate) -> bool:
        """Take a change, unless it is of tables that are left out."""
        if isinstance(change, Truncate):
            return self._truncate(change)
        pending = self._waiting.get(change.table)
        if pending is None:
            if (table := self._source.table(change.table)) is None:
                return False
            pending = self._waiting[change.table] = self._pending(table)
        pending.add(change, self._size)
        return True

    def _pending(self, table: Table) -> Pending:
        """Return what waits of a table; partitions with one place share it as long as their rows have one form."""
        pending = self._tables.get(table.name)
        if pending is None or pending.table is not table:
            if pending is not None:
                self._applier.run(pending.take())
                self._waiting.clear()
            pending = self._tables[table.name] = Pending(table, self._types)
        return pending

    def _truncate(self, change: Truncate) -> bool:
        tables = self._source.emptied(change)
        emptied = statements.truncate(change, tables, may_cascade=not self._source.is_part)
        self._applier.run([*self._take(), *([emptied] if emptied else [])])
        return bool(tables)

    def _take(self) -> list[Statement]:
        """Return what waits. Between tables the order is of no importance: no key or trigger connects them now."""
        self._characters = 0
        return [statement for pending in self._tables.values() for statement in pending.take()]

    def _commit(self, lsn: int) -> None:
        done = self._given
        self._given = Position(lsn, done.transactions + self._transactions, done.changes + self._changes)
        self._applier.commit(self._take(), self._given)
        self._transactions = self._changes = 0
