"""What each run used. Invocations of one run add to one item, whatever their order."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import datetime, timedelta
from typing import Final

from coffre.catalog.items import UsageItem
from coffre.catalog.records import read_record
from coffre.catalog.run_ids import id_range
from coffre.catalog.tables import DynamoTable, ItemQuery
from coffre.model.usage import Counts, Usage

_PARTITION: Final = "USAGE"
# A year can be compared with the one before.
_KEPT: Final = timedelta(days=800)


class Usages:
    """The counts of all runs, by the id of the run (a ULID)."""

    def __init__(self, table: DynamoTable) -> None:
        self._table = table

    def add(self, used: Usage) -> None:
        """Add what one invocation of a run used. A call whose answer was lost counts twice: the numbers say "about"."""
        counts = ((name, getattr(used, name)) for name in Counts.model_fields)
        actions = [getattr(UsageItem, name).add(count) for name, count in counts if count]
        actions += [
            UsageItem.job.set(used.job.value),
            UsageItem.at.set(used.at),
            UsageItem.is_arm.set(used.is_arm),
            UsageItem.expires_at_epoch.set(int((used.at + _KEPT).timestamp())),
        ]
        if used.target is not None:
            actions.append(UsageItem.target.set(used.target))
        anything = UsageItem.pk.exists() | UsageItem.pk.does_not_exist()
        self._table.update(_PARTITION, used.id, actions, anything)

    def find(self, run_id: str) -> Usage | None:
        """Return what a run used; None if it was not recorded."""
        raw = self._table.get(_PARTITION, run_id)
        return read_record(raw, UsageItem, Usage) if raw else None

    def between(self, since: datetime, until: datetime) -> Iterator[Usage]:
        """Yield what runs used whose ids are of this time, the latest first."""
        for raw in self._table.query(ItemQuery(_PARTITION, None, id_range(since, until), page=None)):
            yield read_record(raw, UsageItem, Usage)
