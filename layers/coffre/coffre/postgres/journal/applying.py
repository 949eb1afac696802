"""The server's part of a replay: statements run in a thread, while the next ones are made."""

from __future__ import annotations

import sys
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from functools import partial
from io import BytesIO
from typing import Final

import psycopg2
import psycopg2.errors
import psycopg2.extensions

from coffre.model.errors import JournalError, JournalTransientError
from coffre.model.names import TableName, shown
from coffre.postgres.connection.connect import one_line
from coffre.postgres.destination import marks
from coffre.postgres.journal.changes import lsn_text
from coffre.postgres.journal.search_path import Paths
from coffre.postgres.journal.statements import Statement

# Each part that is sent, and each answer, waits for Python's lock, which the thread that reads lines gives up only when
# it is asked to, after 5 ms by default: statements of 2,000 rows waited longer than they ran.
_COPIED_BYTES: Final = 1024 * 1024
_SWITCH_SECONDS: Final = 0.0002
# Calls whose statements wait or run: not all take the server as long as it takes to make the next ones.
_MOST_WAITING: Final = 2
_LARGE_CHARACTERS: Final = 16 << 20


@dataclass(frozen=True)
class Position:
    """How far a replay has come: the end of the last transaction that it has applied, and what it applied in all."""

    lsn: int = 0
    transactions: int = 0
    changes: int = 0


class Applier:
    """Runs statements in the order in which they are given, and commits them with the position up to where they are.

    What runs or waits is the statements of two calls at most: a call that follows waits for the first one's, and raises
    what stopped them. Then nothing of what waits is run.
    """

    def __init__(self, session: psycopg2.extensions.connection, schema: str, name: str, paths: Paths) -> None:
        self._session = session
        self._name = name
        self._schema = schema
        self._paths = paths
        with session, session.cursor() as cursor:
            # Of two replays that begin, one waits for the other.
            marks.ensure(cursor, marks.JOURNAL, name, asdict(Position()), schema)
            found = marks.read(session, marks.JOURNAL, schema)
        self._position = Position(**found[name])  # type: ignore[arg-type]
        self._codec = psycopg2.extensions.encodings[session.encoding]
        self._is_open = False
        self._thread: ThreadPoolExecutor
        self._working: deque[Future[None]] = deque()
        self._is_stopped = False

    @property
    def position(self) -> Position:
        """How far everything is committed."""
        return self._position

    @contextmanager
    def at_work(self) -> Iterator[None]:
        """Within this, statements are taken; leaving it by an error rolls back what is not committed.

        Raises
        ------
        JournalError
            `JOURNAL_DIVERGED`, `JOURNAL_REPLAY`, `JOURNAL_TWO_REPLAYS`
        JournalTransientError
            The session was cut.
        AnotherPath
            What is not committed is to be given again.
        """
        self._is_stopped = False
        try:
            with _switching_soon(), ThreadPoolExecutor(1, "journal") as self._thread:
                try:
                    yield
                    self._wait(0)
                except BaseException:
                    self._is_stopped = True
                    raise
        except BaseException:
            self._working.clear()
            self._is_open = False
            if not self._session.closed:
                self._session.rollback()
            raise

    def run(self, statements: Sequence[Statement]) -> None:
        """Let statements run; raises what `at_work` raises."""
        self._begin(partial(self._run, statements), statements)

    def commit(self, statements: Sequence[Statement], position: Position) -> None:
        """Let statements run, and commit them with a position; raises what `at_work` raises."""
        self._begin(partial(self._commit, statements, position), statements)

    def _begin(self, work: Callable[[], None], statements: Sequence[Statement]) -> None:
        characters = sum(len(one.sql) + len(one.data or "") for one in statements)
        self._wait(0 if characters > _LARGE_CHARACTERS else _MOST_WAITING - 1)
        self._working.append(self._thread.submit(self._in_turn, work))

    def _wait(self, most: int) -> None:
        """Wait until the statements of this number of calls at most run or wait."""
        while len(self._working) > most:
            self._working.popleft().result()

    def _in_turn(self, work: Callable[[], None]) -> None:
        if self._is_stopped:  # what follows a statement that failed must not be committed
            return
        try:
            work()
        except BaseException:
            self._is_stopped = True
            raise

    def _run(self, statements: Sequence[Statement]) -> None:
        for statement in statements:
            try:
                with self._session.cursor() as cursor:
                    if not self._is_open:
                        self._open(cursor)
                    with self._paths.under(cursor, statement.table):
                        changed = self._execute(statement)
            except psycopg2.Error as error:
                refusal = self._paths.refused(statement.table, error)
                raise _explained(refusal, statement.table) from refusal
            if statement.rows is not None and changed != statement.rows:
                raise JournalError(
                    f"The restored table {shown(*statement.table)} is not what the journal continues: a"
                    f" statement changed {changed} rows instead of {statement.rows}.",
                    code="JOURNAL_DIVERGED",
                    hint=f"The rows are right up to {lsn_text(self._position.lsn)}. Choose another base; and report"
                    " it: either the base or the journal is incomplete.",
                )

    def _execute(self, statement: Statement) -> int:
        """Return how many rows were changed."""
        with self._session.cursor() as cursor:
            if statement.data is not None:
                # Bytes: `StringIO` has four for each character.
                data = BytesIO(statement.data.encode(self._codec))
                cursor.copy_expert(statement.sql, data, _COPIED_BYTES)
            elif statement.one_by_one is None:
                cursor.execute(statement.sql)
            else:
                cursor.execute("SAVEPOINT together")
                try:
                    cursor.execute(statement.sql)
                except (psycopg2.errors.UniqueViolation, psycopg2.errors.ExclusionViolation):
                    cursor.execute("ROLLBACK TO SAVEPOINT together")
                    return sum(map(self._execute, statement.one_by_one()))
                changed = cursor.rowcount
                cursor.execute("RELEASE SAVEPOINT together")
                return changed
            return cursor.rowcount

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

    def _commit(self, statements: Sequence[Statement], position: Position) -> None:
        self._run(statements)
        try:
            with self._session.cursor() as cursor:
                if not self._is_open:
                    self._open(cursor)
                marks.replace(cursor, marks.JOURNAL, self._name, asdict(position), self._schema)
            self._session.commit()
        except psycopg2.Error as error:
            raise _explained(error, None) from error
        self._position = position
        self._is_open = False


@contextmanager
def _switching_soon() -> Iterator[None]:
    """Let threads have Python's lock soon after they ask for it."""
    before = sys.getswitchinterval()
    sys.setswitchinterval(_SWITCH_SECONDS)
    try:
        yield
    finally:
        sys.setswitchinterval(before)


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
