"""What the tests of stores do with objects."""

from coffre.stores.body import Body
from coffre.stores.body import sha256_of as sha256
from coffre.stores.store import Store

__all__ = ["keys_of", "put", "sha256"]


def put(store: Store, key: str, body: Body = b"content", *, if_absent: bool = False) -> None:
    """Store a body with its digest."""
    store.put(key, body, sha256=sha256(body), if_absent=if_absent)


def keys_of(store: Store, prefix: str = "") -> list[str]:
    """List keys."""
    return [found.key for found in store.list(prefix)]
