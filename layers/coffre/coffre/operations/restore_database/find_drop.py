"""Where a journal shows that data may have been lost, and how the moment just before is restored."""

from __future__ import annotations

from collections import Counter, deque
from collections.abc import Callable, Iterable, Iterator
from contextlib import suppress
from dataclasses import dataclass, replace
from datetime import datetime
from enum import StrEnum
from heapq import heappush, heappushpop
from itertools import count
from typing import Final

from coffre.model.backup import Backup
from coffre.model.errors import IntegrityError, ObjectMissingError
from coffre.model.journal import IntervalEnd, JournalEnd, JournalState
from coffre.model.kinds import TargetKind
from coffre.model.names import TableName
from coffre.operations.restore_database.interval_parts import with_bases
from coffre.operations.restore_database.moments import stretches_of
from coffre.operations.restore_database.row_history import History, Period
from coffre.operations.stored_backup.open_backup import open_manifest
from coffre.policy.moments import Point, Stretch
from coffre.postgres.journal.changes import Lines
from coffre.postgres.journal.definitions import Definitions
from coffre.postgres.journal.fitting import fit
from coffre.postgres.journal.test_decoding import commit_of, head_of
from coffre.postgres.journal.transactions import Transaction
from coffre.vault.segment_runs import cut_error
from coffre.vault.vault import Vault

_DELETE, _TRUNCATE = ": DELETE:", ": TRUNCATE:"
# One row that was deleted is everyday work.
_LEAST_ROWS: Final = 2
_ENDS: Final = (JournalEnd.DEFINITIONS, JournalEnd.REWRITTEN, JournalEnd.UNKNOWN_TABLE)


class LossKind(StrEnum):
    """What may have lost data."""

    DEFINITIONS = "definitions"
    TRUNCATE = "truncate"
    DELETE = "delete"


@dataclass(frozen=True)
class Loss:
    """A transaction, or changed definitions, that may have lost data.

    Parameters
    ----------
    time
        Of the commit; where definitions have changed, the last moment that fits those before; None: not known.
    before_lsn
        The position just before it: a restore up to there has what it lost.
    backup
        The base from which that moment is restored; None: the journal has none.
    tables
        With the number of rows that were deleted; of other kinds 0.
    without_rows
        Where definitions have changed, the last transactions before that changed no row: one of them may have done it.
    """

    kind: LossKind
    time: datetime | None
    before_lsn: int
    backup: Backup | None
    xid: int | None = None
    tables: tuple[tuple[TableName, int], ...] = ()
    text: str = ""
    without_rows: tuple[Transaction, ...] = ()

    @property
    def rows(self) -> int:
        """How many rows were deleted."""
        return sum(rows for _, rows in self.tables)


@dataclass(frozen=True)
class Losses:
    """What was found, the newest last, and how many more there are of the same kinds."""

    found: list[Loss]
    further_deletes: int
    further_truncates: int


def whole_stretches(
    vault: Vault,
    target: str,
    backups: Iterable[Backup],
    state: JournalState | None,
    on_damage: Callable[[IntegrityError], None],
) -> list[Stretch[Backup]]:
    """Return all that is stored of a target's journal, the oldest first, with the bases among its completed backups.

    What is damaged is left out, and the errors are given to `on_damage`.
    """
    found: list[Stretch[Backup]] = stretches_of(vault, target, [], state, on_damage)
    for one in found:
        if one.cut is not None:
            on_damage(cut_error(one.interval, one.cut))
    if not found:
        return []
    bases = []
    for backup in backups:
        if (
            backup.kind is TargetKind.DATABASE
            and backup.is_healthy
            and backup.created_at >= found[0].interval.started_at
        ):
            with suppress(IntegrityError, ObjectMissingError):
                content = open_manifest(vault, backup).database
                bases.append((backup, content.database, content.journal))
    return [with_bases(one, bases) for one in found]


