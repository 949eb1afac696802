"""The SHA-256 of the record of each finished part: a later run trusts no record in the vault that is not known here."""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import Final

from coffre.catalog.items import Item, PartItem
from coffre.catalog.records import read_item
from coffre.catalog.tables import DynamoTable, ItemQuery

_PARTITION: Final = "PART"
# What an unfinished run has stored is kept for a day.
_KEPT: Final = timedelta(days=2)


class Parts:
    """The records of the parts of all runs, as they were written."""

    def __init__(self, table: DynamoTable) -> None:
        self._table = table

    def add(self, backup_id: str, number: int, sha256: str, now: datetime) -> None:
        """Add the record of a part that is in the vault."""
        item = PartItem(
            pk=_PARTITION,
            sk=f"{backup_id}#{number:06d}",
            sha256=sha256,
            expires_at_epoch=int((now + _KEPT).timestamp()),
        )
        self._table.put(item)

    def of(self, backup_id: str) -> dict[int, str]:
        """Return the SHA-256 of each record of a run, by the number of the part."""
        found = {}
        for raw in self._table.query(ItemQuery(_PARTITION, None, Item.sk.startswith(f"{backup_id}#"), page=None)):
            item = read_item(raw, PartItem, required=("sha256",))
            found[int(item.sk.rpartition("#")[2])] = item.sha256
        return found
