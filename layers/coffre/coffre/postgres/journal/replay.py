"""Changes are applied to a restored base, each exactly once.

What is applied is committed together with the position up to where it is (`destination/marks.py`): a replay that was
killed continues there. A segment is read twice, first for its transactions and then for their rows, because the stream
says when a transaction was committed only at its end.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import asdict, dataclass
from typing import Final

import psycopg2
import psycopg2.errors
import psycopg2.extensions

from coffre.model.errors import JournalError, JournalTransientError
from coffre.model.names import TableName, shown
from coffre.postgres.connection.connect import one_line
from coffre.postgres.destination import marks
from coffre.postgres.journal import statements
from coffre.postgres.journal.changes import Begin, Commit, Lines, RowChange, Truncate, characters_of, lsn_text
from coffre.postgres.journal.definitions import Table
from coffre.postgres.journal.firing import require_nothing_fires
from coffre.postgres.journal.pending import Pending
from coffre.postgres.journal.replay_source import Source
from coffre.postgres.journal.statements import Statement
from coffre.postgres.journal.test_decoding import decode
from coffre.postgres.journal.transactions import Moment, choose, outline

# A commit costs as much as dozens of rows; what is not committed is lost when the process is killed.
_MOST_TRANSACTIONS: Final = 500
_MOST_CHANGES: Final = 20_000
# What waits is in memory here; a row can have hundreds of megabytes.
_MOST_CHARACTERS: Final = 16 << 20
_SETTINGS: Final = (
    # Keys are found by their index, whatever the statistics of a table that was loaded just now.
    "SET enable_seqscan = off",
    "SET enable_hashjoin = off",
    "SET enable_mergejoin = off",
    "SET jit = off",
    # The rows and the position are in the same commit: they are lost together.
    "SET synchronous_commit = off",
)


@dataclass(frozen=True)
class Position:
    """How far a replay has come: the end of the last transaction that it has applied, and what it applied in all."""

    lsn: int = 0
    transactions: int = 0
    changes: int = 0


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
    ) -> None:
        """Continue where an earlier one with the same `schema` of marks and `name` has come to."""
        self._session = session
        self._source = source
        self._schema = schema
        self._name = name
        self._tables: dict[TableName, Pending] = {}
        self._transactions = 0
        self._changes = 0
        self._characters = 0
        self._is_open = False
        with session, session.cursor() as cursor:
            cursor.execute("; ".join(_SETTINGS))
        require_nothing_fires(session, source.changed)
        with session:
            found = marks.read(session, marks.JOURNAL, schema)
        self._position = Position(**found[name]) if name in found else Position()  # type: ignore[arg-type]

    @property
    def position(self) -> Position:
        """How far everything is committed."""
        return self._position

    def apply(self, lines: Lines, moment: Moment | None = None) -> bool:
        """Apply the transactions of a segment up to a moment, and return whether the moment is reached.

        Parameters
        ----------
        lines
            Read twice.

        Raises
        ------
        JournalError
            `JOURNAL_UNREADABLE`, `JOURNAL_NO_IDENTITY`, `JOURNAL_UNKNOWN_TABLE`, `JOURNAL_DIVERGED`, `JOURNAL_REPLAY`,
            `JOURNAL_TWO_REPLAYS`. What was committed before stays, and the position says how far that is.
        JournalTransientError
            The session was cut: another one continues.
        """
        choice = choose(outline(lines()), self._source.base, moment or Moment(), self._position.lsn)
        wanted = {transaction.begin_lsn for transaction in choice.transactions}

        def is_wanted(begin: Begin) -> bool:
            """Take each transaction once, also where the segment repeats it."""
            try:
                wanted.remove(begin.lsn)
            except KeyError:
                return False
            return True

        try:
            if wanted:
                self._apply(lines, is_wanted)
        except BaseException:
            self._give_up()
            raise
        if wanted:
            raise JournalError(
                f"The journal has lost {len(wanted)} transactions between two looks at the same segment.",
                code="JOURNAL_UNREADABLE",
                hint="Read the segment again from the vault or from a copy.",
            )
        return choice.is_last

    def _apply(self, lines: Lines, is_wanted: Callable[[Begin], bool]) -> None:
        last = self._position.lsn
        for change in decode(lines(), is_wanted=is_wanted):
            if isinstance(change, Begin):
                continue
            if isinstance(change, Commit):
                last = change.lsn
                self._transactions += 1
                if self._transactions >= _MOST_TRANSACTIONS or self._changes >= _MOST_CHANGES:
                    self._commit(last)
                continue
            if not self._takes(change):
                continue
            self._changes += 1
            self._characters += characters_of(change)
            # Of a transaction that is larger than a commit should be, the rows go to the server all the same.
            if self._changes % _MOST_CHANGES == 0 or self._characters >= _MOST_CHARACTERS:
                self._flush()
        if self._transactions:
            self._commit(last)

    def _takes(self, change: RowChange | Truncate) -> bool:
        """Take a change, unless it is of tables that are left out."""
        if isinstance(change, Truncate):
            return self._truncate(change)
        if (table := self._source.table(change.table)) is None:
            return False
        self._pending(table).add(change)
        return True

    def _pending(self, table: Table) -> Pending:
        """Return what waits of a table; partitions with one place share it as long as their rows have one form."""
        pending = self._tables.get(table.name)
        if pending is None or pending.table is not table:
            if pending is not None:
                self._run_all(pending.take())
            pending = self._tables[table.name] = Pending(table)
        return pending

    def _truncate(self, change: Truncate) -> bool:
        self._flush()
        tables = self._source.emptied(change)
        if statement := statements.truncate(change, tables, may_cascade=not self._source.is_part):
            self._run(statement)
        return bool(tables)

    def _flush(self) -> None:
        """Apply what waits. Between tables the order is of no importance: no key or trigger connects them now."""
        self._characters = 0
        for pending in self._tables.values():
            self._run_all(pending.take())

    def _run_all(self, made: Iterable[Statement]) -> None:
        for statement in made:
            self._run(statement)

    def _run(self, statement: Statement) -> None:
        with self._session.cursor() as cursor:
            try:
                if not self._is_open:
                    self._open(cursor)
                cursor.execute(statement.sql)
            except psycopg2.Error as error:
                raise _explained(error, statement.table) from error
            if statement.rows is not None and cursor.rowcount != statement.rows:
                raise JournalError(
                    f"The restored table {shown(*statement.table)} is not what the journal continues: a"
                    f" statement changed {cursor.rowcount} rows instead of {statement.rows}.",
                    code="JOURNAL_DIVERGED",
                    hint=f"The rows are right up to {lsn_text(self._position.lsn)}. Choose another base; and report it:"
                    " either the base or the journal is incomplete.",
                )

    def _open(self, cursor: psycopg2.extensions.cursor) -> None:
        """Begin a commit's worth of changes, for which no other replay may have moved the position."""
        cursor.execute("SET CONSTRAINTS ALL DEFERRED")
        found = marks.locked(cursor, marks.JOURNAL, self._name, self._schema)
        if (Position(**found) if found else Position()) != self._position:  # type: ignore[arg-type]
            raise JournalError(
                "Another process applies the journal to the same database.",
                code="JOURNAL_TWO_REPLAYS",
                hint="Nothing was applied twice. Wait for the other one, or end its session and start again.",
            )
        self._is_open = True

    def _commit(self, lsn: int) -> None:
        self._flush()
        done = self._position
        position = Position(lsn, done.transactions + self._transactions, done.changes + self._changes)
        with self._session.cursor() as cursor:
            try:
                if not self._is_open:
                    self._open(cursor)
                marks.replace(cursor, marks.JOURNAL, self._name, asdict(position), self._schema)
                self._session.commit()
            except psycopg2.Error as error:
                raise _explained(error, None) from error
        self._position = position
        self._transactions = self._changes = 0
        self._is_open = False

    def _give_up(self) -> None:
        self._tables.clear()
        self._transactions = self._changes = 0
        self._is_open = False
        if not self._session.closed:
            self._session.rollback()


def _explained(error: psycopg2.Error, table: TableName | None) -> JournalError | JournalTransientError:
    if isinstance(error, psycopg2.OperationalError | psycopg2.InterfaceError):
        return JournalTransientError(
            "The session that applied the journal was ended.",
            detail=one_line(error),
            hint="Nothing is applied twice: start it again, and it continues.",
        )
    where = f"table {shown(*table)}" if table else "end of a transaction"
    return JournalError(
        f"The restored database does not take the journal's changes ({where}).",
        code="JOURNAL_REPLAY",
        detail=one_line(error),
        hint="What came before is applied. Definitions may have changed since the base: choose an earlier moment, or a"
        " later backup.",
    )
