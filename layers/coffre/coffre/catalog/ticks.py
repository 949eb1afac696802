"""Up to which time the runs of targets with schedules of their own were started, for each function that starts some.

The item is in the partition of the slots: its key begins with `#`, as no target's name does.
"""

from __future__ import annotations

from datetime import datetime
from typing import Final

from coffre.catalog.items import TickItem
from coffre.catalog.records import read_item
from coffre.catalog.tables import ConditionFailedError, DynamoTable

_PARTITION: Final = "SLOT"


class Ticks:
    """The last tick of each function."""

    def __init__(self, table: DynamoTable) -> None:
        self._table = table

    def last(self, function: str) -> datetime | None:
        """Return the tick whose runs were all started last; None: there was none."""
        raw = self._table.get(_PARTITION, _key(function))
        return read_item(raw, TickItem, required=("at",)).at if raw else None

    def advance(self, function: str, at: datetime) -> None:
        """Record that every run up to a tick is started. A tick that comes late changes nothing."""
        try:
            item = TickItem(pk=_PARTITION, sk=_key(function), at=at)
            self._table.put(item, TickItem.at.does_not_exist() | (TickItem.at < at))
        except ConditionFailedError:
            return


def _key(function: str) -> str:
    return f"#tick#{function}"
