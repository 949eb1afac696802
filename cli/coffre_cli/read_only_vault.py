"""A read-only vault: what a job writes of its own goes to a second store, and nothing is deleted."""

from __future__ import annotations

import heapq
from collections.abc import Iterator
from dataclasses import dataclass

from coffre.model.errors import ObjectMissingError, StoreError
from coffre.stores.body import Body
from coffre.stores.store import MAX_OBJECT_BYTES, ObjectInfo, Store


@dataclass(frozen=True)
class ReadOnlyVault(Store):
    """Writes to `staging`, and reads from it what was written there; everything else is read from `vault`."""

    vault: Store
    staging: Store

    def put(self, key: str, body: Body, *, sha256: str, if_absent: bool = False) -> None:
        self.staging.put(key, body, sha256=sha256, if_absent=if_absent)

    def get(self, key: str, *, limit_bytes: int = MAX_OBJECT_BYTES) -> bytes:
        return self._of(key).get(key, limit_bytes=limit_bytes)

    def get_range(self, key: str, offset: int, length: int) -> bytes:
        return self.vault.get_range(key, offset, length)

    def head(self, key: str) -> ObjectInfo:
        return self._of(key).head(key)

    def list(self, prefix: str = "") -> Iterator[ObjectInfo]:
        return heapq.merge(self.vault.list(prefix), self.staging.list(prefix), key=lambda info: info.key)

    def delete(self, key: str) -> None:
        raise StoreError(f"{key} was not deleted: the vault is opened read-only.", code="STORE_DENIED")

    def _of(self, key: str) -> Store:
        try:
            self.staging.head(key)
        except ObjectMissingError:
            return self.vault
        return self.staging
