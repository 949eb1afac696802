"""The contract of stores that can lock objects, apart from `Store`: a directory, R2 and B2's older buckets cannot.

`tests/contract/test_locks.py` holds each store that promises this to it.
"""

from __future__ import annotations

from typing import Protocol, runtime_checkable

from coffre.model.errors import StoreError
from coffre.model.locks import Lock, LockState
from coffre.stores.store import Store


@runtime_checkable
class LockingStore(Store, Protocol):
    """A store whose objects can be locked. Besides what each method says, they raise what `Store` says.

    A lock belongs to one version of an object, here always the current one. Deleting or replacing a locked object
    by its key hides that version and does not end it.
    """

    def require_locking(self) -> None:
        """Check that objects can be locked here.

        Raises
        ------
        StoreError
            `LOCKS_OFF`: the bucket has no Object Lock. `LOCKS_UNSUPPORTED`: the store does not know it.
        """
        ...

    def with_lock(self, lock: Lock | None, *, held: bool = False) -> Store:
        """Return the same store, whose every `put` locks what it stores, and sets its legal hold if asked."""
        ...

    def lock_of(self, key: str) -> LockState:
        """Return what protects an object; raises `ObjectMissingError`."""
        ...

    def extend_lock(self, key: str, lock: Lock) -> None:
        """Lock an object, or lengthen its lock. Repeating the call is fine.

        Raises
        ------
        ObjectMissingError
            No object has this key.
        StoreError
            `STORE_DENIED`: a permission is missing, or the object is locked for longer, or in the other mode.
        """
        ...

    def hold(self, key: str, *, on: bool) -> None:
        """Set or remove the legal hold of an object, which has to exist. Repeating the call is fine."""
        ...


def locking(store: Store) -> LockingStore:
    """Return the store as one that locks.

    Raises
    ------
    StoreError
        `LOCKS_UNSUPPORTED`: it cannot.
    """
    if isinstance(store, LockingStore):
        return store
    raise StoreError(
        f"Object Lock is asked for, and this kind of store ({type(store).__name__}) cannot lock objects.",
        code="LOCKS_UNSUPPORTED",
        hint="Nothing was stored. Set the parameter ObjectLock to off, or use a bucket that has Object Lock.",
    )
