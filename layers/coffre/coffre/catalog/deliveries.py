"""Which run an event has started: Lambda delivers an asynchronous event at least once, and with the same request id."""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import Final

from coffre.catalog.items import DeliveryItem
from coffre.catalog.records import read_item
from coffre.catalog.tables import ConditionFailedError, DynamoTable

_PARTITION: Final = "DELIVERY"
# An event is delivered within 6 hours, or dropped.
_KEPT: Final = timedelta(days=2)


class Deliveries:
    """The events that have no id of their own."""

    def __init__(self, table: DynamoTable) -> None:
        self._table = table

    def run_of(self, request_id: str, run_id: str, now: datetime) -> str:
        """Return the id of the run that an event starts: `run_id` for its first delivery, the same for every other."""
        item = DeliveryItem(
            pk=_PARTITION,
            sk=request_id,
            run_id=run_id,
            claimed_at=now,
            expires_at_epoch=int((now + _KEPT).timestamp()),
        )
        try:
            self._table.put(item, DeliveryItem.pk.does_not_exist())
        except ConditionFailedError:
            raw = self._table.get(_PARTITION, request_id)
            if raw is not None:
                return str(read_item(raw, DeliveryItem, required=("run_id",)).run_id)
        return run_id
