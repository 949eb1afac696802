"""The locks of a reader: taken before it reads some slices, released when it has, or when others wait (ADR 50).

Locks that were taken after a savepoint are released with it, while the transaction keeps its snapshot.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import Final

from coffre.model.errors import LockYieldedError
from coffre.model.names import qualified
from coffre.policy.slicing import Slice, TableExtent
from coffre.postgres.archive import sql_ascii
from coffre.postgres.source.catalog_drift import Fact, shown_of_tables
from coffre.postgres.source.copy_out import CopyOut, QueryFailedError
from coffre.postgres.source.locks import lock_statement
from coffre.postgres.source.present_catalog import PresentCatalog

# A second or two of reading. Locks and checks cost a few round trips.
_LOCKED_BYTES: Final = 32 * 1024 * 1024
# A migration may hold its locks for as long as it was waited for when each attempt took a new snapshot.
_PATIENCE_FACTOR: Final = 3
_LOCK_NOT_AVAILABLE: Final = frozenset({"55P03", "40P01"})
_CANCELLED: Final = "57014"
_RELEASE: Final = "ROLLBACK TO SAVEPOINT part; RELEASE SAVEPOINT part"

type Answers = Iterator[Iterator[memoryview]]


def locked_together(slices: Iterable[Slice]) -> Iterator[list[Slice]]:
    """Divide the slices of a part: many small ones share their locks and checks, and no lock is held for long."""
    waiting: list[Slice] = []
    size = 0
    for piece in slices:
        if waiting and size + piece.size_bytes > _LOCKED_BYTES:
            yield waiting
            waiting, size = [], 0
        waiting.append(piece)
        size += piece.size_bytes
    if waiting:
        yield waiting


class LockedTables:
    """Tables that are locked, and what the snapshot shows of them."""

    def __init__(self, present: PresentCatalog, shown: Sequence[Fact], tables: dict[int, str]) -> None:
        self._present = present
        self._shown = shown
        self.tables = tables

    def require(self) -> None:
        """Raise `SchemaChangedError` if what `COPY` reads is no longer what the snapshot has."""
        self._present.require(self._shown, self.tables)


class PartLocks:
    """The locks of one reader, one after another. `backend` is the process id of its session at the server."""

    def __init__(self, copy: CopyOut, present: PresentCatalog, backend: int, encoding: str) -> None:
        self._copy = copy
        self._present = present
        self._backend = backend
        self._encoding = encoding
        self._was_asked = False
        self._last: LockedTables | None = None

    def take(
        self, tables: Sequence[TableExtent], copies: Sequence[str], check: Callable[[], None]
    ) -> tuple[Answers, LockedTables]:
        """Lock tables; return the answers to the copies, which are sent together with that, and the locked tables.

        Raises
        ------
        QueryFailedError
            A table is gone, or locked by another session for longer than this waits.
        """
        names = {table.oid: f"ONLY {qualified(table.schema, table.name)}" for table in tables}
        lock = f"SAVEPOINT part; {lock_statement(list(names.values()))}"
        known = self._last if self._last is not None and self._last.tables == names else None
        if known is None:  # of a large table there are many slices, and what the snapshot shows stays
            lock += f"; COPY ({shown_of_tables(names)}) TO STDOUT"
        if self._encoding == sql_ascii.ENCODING:
            lock = sql_ascii.archived(lock)
        until = time.monotonic() + self._present.patience_seconds * _PATIENCE_FACTOR
        while True:
            check()
            answers = self._copy.run([lock, *copies])
            try:
                shown = b"".join(bytes(chunk) for chunk in next(answers))
            except QueryFailedError as error:
                is_passing = error.sqlstate in _LOCK_NOT_AVAILABLE or self.were_given_up(error)
                if not is_passing or time.monotonic() > until:
                    raise
                self.release()
            else:
                facts = [_fact(line) for line in shown.splitlines()]
                self._last = known or LockedTables(self._present, facts, names)
                return answers, self._last

    def release(self) -> None:
        """Release the locks of the part, also after an error; the snapshot stays."""
        self._copy.settle()
        try:
            self._run(_RELEASE)
        except QueryFailedError as error:
            if not self.were_given_up(error):  # a cancel that came late
                raise
            self._run(_RELEASE)

    def let_go(self) -> None:
        """Give up the locks, if a part is being read: its statement fails. Called by another thread."""
        self._was_asked = True
        self._present.cancel(self._backend)

    def were_given_up(self, error: QueryFailedError) -> bool:
        """Whether a statement failed because of `let_go`."""
        return error.sqlstate == _CANCELLED and self._was_asked

    def _run(self, statement: str) -> None:
        for answer in self._copy.run([statement]):
            for _ in answer:
                pass


def lock_yielded(table: str) -> LockYieldedError:
    """Return the error for locks that were given up because another session waited for them."""
    return LockYieldedError(
        f"Another session waited too long for a lock on {table} that the backup held, and blocked other queries.",
        hint="Nothing was published. Run ALTER TABLE, TRUNCATE, VACUUM FULL and the like at another time, raise "
        "limits.lock_timeout_seconds, or leave the table's rows out (tables.exclude_data).",
    )


def _fact(line: bytes) -> Fact:
    oid, width, mark = line.split(b"\t")
    return int(oid), int(width), int(mark)
