"""Listings in the order of keys, however a store sorts."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import chain, islice
from operator import attrgetter
from typing import Final

from coffre.model.errors import StoreError
from coffre.stores.store import ObjectInfo

# Stores that keep a directory tree do not list in the order of keys (SeaweedFS 4.48 has `a/x` before `a-b`), Azurite
# sorts by UTF-16, and some have no order at all (Storj, S3 directory buckets). Up to this many objects are sorted here;
# 20 MB at most. A larger listing is passed on as it comes, and has to be in order.
SORTED_IN_MEMORY: Final = 50_000


def in_order(objects: Iterator[ObjectInfo], place: str) -> Iterator[ObjectInfo]:
    """Yield each object once, sorted by key.

    Raises
    ------
    StoreError
        `LISTING_BROKEN`: a key came again, or there are more than `SORTED_IN_MEMORY` and they are not in order.
    """
    last: str | None = None
    for found in chain(sorted(islice(objects, SORTED_IN_MEMORY), key=attrgetter("key")), objects):
        if last is not None and found.key <= last:
            raise listing_broken(place, f"the key {found.key!a} came again, or out of order")
        last = found.key
        yield found


def listing_broken(place: str, reason: str) -> StoreError:
    """Return the error of a listing that cannot be used."""
    return StoreError(
        f"The listing of {place} is not usable: {reason}.",
        code="LISTING_BROKEN",
        hint="Run it again; if it happens again, this store's listing cannot be trusted: use another one.",
    )
