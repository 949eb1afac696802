"""Drills that run: of each target the newest, so that a person can see it and cancel it.

The drill alone writes its record. The function `rotate`, which cancels for a person, writes a wish into a partition of
its own: so it cannot write results of drills.
"""

from __future__ import annotations

from collections.abc import Iterator
from datetime import datetime
from typing import Final

from pydantic import BaseModel

from coffre.catalog.items import LatestItem
from coffre.catalog.records import read_json
from coffre.catalog.tables import DynamoTable, ItemQuery, RawItem
from coffre.model.drill import DrillRun, DrillWish

DRILLS: Final = "DRILL"
_OF_ROTATE: Final = "VAULT"
# Names of targets have no slash.
_RUN: Final = "run/"
PROOFS: Final = "proofs/"
_WISH: Final = "wish/"


class DrillRuns:
    """The record of the newest drill of each target, and the newest wish that one ends."""

    def __init__(self, table: DynamoTable) -> None:
        self._table = table

    def note(self, run: DrillRun, now: datetime) -> None:
        """Write the record of a drill; the newest drill of a target replaces the one before."""
        self._put(DRILLS, f"{_RUN}{run.target}", now, run)

    def of(self, target: str) -> DrillRun | None:
        """Return the newest drill of a target."""
        raw = self._table.get(DRILLS, f"{_RUN}{target}")
        return read_json(raw, LatestItem, DrillRun) if raw else None

    def newest(self) -> Iterator[DrillRun]:
        """Yield the newest drill of each target."""
        for raw in self._table.query(ItemQuery(DRILLS)):
            if raw["sk"]["S"].startswith(_RUN):
                yield read_json(raw, LatestItem, DrillRun)

    def ask_to_end(self, run: DrillRun, by: str, now: datetime) -> None:
        """Ask a drill to end."""
        self._put(_OF_ROTATE, f"{_WISH}{run.target}", now, DrillWish(id=run.id, by=by, at=now))

    def asked_by(self, run: DrillRun) -> str | None:
        """Return who wants this drill to end, if anyone does."""
        raw = self._table.get(_OF_ROTATE, f"{_WISH}{run.target}")
        wish = read_json(raw, LatestItem, DrillWish) if raw else None
        return wish.by if wish is not None and wish.id == run.id else None

    def _put(self, partition: str, key: str, at: datetime, record: BaseModel) -> None:
        self._table.put(LatestItem(pk=partition, sk=key, at=at, record=record.model_dump_json()))


def is_no_result(raw: RawItem) -> bool:
    """Tell whether an item of the partition is no drill's result: of one that runs, or what it proved of a journal."""
    return str(raw["sk"]["S"]).startswith((_RUN, PROOFS))
