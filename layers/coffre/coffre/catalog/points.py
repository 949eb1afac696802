"""The restore points that were begun, and which of them are sealed."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final

from coffre.catalog.items import PointItem
from coffre.catalog.records import read_json
from coffre.catalog.tables import DynamoTable, ItemQuery
from coffre.model.points import PointRecord

_PARTITION: Final = "POINT"


class Points:
    """The record of each point."""

    def __init__(self, table: DynamoTable) -> None:
        self._table = table

    def keep(self, point: PointRecord) -> None:
        """Write the record, in place of an earlier one of the same point."""
        document = point.model_dump_json(exclude_defaults=True)
        self._table.put(PointItem(pk=_PARTITION, sk=point.id, at=point.taken_at, document=document))

    def find(self, point_id: str) -> PointRecord | None:
        """Return the point with this id as it is at this instant, if it was begun."""
        raw = self._table.get(_PARTITION, point_id)
        return read_json(raw, PointItem, PointRecord, "document") if raw else None

    def all(self, name: str | None = None) -> Iterator[PointRecord]:
        """Yield the points of one name, or all, the newest first."""
        for raw in self._table.query(ItemQuery(_PARTITION, page=None)):
            point = read_json(raw, PointItem, PointRecord, "document")
            if name in (None, point.name):
                yield point
