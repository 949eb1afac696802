"""What happened to the rows of a table, as the journal of its database has it."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Any, Final, NamedTuple

from coffre.model.errors import (
    CoffreError,
    EncryptionError,
    EventError,
    IntegrityError,
    JournalError,
    ObjectMissingError,
)
from coffre.model.journal import JournalSegment
from coffre.model.names import TableName, shown
from coffre.model.words import counted
from coffre.policy.moments import Stretch
from coffre.postgres.journal.changes import (
    Begin,
    Change,
    Commit,
    Delete,
    Insert,
    Line,
    Lines,
    Row,
    RowChange,
    Truncate,
    Update,
)
from coffre.postgres.journal.definitions import Definitions, Table
from coffre.postgres.journal.definitions_document import parse_definitions
from coffre.postgres.journal.test_decoding import decode
from coffre.postgres.journal.transactions import Transaction, outline
from coffre.vault import journal
from coffre.vault.codec import FrameDecoder
from coffre.vault.vault import Vault

# A second look at a segment costs nothing as long as its lines are kept.
_KEPT_BYTES: Final = 16 * 1024 * 1024


@dataclass(frozen=True)
class Period:
    """Times of commits, with both ends."""

    since: datetime | None = None
    until: datetime | None = None

    def has(self, time: datetime) -> bool:
        """Return whether a time is in it."""
        return (self.since is None or time >= self.since) and (self.until is None or time <= self.until)

    def touches(self, segment: JournalSegment) -> bool:
        """Return whether a segment may have a transaction of it."""
        first, last = segment.first_commit, segment.last_commit
        return not (
            (self.since is not None and last is not None and last < self.since)
            or (self.until is not None and first is not None and first > self.until)
        )


class Happened(NamedTuple):
    """One change of a table, and the transaction that made it."""

    interval: str
    transaction: Transaction
    change: RowChange | Truncate


@dataclass(frozen=True)
class History:
    """What is stored of a journal, and what opens it.

    Parameters
    ----------
    stretches
        With all of their segments, the oldest first.
    on_damage
        Hears of what cannot be read, and is left out; None: it is raised.
    """

    vault: Vault
    stretches: Sequence[Stretch[Any]]
    decoder: FrameDecoder
    on_damage: Callable[[CoffreError], None] | None = None

    @contextmanager
    def leaving_out(self) -> Iterator[None]:
        """Leave out what is damaged, or opened by none of the keys, from there on."""
        try:
            yield
        except (IntegrityError, ObjectMissingError, EncryptionError, JournalError) as error:
            if self.on_damage is None:
                raise
            self.on_damage(error)

    def definitions(self) -> dict[str, Definitions]:
        """Return the definitions of each interval, by its id; what is left out is not all of them.

        Raises
        ------
        JournalError
            `JOURNAL_UNREADABLE`
        IntegrityError, ObjectMissingError, EncryptionError
            What is damaged, or opened by none of the keys.
        """
        found = dict[str, Definitions]()
        for interval, stretch in {one.interval.id: one for one in self.stretches}.items():
            with self.leaving_out():
                document = journal.read_definitions_of(self.vault, stretch.interval, self._opened(stretch))
                found[interval] = parse_definitions(document)
        if self.stretches and not found and self.on_damage is not None:
            return replace(self, on_damage=None).definitions()  # it says why
        return found

    def lines(self, stretch: Stretch[Any], segment: JournalSegment, *, is_kept: bool = True) -> Lines:
        """Return what opens the lines of a segment; those of a small one are kept, where they are read twice."""
        decoder = self._opened(stretch)

        def read() -> Iterator[Line]:
            return (Line(*line) for line in journal.read_lines(self.vault, segment, decoder))

        if not is_kept or segment.size > _KEPT_BYTES:
            return read
        kept = list(read())
        return lambda: iter(kept)

    def _opened(self, stretch: Stretch[Any]) -> FrameDecoder:
        return self.decoder.of_recipients(stretch.interval.recipients)


def tables_named(name: str, key: Sequence[str], definitions: Mapping[str, Definitions]) -> dict[str, Table]:
    """Return the table of this name in each interval that has it. The schema may be left out if the name is unique.

    Parameters
    ----------
    key
        The values of a row's key, one for each of its columns; empty: all rows are meant.

    Raises
    ------
    EventError
        `TABLE_UNKNOWN`, `JOURNAL_KEY`
    """
    names = {table for one in definitions.values() for table in one.tables}
    found = [one for one in names if name in (shown(*one), ".".join(one))] or [one for one in names if one[1] == name]
    if len(found) != 1:
        raise EventError(
            f'The journal has {len(found) or "no"} table{"s" if found else ""} "{name}".',
            code="TABLE_UNKNOWN",
            hint=_known(found or names),
        )
    tables = {interval: one.tables[found[0]] for interval, one in definitions.items() if found[0] in one.tables}
    for table in tables.values():
        _require_rows(table, key)
    return tables


def _known(names: Sequence[TableName] | set[TableName]) -> str:
    listed = sorted(shown(*one) for one in names)
    more = f" and {len(listed) - 10:,} more" if len(listed) > 10 else ""
    return f"Give one with its schema: {', '.join(listed[:10])}{more}." if listed else "It follows no table."


def _require_rows(table: Table, key: Sequence[str]) -> None:
    name = shown(*table.name)
    if table.is_partitioned:
        raise EventError(
            f"{name} is partitioned, and has no rows of its own.",
            code="TABLE_UNKNOWN",
            hint="Name one of its partitions: the journal has their rows.",
        )
    if key and len(key) != len(table.key):
        has = f"the key ({', '.join(table.key)})" if table.key else "no key"
        raise EventError(
            f"{name} has {has}: {counted(len(key), 'value')} cannot name a row of it.",
            code="JOURNAL_KEY",
            hint="Give --key for each of its columns, in their order." if table.key else "Leave --key out.",
        )


def changes_of(history: History, tables: Mapping[str, Table], key: Sequence[str], period: Period) -> Iterator[Happened]:
    """Yield what happened to a table, or to one row of it, the newest last; no more than a segment is in memory.

    Parameters
    ----------
    tables
        As `tables_named` returns them.

    Raises
    ------
    JournalError
        `JOURNAL_UNREADABLE`
    IntegrityError
        `JOURNAL_DAMAGED`, and what `Vault.read_frame` raises.
    """
    for stretch in history.stretches:
        table = tables.get(stretch.interval.id)
        if table is None:
            continue
        for segment in filter(period.touches, stretch.all_segments):
            # What a segment repeats of the one before it ends at or before its own beginning.
            with history.leaving_out():
                found = _of_segment(history.lines(stretch, segment), table.name, period, segment.from_lsn)
                for transaction, change in found:
                    if _is_meant(change, table, key):
                        yield Happened(stretch.interval.id, transaction, change)


def _of_segment(
    lines: Lines, table: TableName, period: Period, after_lsn: int
) -> Iterator[tuple[Transaction, RowChange | Truncate]]:
    """Yield the changes of a table; the end of a transaction, which says when it was, is read ahead."""
    ahead = outline(lines())
    now: Transaction | None = None

    def is_wanted(_: Begin) -> bool:
        nonlocal now
        now = next(ahead, None)
        return now is not None and now.commit_lsn > after_lsn and period.has(now.time)

    for change in decode(_about(table, lines()), is_wanted=is_wanted):
        if now is not None and not isinstance(change, Begin | Commit):
            yield now, change


def _about(table: TableName, lines: Iterable[Line]) -> Iterator[Line]:
    """Leave out lines that cannot be about a table, since they do not have its name."""
    name = table[1].replace('"', '""')
    return (line for line in lines if not line.data.startswith("table ") or name in line.data)


def _is_meant(change: Change, table: Table, key: Sequence[str]) -> bool:
    if isinstance(change, Truncate):
        return table.name in change.tables
    if not isinstance(change, Insert | Update | Delete) or change.table != table.name:
        return False
    rows = [None if isinstance(change, Insert) else change.old, None if isinstance(change, Delete) else change.new]
    return not key or any(row is not None and _key_of(row, table) == tuple(key) for row in rows)


def _key_of(row: Row, table: Table) -> tuple[object, ...]:
    values = dict(zip(row.names, row.values, strict=True))
    return tuple(values.get(column) for column in table.key)


def require_journal(target: str, stretches: Sequence[Stretch[Any]]) -> None:
    """Refuse a target without a journal.

    Raises
    ------
    JournalError
        `JOURNAL_NONE`
    """
    if not stretches:
        raise JournalError(
            f"Nothing of a journal of {target} is stored.",
            code="JOURNAL_NONE",
            hint="docs/point-in-time.md says how one is switched on. Backups have moments, too: coffre list.",
        )
