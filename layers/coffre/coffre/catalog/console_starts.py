"""Which backup of a target the console has started last: of two requests at the same time one is refused."""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime, timedelta
from typing import Final

from pynamodb.expressions.condition import Condition

from coffre.catalog.console_items import StartItem
from coffre.catalog.tables import ConditionFailedError, DynamoTable

BEGINS_WITHIN: Final = timedelta(minutes=2)
"""A function that was started has recorded its run by then, or another run of the target has its lock."""
_PARTITION: Final = "START"


class Starts:
    """One item for each target, written by who starts a backup: of two at the same time the table lets one do it."""

    def __init__(self, table: DynamoTable) -> None:
        self._table = table

    def claim(self, target: str, backup_id: str, now: datetime, *, has_ended: Callable[[str], bool]) -> str | None:
        """Claim the start of a backup. None: it is the caller's; otherwise the id of the backup that was started.

        Parameters
        ----------
        has_ended
            Whether a backup is recorded and no longer runs: then another may be started.
        """
        item = StartItem(pk=_PARTITION, sk=target, backup_id=backup_id, expires_at_epoch=_epoch(now + BEGINS_WITHIN))
        is_free: Condition = StartItem.pk.does_not_exist()
        if known := self._table.get(_PARTITION, target):
            before, until = str(known["backup_id"]["S"]), int(known["expires_at_epoch"]["N"])
            if now.timestamp() < until and not has_ended(before):
                return before
            is_free |= StartItem.backup_id == before
        try:
            self._table.put(item, is_free)
        except ConditionFailedError:
            # Another request was faster; or this call was repeated, and had been done already.
            winner = self._table.get(_PARTITION, target) or item.serialize()
            found = str(winner["backup_id"]["S"])
            return None if found == backup_id else found
        return None

    def release(self, target: str, backup_id: str, now: datetime) -> None:
        """Give a claim back whose function could not be started."""
        try:
            ended = [StartItem.expires_at_epoch.set(_epoch(now))]
            self._table.update(_PARTITION, target, ended, StartItem.backup_id == backup_id)
        except ConditionFailedError:
            return


def _epoch(time: datetime) -> int:
    return int(time.timestamp())
