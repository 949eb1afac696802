"""Which transactions of a journal belong to a moment: not what the base has already, and nothing after the moment."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Final, NamedTuple, Self

from coffre.model.errors import JournalError
from coffre.postgres.journal.changes import Begin, Line
from coffre.postgres.journal.test_decoding import begin_of, commit_of, unreadable

_SNAPSHOT: Final = re.compile(r"(\d+):(\d+):((?:\d+(?:,\d+)*)?)")
_EPOCH: Final = 1 << 32


class Transaction(NamedTuple):
    """One transaction of a journal, without its rows."""

    xid: int
    begin_lsn: int
    commit_lsn: int
    time: datetime


def outline(lines: Iterable[Line]) -> Iterator[Transaction]:
    """Yield the transactions of a segment, by the lines that begin and end them.

    Raises
    ------
    JournalError
        `JOURNAL_UNREADABLE`
    """
    begun: Begin | None = None
    for line in lines:
        if line.data.startswith("BEGIN"):
            begun = begin_of(line)
        elif line.data.startswith("COMMIT "):
            commit = commit_of(line)
            if begun is None or begun.xid != commit.xid:
                raise unreadable(line, f"the transaction {commit.xid} has not begun")
            yield Transaction(commit.xid, begun.lsn, commit.lsn, commit.time)
            begun = None


@dataclass(frozen=True)
class BaseSnapshot:
    """What the backup that a journal is applied to has seen.

    Parameters
    ----------
    lsn
        The server's WAL position, read after the snapshot was taken: what was committed later is not in it. None: not
        known.
    """

    xmin: int
    xmax: int
    running: frozenset[int]
    lsn: int | None = None

    @classmethod
    def parse(cls, text: str, lsn: int | None = None) -> Self:
        """Return a snapshot from the text of `pg_current_snapshot()`: `xmin:xmax:running,...`.

        Raises
        ------
        JournalError
            `JOURNAL_SNAPSHOT`
        """
        found = _SNAPSHOT.fullmatch(text)
        if found is None or not int(found[1]) <= int(found[2]):
            raise JournalError(
                f'"{text}" is no snapshot of PostgreSQL.',
                code="JOURNAL_SNAPSHOT",
                hint="The manifest of this backup cannot be the base of a journal: choose another backup.",
            )
        running = frozenset(map(int, found[3].split(","))) if found[3] else frozenset[int]()
        return cls(int(found[1]), int(found[2]), running, lsn)

    def has(self, transaction: Transaction) -> bool:
        """Return whether the base has this transaction's rows.

        Notes
        -----
        A stream names transactions by the low 32 bits of their numbers. The full number is the one nearest to the
        snapshot's, which would be wrong after two thousand million further transactions; these are behind `lsn`.
        """
        if self.lsn is not None and transaction.commit_lsn > self.lsn:
            return False
        distance = (transaction.xid - self.xmax) % _EPOCH
        full = self.xmax + (distance if distance < _EPOCH // 2 else distance - _EPOCH)
        return full < self.xmin or (full < self.xmax and full not in self.running)


@dataclass(frozen=True)
class Moment:
    """Where a replay ends: before the first transaction that is beyond any of these limits.

    With `snapshot`, what a later backup has not seen is left out, though it comes before the limit: transactions do not
    become visible in the order of their commits in the WAL. What the backup has seen needs nothing of it.
    """

    time: datetime | None = None
    lsn: int | None = None
    before_xid: int | None = None
    snapshot: BaseSnapshot | None = None

    def is_before(self, transaction: Transaction) -> bool:
        """Return whether this transaction comes after the moment."""
        return (
            (self.time is not None and transaction.time > self.time)
            or (self.lsn is not None and transaction.commit_lsn > self.lsn)
            or (self.before_xid is not None and transaction.xid == self.before_xid)
        )

    def shows(self, transaction: Transaction) -> bool:
        """Return whether a transaction before the limits belongs to the moment."""
        return self.snapshot is None or self.snapshot.has(transaction)


class Choice(NamedTuple):
    """The transactions of a segment that are to be applied, in order, and whether the moment is reached with them."""

    transactions: Sequence[Transaction]
    is_last: bool


def choose(found: Iterable[Transaction], base: BaseSnapshot, moment: Moment, after_lsn: int) -> Choice:
    """Choose what is applied of a segment.

    What was applied already (`after_lsn`, of the last commit) is left out, also where a segment repeats it: an advance
    of the slot that was lost makes the server send transactions again. Times of commits are not in the order of
    commits when a clock was set back: the first one beyond the moment ends the choice.
    """
    chosen = list[Transaction]()
    for transaction in found:
        if transaction.commit_lsn <= after_lsn:
            continue
        if moment.is_before(transaction):
            return Choice(chosen, is_last=True)
        after_lsn = transaction.commit_lsn
        if not base.has(transaction) and moment.shows(transaction):
            chosen.append(transaction)
    return Choice(chosen, is_last=False)
