"""Which backups are in which copy of the vault."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final

from coffre.catalog.items import CopyItem
from coffre.catalog.records import read_record
from coffre.catalog.tables import DynamoTable, ItemQuery
from coffre.model.copies import Copy

_PARTITION: Final = "COPY"


class Copies:
    """The record of each backup in each destination."""

    def __init__(self, table: DynamoTable) -> None:
        self._table = table

    def keep(self, copy: Copy) -> None:
        """Write the record, in place of an earlier one of the same backup and destination."""
        fields = {**copy.model_dump(), "status": copy.status.value}
        self._table.put(CopyItem(pk=_PARTITION, sk=_sort_key(copy.destination, copy.backup_id), **fields))

    def find(self, destination: str, backup_id: str) -> Copy | None:
        """Return what is known of one backup in one destination; None: nothing was copied."""
        raw = self._table.get(_PARTITION, _sort_key(destination, backup_id))
        return read_record(raw, CopyItem, Copy) if raw else None

    def of(self, destination: str) -> Iterator[Copy]:
        """Yield the records of one destination, those of the newest backups first."""
        keys = CopyItem.sk.startswith(_sort_key(destination, ""))
        for raw in self._table.query(ItemQuery(_PARTITION, keys=keys, page=None)):
            yield read_record(raw, CopyItem, Copy)


def _sort_key(destination: str, backup_id: str) -> str:
    return f"{destination}#{backup_id}"
