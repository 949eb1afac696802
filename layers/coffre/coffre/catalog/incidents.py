"""Which problems were reported: one item for each, which stays when the problem is over."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final

from coffre.catalog.items import IncidentItem
from coffre.catalog.records import read_item, readable, reading
from coffre.catalog.tables import ConditionFailedError, DynamoTable, ItemQuery, RawItem
from coffre.model.errors import IntegrityError
from coffre.model.incident import Incident

_PARTITION: Final = "ALERT"


class Incidents:
    """The incidents of one deployment. Who changes one has read it, and loses when another was faster."""

    def __init__(self, table: DynamoTable) -> None:
        self._table = table

    def find(self, target: str, kind: str, fingerprint: str) -> Incident | None:
        """Return an incident as it is at this instant, open or over."""
        raw = self._table.get(_PARTITION, _key(target, kind, fingerprint))
        return _read(raw) if raw else None

    def open(self, target: str | None = None, damaged: list[IntegrityError] | None = None) -> Iterator[Incident]:
        """Yield the open incidents, of one target or of all; what is `damaged`: see `readable`."""
        keys = IncidentItem.sk.startswith(f"{target}#") if target is not None else None
        open_ones = IncidentItem.ended_at.does_not_exist()  # few of all that ever were
        return readable(self._table.query(ItemQuery(_PARTITION, None, keys, open_ones, page=None)), _read, damaged)

    def of_kind(self, kind: str) -> Iterator[Incident]:
        """Yield the incidents of one kind, open or over."""
        for raw in self._table.query(ItemQuery(_PARTITION, where=IncidentItem.kind == kind)):
            yield _read(raw)

    def replace(self, found: Incident | None, incident: Incident) -> bool:
        """Write an incident if it is still as it was `found` (None: it is new). False: another was faster."""
        version = found.version + 1 if found else 1
        changed = incident.model_copy(update={"version": version})
        unchanged = IncidentItem.version == found.version if found else IncidentItem.pk.does_not_exist()
        key = _key(incident.target, incident.kind, incident.fingerprint)
        fields = {name: value for name, value in changed.model_dump().items() if value is not None}
        try:
            self._table.put(IncidentItem(pk=_PARTITION, sk=key, **fields), unchanged)
        except ConditionFailedError as error:
            # The answer to our own first attempt may have been lost.
            return error.repeated and self.find(incident.target, incident.kind, incident.fingerprint) == changed
        return True


def _key(target: str, kind: str, fingerprint: str) -> str:
    return f"{target}#{kind}#{fingerprint}"


def _read(raw: RawItem) -> Incident:
    item = read_item(raw, IncidentItem)
    with reading(raw):
        return Incident.model_validate(item.attribute_values)
