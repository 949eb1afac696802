"""Since when each public key has been in use: no other record knows it when the first backup is gone."""

from __future__ import annotations

from datetime import datetime
from typing import Final

from coffre.catalog.items import RecipientItem
from coffre.catalog.records import read_item
from coffre.catalog.tables import ConditionFailedError, DynamoTable, ItemQuery

_PARTITION: Final = "KEY"


class Recipients:
    """The public keys that backups were encrypted to."""

    def __init__(self, table: DynamoTable) -> None:
        self._table = table

    def note_use(self, recipient: str, at: datetime) -> None:
        """Remember that a key is in use, unless that is known."""
        try:
            item = RecipientItem(pk=_PARTITION, sk=recipient, first_used_at=at)
            self._table.put(item, RecipientItem.pk.does_not_exist())
        except ConditionFailedError:
            return

    def first_used(self, recipient: str) -> datetime | None:
        """Return since when a key has been in use, or None when no backup was encrypted to it."""
        raw = self._table.get(_PARTITION, recipient)
        return read_item(raw, RecipientItem, required=("first_used_at",)).first_used_at if raw else None

    def all(self) -> dict[str, datetime]:
        """Return since when each key has been in use."""
        items = (
            read_item(raw, RecipientItem, required=("first_used_at",))
            for raw in self._table.query(ItemQuery(_PARTITION))
        )
        return {item.sk: item.first_used_at for item in items}
