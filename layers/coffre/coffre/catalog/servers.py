"""Which databases were found on servers, each with the name of its target. One item a database, for ever."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from datetime import datetime
from typing import Final

from coffre.catalog.items import ServerItem
from coffre.catalog.records import read_item
from coffre.catalog.tables import ConditionFailedError, DynamoTable, ItemQuery, RawItem
from coffre.model.server import SeenDatabase

_PARTITION: Final = "SERVER"
_REQUIRED: Final = ("server", "database", "found_at")


class Servers:
    """The databases of all servers. The key is the target's name, so that no two databases get the same one."""

    def __init__(self, table: DynamoTable) -> None:
        self._table = table

    def seen(self) -> Iterator[SeenDatabase]:
        """Yield every database that was found, by its target's name."""
        for raw in self._table.query(ItemQuery(_PARTITION, oldest_first=True)):
            yield _record(raw)

    def find(self, name: str) -> SeenDatabase | None:
        """Return the database that is the target of this name."""
        raw = self._table.get(_PARTITION, name)
        return _record(raw) if raw is not None else None

    def add(self, database: SeenDatabase) -> SeenDatabase:
        """Record a database that was found, and return what is recorded: another one if its name is taken."""
        try:
            self._table.put(_item(database), ServerItem.pk.does_not_exist())
        except ConditionFailedError:
            return self.find(database.name) or database
        return database

    def mark(self, database: SeenDatabase, gone_since: datetime | None) -> bool:
        """Record that a database is gone, or that it exists again. False: another run has just done that."""
        before = database.gone_since
        unchanged = ServerItem.gone_since.does_not_exist() if before is None else ServerItem.gone_since == before
        try:
            self._table.put(_item(replace(database, gone_since=gone_since)), ServerItem.pk.exists() & unchanged)
        except ConditionFailedError:
            return False
        return True


def _item(database: SeenDatabase) -> ServerItem:
    return ServerItem(
        pk=_PARTITION,
        sk=database.name,
        server=database.server,
        database=database.database,
        found_at=database.found_at,
        gone_since=database.gone_since,
    )


def _record(raw: RawItem) -> SeenDatabase:
    item = read_item(raw, ServerItem, required=_REQUIRED)
    return SeenDatabase(item.sk, item.server, item.database, item.found_at, item.gone_since)
