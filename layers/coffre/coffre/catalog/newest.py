"""The newest runs of many targets, by one call for all of them."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from contextlib import suppress
from typing import Final

from coffre.catalog.items import BY_TARGET, index_value
from coffre.catalog.records import read_record
from coffre.catalog.run_kinds import BACKUP
from coffre.catalog.tables import INDEX_KEYS, DynamoTable, ItemQuery, RawItem
from coffre.model.backup import Backup
from coffre.model.errors import IntegrityError

# How many records are looked at for each that is wanted of each target, as not all of them run equally often.
_LOOKED_AT: Final = 2


def newest_of_each(table: DynamoTable, targets: Collection[str], count: int) -> Mapping[str, tuple[Backup, ...]]:
    """Return the newest records of those targets of which one call finds `count`, or all that exist.

    What runs seldom next to others is not found like this, nor is a target with a damaged record: to ask for one target
    costs as much as this call.
    """
    raws, last = table.page(ItemQuery(BACKUP.partition, page=_LOOKED_AT * count * len(targets)))
    found: dict[str, list[RawItem]] = {name: [] for name in targets}
    by_key = {index_value(BACKUP.partition, name): rows for name, rows in found.items()}
    for raw in raws:
        # As the index of targets has it, whatever a damaged record says.
        rows = by_key.get(raw.get(INDEX_KEYS[BY_TARGET], {}).get("S", ""))
        if rows is not None and len(rows) < count:
            rows.append(raw)
    newest: dict[str, tuple[Backup, ...]] = {}
    for name, rows in found.items():
        if len(rows) == count or last is None:
            with suppress(IntegrityError):
                newest[name] = tuple(read_record(raw, BACKUP.item, BACKUP.record) for raw in rows)
    return newest