def losses_of(history: History, stretches: Iterable[Stretch[Backup]], period: Period, most: int) -> Losses:
    """Look for what may have lost data: changed definitions, TRUNCATEs, and the transactions with the most deletes.

    Parameters
    ----------
    most
        As many TRUNCATEs (the newest) and transactions with deletes (the largest) are returned.

    Raises
    ------
    JournalError
        `JOURNAL_UNREADABLE`
    IntegrityError
        `JOURNAL_DAMAGED`, and what `Vault.read_frame` raises.
    """
    definitions, order = history.definitions(), count()
    ends = list[tuple[int, Loss]]()
    truncates = deque[tuple[int, Loss]](maxlen=most)
    deletes = list[tuple[int, int, Loss]]()
    of_kind = Counter[LossKind]()
    for stretch in stretches:
        if (known := definitions.get(stretch.interval.id)) is None:
            continue
        for loss in _in_stretch(history, stretch, known, period):
            of_kind[loss.kind] += 1
            if loss.kind is LossKind.TRUNCATE:
                truncates.append((next(order), loss))
            else:
                one = (loss.rows, next(order), loss)
                heappush(deletes, one) if len(deletes) < most else heappushpop(deletes, one)
        if (end := _end_of(history, stretch, known, period)) is not None:
            ends.append((next(order), end))
    found = sorted([*ends, *truncates, *((at, loss) for _, at, loss in deletes)], key=lambda one: one[0])
    return Losses(
        [loss for _, loss in found],
        of_kind[LossKind.DELETE] - len(deletes),
        of_kind[LossKind.TRUNCATE] - len(truncates),
    )


def _in_stretch(history: History, stretch: Stretch[Backup], definitions: Definitions, period: Period) -> Iterator[Loss]:
    for segment in filter(period.touches, stretch.all_segments):
        with history.leaving_out():
            for loss in _in_segment(history.lines(stretch, segment, is_kept=False), definitions, segment.from_lsn):
                if loss.time is not None and period.has(loss.time):
                    yield replace(loss, backup=_base(stretch, loss.before_lsn))


def _in_segment(lines: Lines, definitions: Definitions, after_lsn: int) -> Iterator[Loss]:
    deleted, emptied = Counter[TableName](), set[TableName]()
    for line in lines():
        if line.data.startswith("COMMIT "):
            commit = commit_of(line)
            at = (commit.time, commit.lsn - 1, None, commit.xid)
            if commit.lsn > after_lsn and emptied:
                yield Loss(LossKind.TRUNCATE, *at, tuple((table, 0) for table in sorted(emptied)))
            if commit.lsn > after_lsn and deleted.total() >= _LEAST_ROWS:
                yield Loss(LossKind.DELETE, *at, tuple(deleted.most_common()))
            deleted, emptied = Counter(), set()
        elif line.data.startswith("table ") and (_DELETE in line.data or _TRUNCATE in line.data):
            kind_at, tables = head_of(line)
            known = [table for table in tables if table in definitions.tables]  # rows of views are computed
            if line.data.startswith(_TRUNCATE, kind_at):
                emptied.update(known)
            elif line.data.startswith(_DELETE, kind_at):
                deleted.update(known)


def _end_of(history: History, stretch: Stretch[Backup], definitions: Definitions, period: Period) -> Loss | None:
    end: IntervalEnd | None = stretch.end
    if end is None or end.reason not in _ENDS or not period.has(end.seen_at or end.ended_at):
        return None
    until = stretch.until(Point(lsn=0)).lsn or end.stored_lsn
    loss = Loss(LossKind.DEFINITIONS, end.seen_at, until, None, text=end.text or end.reason.value)
    if end.tail is not None:
        with history.leaving_out():
            found = fit(history.lines(stretch, end.tail), definitions, end.stored_lsn)
            time = found.last.time if found.last is not None else end.seen_at
            loss = replace(loss, time=time, before_lsn=max(until, found.lsn), without_rows=found.without_rows)
    return replace(loss, backup=_base(stretch, loss.before_lsn))


def _base(stretch: Stretch[Backup], lsn: int) -> Backup | None:
    point = Point(lsn=lsn)
    found = stretch.base_for(point) or stretch.base_for(point, in_tail=True)
    return found[0] if found is not None else None
