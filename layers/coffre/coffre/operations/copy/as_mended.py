"""A vault as it would be with what copies have: a look at it says what a mend would leave."""

from __future__ import annotations

import heapq
from collections.abc import Iterator, Mapping
from dataclasses import dataclass

from coffre.model.errors import StoreError
from coffre.operations.copy.from_copies import Copies, same_as
from coffre.stores.body import Body
from coffre.stores.store import MAX_OBJECT_BYTES, ObjectInfo, Store


@dataclass(frozen=True)
class AsMended(Store):
    """A vault that is only read, in which the objects of `planned` (their SHA-256 and sizes) come from copies."""

    vault: Store
    copies: Copies
    planned: Mapping[str, tuple[str, int]]

    def get(self, key: str, *, limit_bytes: int = MAX_OBJECT_BYTES) -> bytes:
        if key not in self.planned:
            return self.vault.get(key, limit_bytes=limit_bytes)
        return self.copies.find(key, same_as(key, self.planned[key][0]))

    def get_range(self, key: str, offset: int, length: int) -> bytes:
        if key not in self.planned:
            return self.vault.get_range(key, offset, length)
        return self.get(key)[offset : offset + length]

    def head(self, key: str) -> ObjectInfo:
        return ObjectInfo(key, self.planned[key][1]) if key in self.planned else self.vault.head(key)

    def list(self, prefix: str = "") -> Iterator[ObjectInfo]:
        own = (info for info in self.vault.list(prefix) if info.key not in self.planned)
        planned = (ObjectInfo(key, self.planned[key][1]) for key in sorted(self.planned) if key.startswith(prefix))
        return heapq.merge(own, planned, key=lambda info: info.key)

    def put(self, key: str, body: Body, *, sha256: str, if_absent: bool = False) -> None:  # noqa: ARG002 (the contract's)
        raise _denied(key)

    def delete(self, key: str) -> None:
        raise _denied(key)


def _denied(key: str) -> StoreError:
    return StoreError(f"{key} was left as it is: the vault is only looked at.", code="STORE_DENIED")
