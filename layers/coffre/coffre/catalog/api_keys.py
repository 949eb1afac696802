"""Keys of the console's API: kept by their ids, with hashes of their secrets."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from datetime import datetime, timedelta
from typing import Final

from pynamodb.expressions.condition import Condition
from pynamodb.expressions.update import Action

from coffre.catalog.console_items import ApiKeyItem
from coffre.catalog.records import read_record, readable
from coffre.catalog.tables import ConditionFailedError, DynamoTable, ItemQuery, RawItem
from coffre.model.api_key import OVERLAP, ApiKey
from coffre.model.errors import IntegrityError

_PARTITION: Final = "APIKEY"
_KEPT: Final = timedelta(days=90)


class ApiKeys:
    """The keys. Each change is made to the key as it was seen: of two at the same time one is refused."""

    def __init__(self, table: DynamoTable) -> None:
        self._table = table

    def create(self, key: ApiKey) -> bool:
        """Keep a new key; False: its id is taken."""
        fields = key.model_dump(exclude={"id", "scopes"}, exclude_none=True)
        item = ApiKeyItem(
            pk=_PARTITION, sk=key.id, scopes=list(key.scopes), expires_at_epoch=_forgotten(key.expires_at), **fields
        )
        try:
            self._table.put(item, ApiKeyItem.pk.does_not_exist())
        except ConditionFailedError:
            return False
        return True

    def find(self, key_id: str) -> ApiKey | None:
        """Return a key as it is at this instant, whatever its state."""
        raw = self._table.get(_PARTITION, key_id)
        return _read(raw) if raw else None

    def all(self, damaged: list[IntegrityError] | None = None) -> Iterator[ApiKey]:
        """Yield every key, whatever its state; what is `damaged`: see `readable`."""
        return readable(self._table.query(ItemQuery(_PARTITION)), _read, damaged)

    def rotate(self, seen: ApiKey, sha256: str, now: datetime, expires_at: datetime) -> ApiKey | None:
        """Give a key another secret; the one before opens it for 24 h more. None: it is not as it was seen."""
        actions = [
            ApiKeyItem.sha256.set(sha256),
            ApiKeyItem.previous_sha256.set(seen.sha256),
            ApiKeyItem.previous_until.set(min(now + OVERLAP, seen.expires_at)),
            ApiKeyItem.rotated_at.set(now),
            ApiKeyItem.expires_at.set(expires_at),
            ApiKeyItem.expires_at_epoch.set(_forgotten(expires_at)),
        ]
        return self._change(seen, actions)

    def revoke(self, seen: ApiKey, by: str, now: datetime) -> ApiKey | None:
        """End a key and both its secrets; None: it is not as it was seen."""
        return self._change(seen, [ApiKeyItem.revoked_at.set(now), ApiKeyItem.revoked_by.set(by)])

    def use(self, key_id: str, now: datetime, *, per_minute: int) -> bool:
        """Count a request and record that the key is in use; False: it has sent enough in this minute."""
        minute = int(now.timestamp()) // 60
        used = ApiKeyItem.last_used_at.set(now)
        same = [used, ApiKeyItem.uses.set(ApiKeyItem.uses + 1)]
        first = [used, ApiKeyItem.minute.set(minute), ApiKeyItem.uses.set(1)]
        within = (ApiKeyItem.minute == minute) & (ApiKeyItem.uses < per_minute)
        another = ApiKeyItem.pk.exists() & (ApiKeyItem.minute.does_not_exist() | (ApiKeyItem.minute < minute))
        # Twice: another request may have been the first of the minute between the two.
        return any(self._counted(key_id, *one) for one in ((same, within), (first, another), (same, within)))

    def _counted(self, key_id: str, actions: Sequence[Action], condition: Condition) -> bool:
        try:
            self._table.update(_PARTITION, key_id, actions, condition)
        except ConditionFailedError:
            return False
        return True

    def _change(self, seen: ApiKey, actions: Sequence[Action]) -> ApiKey | None:
        condition = (ApiKeyItem.sha256 == seen.sha256) & ApiKeyItem.revoked_at.does_not_exist()
        try:
            return _read(self._table.update(_PARTITION, seen.id, actions, condition))
        except ConditionFailedError:
            return None


def _read(raw: RawItem) -> ApiKey:
    return read_record(raw, ApiKeyItem, ApiKey)


def _forgotten(expires_at: datetime) -> int:
    return math.ceil((expires_at + _KEPT).timestamp())
