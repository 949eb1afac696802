"""Which backups are in which copy of the vault."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final

from pynamodb.expressions.condition import Condition

from coffre.catalog.items import CopyItem
from coffre.catalog.records import read_record
from coffre.catalog.tables import ConditionFailedError, DynamoTable, ItemQuery
from coffre.model.copies import Copy

_PARTITION: Final = "COPY"


class Copies:
    """The record of each backup in each destination."""

    def __init__(self, table: DynamoTable) -> None:
        self._table = table

    def keep(self, copy: Copy) -> None:
        """Write the record, in place of an earlier one of the same backup and destination."""
        self._table.put(_item(copy))

    def add(self, copy: Copy) -> bool:
        """Write the record of a copy that was found; False: the catalog knows it already."""
        return self._put_if(copy, CopyItem.pk.does_not_exist())

    def change(self, seen: Copy, copy: Copy) -> bool:
        """Write the record in place of the one that was `seen`; False: a copier or a rotation has changed it."""
        unchanged = (CopyItem.status == seen.status.value) & (CopyItem.started_at == seen.started_at)
        return self._put_if(copy, unchanged)

    def _put_if(self, copy: Copy, condition: Condition) -> bool:
        try:
            self._table.put(_item(copy), condition)
        except ConditionFailedError as error:
            # The answer to our own first attempt may have been lost.
            return error.repeated and self.find(copy.destination, copy.backup_id) == copy
        return True

    def find(self, destination: str, backup_id: str) -> Copy | None:
        """Return what is known of one backup in one destination; None: nothing was copied."""
        raw = self._table.get(_PARTITION, _sort_key(destination, backup_id))
        return read_record(raw, CopyItem, Copy) if raw else None

    def of(self, destination: str) -> Iterator[Copy]:
        """Yield the records of one destination, those of the newest backups first."""
        keys = CopyItem.sk.startswith(_sort_key(destination, ""))
        for raw in self._table.query(ItemQuery(_PARTITION, keys=keys, page=None)):
            yield read_record(raw, CopyItem, Copy)


def _item(copy: Copy) -> CopyItem:
    fields = {**copy.model_dump(), "status": copy.status.value, "damaged_packs": list(copy.damaged_packs)}
    return CopyItem(pk=_PARTITION, sk=_sort_key(copy.destination, copy.backup_id), **fields)


def _sort_key(destination: str, backup_id: str) -> str:
    return f"{destination}#{backup_id}"
