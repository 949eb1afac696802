"""The versions of the configuration document: written once each, in the partition CONFIG."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final

from pydantic import ValidationError

from coffre.catalog.items import ConfigurationItem
from coffre.catalog.records import damaged, read_item
from coffre.catalog.tables import ConditionFailedError, DynamoTable, ItemQuery, RawItem
from coffre.model.configuration_version import ConfigurationVersion, sha256_of
from coffre.model.document import describe_validation

_PARTITION: Final = "CONFIG"
_REQUIRED: Final = ("at", "actor", "sha256", "document")


class Configurations:
    """The versions. None is ever changed or removed."""

    def __init__(self, table: DynamoTable) -> None:
        self._table = table

    def newest(self) -> ConfigurationVersion | None:
        """Return the newest version as it is at this instant; None: none was ever written."""
        return next(self._read(ItemQuery(_PARTITION, page=1)), None)

    def all(self) -> Iterator[ConfigurationVersion]:
        """Yield all versions, newest first."""
        yield from self._read(ItemQuery(_PARTITION))

    def find(self, number: int) -> ConfigurationVersion | None:
        """Return the version of this number, or None."""
        raw = self._table.get(_PARTITION, _sort_key(number))
        return _version(raw) if raw else None

    def add(self, version: ConfigurationVersion) -> bool:
        """Write a version; False: another one has its number already. Nothing was written then."""
        fields = {name: value for name, value in version if name != "number" and value is not None}
        item = ConfigurationItem(
            pk=_PARTITION, sk=_sort_key(version.number), **{**fields, "changes": [*version.changes]}
        )
        try:
            self._table.put(item, ConfigurationItem.pk.does_not_exist())
        except ConditionFailedError:
            return self.find(version.number) == version  # The answer to our own attempt may have been lost.
        return True

    def _read(self, listing: ItemQuery) -> Iterator[ConfigurationVersion]:
        for raw in self._table.query(listing):
            yield _version(raw)


def _sort_key(number: int) -> str:
    return f"{number:010d}"


def _version(raw: RawItem) -> ConfigurationVersion:
    item = read_item(raw, ConfigurationItem, required=_REQUIRED)
    fields = {name: item.attribute_values.get(name) for name in ConfigurationVersion.model_fields if name != "number"}
    try:
        known = {name: value for name, value in fields.items() if value is not None}
        version = ConfigurationVersion.model_validate({**known, "number": int(item.sk)})
    except ValidationError as error:
        raise damaged(raw, "; ".join(describe_validation(error))) from error
    except ValueError as error:
        raise damaged(raw, "its key is no number") from error
    if sha256_of(version.document) != version.sha256:
        raise damaged(raw, "the document is not the one of its SHA-256")
    return version
