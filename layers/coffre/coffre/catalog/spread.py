"""What the steps of a spread backup know of each other: who holds the snapshot, and how far each group of parts is.

All of it is one partition, for as long as a run lives. None of it is the backup: what counts is in the vault.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Final

from pynamodb.expressions.update import Action

from coffre.catalog.items import Item
from coffre.catalog.records import read_item
from coffre.catalog.spread_items import EpochItem, GroupItem, SealItem
from coffre.catalog.tables import ConditionFailedError, DynamoTable, ItemQuery, RawItem
from coffre.model.backup import Failure

_PARTITION: Final = "SPREAD"
_KEPT: Final = timedelta(days=7)  # for a person who looks at what happened


@dataclass(frozen=True)
class Epoch:
    """A session that holds the snapshot of a run: `snapshot` is what it exported.

    `holder` is `plan`, `a` or `b`. It lives until `expires_at` if nothing happens to it, and sent
    its last heartbeat at `seen_at`.
    """

    number: int
    holder: str
    snapshot: str
    expires_at: datetime
    seen_at: datetime
    is_over: bool = False

    def is_alive(self, now: datetime, silent_for: timedelta) -> bool:
        """Tell whether it has not ended, as far as its heartbeats say."""
        return not self.is_over and now - self.seen_at <= silent_for


@dataclass(frozen=True)
class GroupState:
    """How far the last attempt at a group of parts is. Only stored parts count. `failure` is why it ended."""

    number: int
    attempt: str
    seen_at: datetime
    done_bytes: int = 0
    done_tables: int = 0
    current: str | None = None
    is_over: bool = False
    failure: Failure | None = None
    done_objects: int = 0

    def is_alive(self, now: datetime, silent_for: timedelta) -> bool:
        """Tell whether an invocation works on it, as far as heartbeats say."""
        return not self.is_over and now - self.seen_at <= silent_for


class Spread:
    """The epochs and groups of all runs that are spread over several invocations."""

    def __init__(self, table: DynamoTable) -> None:
        self._table = table

    # --- who holds the snapshot ---

    def begin_epoch(self, backup_id: str, epoch: Epoch) -> bool:
        """Add an epoch; False: another holder has one of this number."""
        item = EpochItem(
            pk=_PARTITION,
            sk=f"{backup_id}#epoch#{epoch.number:06d}",
            snapshot=epoch.snapshot,
            holder=epoch.holder,
            seen_at=epoch.seen_at,
            expires_at=epoch.expires_at,
            expires_at_epoch=_forgotten_at(epoch.seen_at),
        )
        try:
            self._table.put(item, Item.pk.does_not_exist())
        except ConditionFailedError:
            return self._find_epoch(backup_id, epoch.number) == epoch  # the answer to our first attempt was lost
        return True

    def keep_epoch(self, backup_id: str, number: int, now: datetime) -> None:
        """Record that the holder of an epoch is alive."""
        self._change_epoch(backup_id, number, EpochItem.seen_at.set(now))

    def end_epoch(self, backup_id: str, number: int) -> None:
        """Record that a snapshot is about to go: no other session may count on it."""
        self._change_epoch(backup_id, number, EpochItem.is_over.set(True))

    def epochs(self, backup_id: str) -> list[Epoch]:
        """Return the epochs of a run as they are at this instant, the newest first."""
        keys = Item.sk.startswith(f"{backup_id}#epoch#")
        return [_epoch(raw) for raw in self._table.query(ItemQuery(_PARTITION, None, keys, page=None))]

    def _find_epoch(self, backup_id: str, number: int) -> Epoch | None:
        raw = self._table.get(_PARTITION, f"{backup_id}#epoch#{number:06d}")
        return _epoch(raw) if raw else None

    def _change_epoch(self, backup_id: str, number: int, action: Action) -> None:
        sort = f"{backup_id}#epoch#{number:06d}"
        self._table.update(_PARTITION, sort, [action], Item.pk.exists())

    # --- how far the groups are ---

    def put_group(self, backup_id: str, state: GroupState) -> None:
        """Record how far an attempt at a group is; the last attempt counts."""
        item = GroupItem(
            pk=_PARTITION,
            sk=f"{backup_id}#group#{state.number:06d}",
            attempt=state.attempt,
            seen_at=state.seen_at,
            done_bytes=state.done_bytes,
            done_tables=state.done_tables,
            done_objects=state.done_objects or None,
            current=state.current,
            is_over=state.is_over,
            failure=state.failure.model_dump() if state.failure else None,
            expires_at_epoch=_forgotten_at(state.seen_at),
        )
        self._table.put(item)

    def groups(self, backup_id: str) -> list[GroupState]:
        """Return the groups of a run that were begun, as they are at this instant, the last first."""
        keys = Item.sk.startswith(f"{backup_id}#group#")
        return [_group(raw) for raw in self._table.query(ItemQuery(_PARTITION, None, keys, page=None))]

    # --- who seals ---

    def claim_seal(self, backup_id: str, attempt: str, now: datetime, *, stale_after: timedelta) -> bool:
        """Let one invocation seal a run; False: another one is at it. A claim lives by being repeated."""
        item = SealItem(
            pk=_PARTITION,
            sk=f"{backup_id}#seal",
            attempt=attempt,
            seen_at=now,
            expires_at_epoch=_forgotten_at(now),
        )
        is_ours = SealItem.attempt == attempt
        try:
            self._table.put(item, Item.pk.does_not_exist() | is_ours | (SealItem.seen_at < now - stale_after))
        except ConditionFailedError:
            return False
        return True

    def is_sealing(self, backup_id: str) -> bool:
        """Tell whether an invocation has begun to seal a run."""
        return self._table.get(_PARTITION, f"{backup_id}#seal") is not None


def _forgotten_at(now: datetime) -> int:
    return int((now + _KEPT).timestamp())


def _epoch(raw: RawItem) -> Epoch:
    item = read_item(raw, EpochItem, required=("snapshot", "holder", "seen_at", "expires_at"))
    number = int(item.sk.rpartition("#")[2])
    return Epoch(number, item.holder, item.snapshot, item.expires_at, item.seen_at, bool(item.is_over))


def _group(raw: RawItem) -> GroupState:
    item = read_item(raw, GroupItem, required=("attempt", "seen_at"))
    return GroupState(
        number=int(item.sk.rpartition("#")[2]),
        attempt=item.attempt,
        seen_at=item.seen_at,
        done_bytes=int(item.done_bytes or 0),
        done_tables=int(item.done_tables or 0),
        done_objects=int(item.done_objects or 0),
        current=item.current,
        is_over=bool(item.is_over),
        failure=Failure(**item.failure.attribute_values) if item.failure else None,
    )
