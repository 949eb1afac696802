"""One run at a time per target. A lock belongs to an owner (a backup's id) and lives by its heartbeat."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Final

from coffre.catalog.items import LockItem
from coffre.catalog.records import read_item
from coffre.catalog.tables import ConditionFailedError, DynamoTable
from coffre.model.errors import CatalogError, LockLostError

_PARTITION: Final = "LOCK"
_ATTEMPTS: Final = 5  # Each lost attempt means that another owner moved the lock.


@dataclass(frozen=True, slots=True)
class Acquired:
    """Who has the lock after an attempt to get it.

    `dead_owner` is the run from whom it was taken over because its heartbeat was stale: it has to be marked FAILED.
    It is returned again when the same owner asks again, so that a crash between the two is repaired by the retry.
    """

    acquired: bool
    owner: str
    since: datetime
    heartbeat: datetime
    dead_owner: str | None = None


class Locks:
    """The locks of the targets."""

    def __init__(self, table: DynamoTable) -> None:
        self._table = table

    def acquire(self, target: str, owner: str, now: datetime, *, stale_after: timedelta) -> Acquired:
        """Take the lock of a target if it is free, ours, or its owner sent no heartbeat for `stale_after`.

        Parameters
        ----------
        stale_after
            At least three periods of `renew`, so that one lost heartbeat does not cost the lock.

        Returns
        -------
        Acquired
            `acquired` is False when another run, which is alive, has it.
        """
        for _ in range(_ATTEMPTS):
            found = self._find(target)
            if found and found.owner != owner and now - found.heartbeat_at <= stale_after:
                return Acquired(False, found.owner, found.since, found.heartbeat_at)
            result = _taken(found, owner, now)
            if self._replace(target, found, result):
                return result
        raise CatalogError(
            f'The lock of "{target}" changed {_ATTEMPTS} times while it was being taken.',
            code="LOCK_CONTENDED",
            hint="Many runs of this target start at the same time. The run can be repeated.",
        )

    def resume(self, target: str, owner: str, now: datetime, *, continuation: int, stale_after: timedelta) -> bool:
        """Let one invocation continue a run that paused, or whose continuation died; False: another works on it.

        No clock decides which of two invocations it is: each continuation has a number, and is given out once; an event
        that comes again after the run was handed on is of an earlier number, and too late whatever died since. Only the
        death of its owner is inferred from the time of its last heartbeat.

        Parameters
        ----------
        continuation
            The number of invocations before this one: from 1.

        Raises
        ------
        LockLostError
            Another run has the lock, or none.
        """
        found = self._find(target)
        if found is None or found.owner != owner:
            raise _lost(target, owner, found)
        had = found.continuation or 0
        is_over = continuation < max(had, found.awaited or 0)
        if is_over or (had == continuation and now - found.heartbeat_at <= stale_after):
            return False
        result = Acquired(True, owner, found.since, now, found.dead_owner)
        return self._replace(target, found, result, continuation=continuation)

    def hand_over(self, target: str, owner: str, until: datetime, *, continuation: int) -> None:
        """Keep the lock until this time for the continuation of this number, and for none before it.

        Raises
        ------
        LockLostError
            As `renew`.
        """
        changes = [LockItem.heartbeat_at.set(until), LockItem.awaited.set(continuation)]
        try:
            self._table.update(_PARTITION, target, changes, LockItem.owner == owner)
        except ConditionFailedError as error:
            raise _lost(target, owner, self._find(target)) from error

    def renew(self, target: str, owner: str, now: datetime) -> None:
        """Record that the owner is alive.

        Raises
        ------
        LockLostError
            Another run has the lock, or none: this run must stop and publish nothing.
        """
        try:
            self._table.update(_PARTITION, target, [LockItem.heartbeat_at.set(now)], LockItem.owner == owner)
        except ConditionFailedError as error:
            raise _lost(target, owner, self._find(target)) from error

    def release(self, target: str, owner: str) -> None:
        """Give the lock back. Nothing happens when it is not the owner's."""
        try:
            self._table.delete(_PARTITION, target, LockItem.owner == owner)
        except ConditionFailedError:
            return

    def _find(self, target: str) -> LockItem | None:
        raw = self._table.get(_PARTITION, target)
        return read_item(raw, LockItem, required=("owner", "since", "heartbeat_at")) if raw else None

    def _replace(
        self, target: str, found: LockItem | None, result: Acquired, *, continuation: int | None = None
    ) -> bool:
        """Write the lock unless it changed since it was read: a dead run that wakes up and renews keeps it."""
        item = LockItem(
            pk=_PARTITION,
            sk=target,
            owner=result.owner,
            since=result.since,
            heartbeat_at=result.heartbeat,
            dead_owner=result.dead_owner,
            continuation=continuation,
        )
        unchanged = LockItem.pk.does_not_exist()
        if found:
            unchanged = (LockItem.owner == found.owner) & (LockItem.heartbeat_at == found.heartbeat_at)
            # Two clocks can show the same time.
            had = found.continuation
            unchanged &= LockItem.continuation.does_not_exist() if had is None else LockItem.continuation == had
        try:
            self._table.put(item, unchanged)
        except ConditionFailedError:
            return False
        return True


def _taken(found: LockItem | None, owner: str, now: datetime) -> Acquired:
    if found is None:
        return Acquired(True, owner, now, now)
    if found.owner == owner:
        return Acquired(True, owner, found.since, now, found.dead_owner)
    return Acquired(True, owner, now, now, found.owner)


def _lost(target: str, owner: str, found: LockItem | None) -> LockLostError:
    return LockLostError(
        f'The run {owner} has lost the lock of "{target}".',
        detail=f"It is {found.owner}'s since {found.since.isoformat()}." if found else "No run has it.",
        hint="This run sent no heartbeat for too long and was taken for dead. It has stopped.",
    )
