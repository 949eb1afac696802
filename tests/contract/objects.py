"""What the tests of stores do with objects."""

import hashlib

from coffre.stores.store import Store


def sha256(body: bytes | memoryview) -> str:
    """Return the digest that goes with a body."""
    return hashlib.sha256(body).hexdigest()


def put(store: Store, key: str, body: bytes | memoryview = b"content", *, if_absent: bool = False) -> None:
    """Store a body with its digest."""
    store.put(key, body, sha256=sha256(body), if_absent=if_absent)


def keys_of(store: Store, prefix: str = "") -> list[str]:
    """List keys."""
    return [found.key for found in store.list(prefix)]
