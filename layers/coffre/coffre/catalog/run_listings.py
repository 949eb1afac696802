"""Which records of backups or restores a list has, and in which order."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from itertools import islice
from typing import Final

from coffre.catalog.items import BY_STATUS, BY_TARGET, index_value
from coffre.catalog.records import read_record, readable
from coffre.catalog.run_ids import id_range
from coffre.catalog.run_items import BackupItem, RunItem
from coffre.catalog.run_kinds import RunKind
from coffre.catalog.tables import DynamoTable, ItemQuery, RawItem
from coffre.model.backup import Backup, Restore, Status
from coffre.model.errors import IntegrityError
from coffre.model.kinds import TargetKind

# How many records each call of a page with a filter looks at: first few, in all as many as one call can return.
_LOOKED_AT: Final = (100, 200, 400, 500)
# Of a ULID: the letters of its time, and the last letter of its alphabet.
_TIME_LETTERS: Final = 10
_LAST_LETTER: Final = "Z"


@dataclass(frozen=True)
class RunPage[R: (Backup, Restore)]:
    """Some records, newest first, and the id before which the next page begins; None: this is the last page.

    `damaged`: those that cannot be read.
    """

    records: tuple[R, ...]
    next: str | None
    damaged: tuple[IntegrityError, ...] = ()


class RunListings[R: (Backup, Restore)]:
    """The lists of the records of one kind."""

    def __init__(self, table: DynamoTable, kind: RunKind[R]) -> None:
        self._table = table
        self._kind: RunKind[R] = kind

    def listing(
        self,
        target: str | None,
        status: Status | None,
        since: datetime | None = None,
        until: datetime | None = None,
        before: str | None = None,
    ) -> ItemQuery:
        """Return how to list the records of a target, of a status, of a time, with ids before one, or all."""
        kind, keys = self._kind, id_range(since, until, before)
        if target is not None:
            where = RunItem.status == status.value if status else None
            return ItemQuery(index_value(kind.partition, target), BY_TARGET, keys, where)
        if status is not None:
            return ItemQuery(index_value(kind.partition, status.value), BY_STATUS, keys)
        return ItemQuery(kind.partition, None, keys)

    @staticmethod
    def began(listing: ItemQuery, since: datetime | None, until: datetime | None) -> ItemQuery:
        """Narrow a listing to what began in a time: the table filters, as what does not fit would be read in vain."""
        where = listing.where
        if since is not None:
            where = RunItem.created_at >= since if where is None else where & (RunItem.created_at >= since)
        if until is not None:
            where = RunItem.created_at < until if where is None else where & (RunItem.created_at < until)
        return replace(listing, where=where)

    def page(
        self,
        listing: ItemQuery,
        size: int,
        *,
        kind: TargetKind | None = None,
        fits: Callable[[R], bool] | None = None,
    ) -> RunPage[R]:
        """Return at most `size` records of a listing, of one kind of target, that fit: one call, whatever exists.

        With a filter it is a few calls, as it ends when the page is full: to read as much as a call can return takes
        ten times as long as to show a page. What fits rarely can give a short page, even an empty one, that has a next
        page.
        """
        where = listing.where
        if kind is not None:
            of_kind = BackupItem.kind == kind.value
            where = of_kind if where is None else where & of_kind
        is_sparse = where is not None or fits is not None
        found: list[R] = []
        damaged: list[IntegrityError] = []
        last: RawItem | None = None
        for limit in _LOOKED_AT if is_sparse else (size,):
            raws, last = self._table.page(replace(listing, where=where, page=limit), last)
            more = (record for record in readable(raws, self._read, damaged) if fits is None or fits(record))
            found += islice(more, size + 1 - len(found))
            if len(found) > size:
                return RunPage(tuple(found[:size]), found[size - 1].id, tuple(damaged))
            if last is None:
                break
        looked_at = last["sk"]["S"] if last is not None else None
        if looked_at is not None and fits is not None:
            looked_at = _end_of(found, looked_at)
        return RunPage(tuple(found), looked_at, tuple(damaged))

    def completed(self, target: str) -> ItemQuery:
        """Return how to list a target's COMPLETED records: through those of all targets, which deleted ones never join.

        Records of deleted backups stay for ever; the index of a target would be read through all of them.
        """
        kind = self._kind
        partition = index_value(kind.partition, Status.COMPLETED.value)
        return ItemQuery(partition, BY_STATUS, where=RunItem.target == target)

    def good(self, target: str, *, verified: bool) -> ItemQuery:
        """Return how to list a target's COMPLETED records without damage, or those of them that are verified."""
        where = (RunItem.status == Status.COMPLETED.value) & BackupItem.damaged_at.does_not_exist()
        if verified:
            where &= BackupItem.verified_at.exists()
        # Few of those that are looked at fit: a year of daily records is one call.
        return ItemQuery(index_value(self._kind.partition, target), BY_TARGET, where=where, page=None)

    def ends(self, target: str, count: int, *, oldest_first: bool = False) -> ItemQuery:
        """Return how to list the newest or the oldest records of a target, when no more than `count` are taken."""
        return ItemQuery(index_value(self._kind.partition, target), BY_TARGET, oldest_first=oldest_first, page=count)

    def records(self, listing: ItemQuery, damaged: list[IntegrityError] | None = None) -> Iterator[R]:
        """Yield records newest first, reading as they are taken; what is `damaged`: see `readable`."""
        return readable(self._table.query(listing), self._read, damaged)

    def _read(self, raw: RawItem) -> R:
        return read_record(raw, self._kind.item, self._kind.record)


def _end_of(found: Sequence[Backup | Restore], looked_at: str) -> str:
    """Return where a short page ends, as an id that is of none but those found.

    The last record that was looked at may be one that who asks must not know of: the end of its millisecond is
    returned. What does not fit is looked at again, and what fits never.
    """
    return min(
        [
            f"{looked_at[:_TIME_LETTERS]}{_LAST_LETTER * (len(looked_at) - _TIME_LETTERS)}",
            *(one.id for one in found[-1:]),
        ]
    )
