"""The newest checkup of each target, and of what all targets share."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final

from coffre.catalog.items import CheckupItem
from coffre.catalog.records import read_json
from coffre.catalog.tables import DynamoTable, ItemQuery
from coffre.model.checkup import Checkup

_PARTITION: Final = "CHECKUP"
# Of the checkup without a target. No target can have this name.
_SHARED: Final = "-"


class Checkups:
    """What doctor said last."""

    def __init__(self, table: DynamoTable) -> None:
        self._table = table

    def keep(self, checkup: Checkup) -> None:
        """Keep a checkup in place of the target's earlier one."""
        item = CheckupItem(
            pk=_PARTITION, sk=checkup.target or _SHARED, checked_at=checkup.at, document=checkup.model_dump_json()
        )
        self._table.put(item)

    def find(self, target: str | None) -> Checkup | None:
        """Return the newest checkup of a target (None: of what all share), if one was made."""
        raw = self._table.get(_PARTITION, target or _SHARED)
        return read_json(raw, CheckupItem, Checkup, "document") if raw else None

    def all(self) -> Iterator[Checkup]:
        """Yield the newest checkup of each target."""
        for raw in self._table.query(ItemQuery(_PARTITION, oldest_first=True)):
            yield read_json(raw, CheckupItem, Checkup, "document")
