"""The newest checkup of each target, and of what all targets share."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final

from pydantic import ValidationError

from coffre.catalog.items import CheckupItem
from coffre.catalog.records import damaged, read_item
from coffre.catalog.tables import DynamoTable, ItemQuery, RawItem
from coffre.model.checkup import Checkup
from coffre.model.document import describe_validation

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
        return _read(raw) if raw else None

    def all(self) -> Iterator[Checkup]:
        """Yield the newest checkup of each target."""
        for raw in self._table.query(ItemQuery(_PARTITION, oldest_first=True)):
            yield _read(raw)


def _read(raw: RawItem) -> Checkup:
    document = read_item(raw, CheckupItem, required=("document",)).document
    try:
        return Checkup.model_validate_json(document)
    except ValidationError as error:
        raise damaged(raw, "; ".join(describe_validation(error))) from error
