"""A directory whose objects can be locked: a store with Object Lock for tests that need no server."""

from __future__ import annotations

import threading
from collections import Counter
from collections.abc import Callable
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path

from coffre.model.errors import StoreError
from coffre.model.locks import Lock, LockState
from coffre.stores.body import Body
from coffre.stores.directory import DirectoryStore
from coffre.stores.locking import LockingStore
from coffre.stores.store import ObjectInfo, Store


class LockingDirectory(DirectoryStore, LockingStore):
    """Locks are kept in memory. Deleting a locked object is an error of the test's: nothing would be reclaimed.

    Attributes
    ----------
    locks
        What protects each object, by key.
    requests
        How often each request about locks was sent.
    refuse
        Called with the name of each such request and its key, before it is done.
    """

    def __init__(self, root: Path, *, now: Callable[[], datetime] = lambda: datetime.now(UTC)) -> None:
        super().__init__(root)
        self._root = root
        self.now = now
        self.has_locks = True
        self.locks: dict[str, LockState] = {}
        self.requests: Counter[str] = Counter()
        self.refuse: Callable[[str, str], None] = lambda request, key: None
        self._guard = threading.Lock()

    def put(self, key: str, body: Body, *, sha256: str, if_absent: bool = False) -> None:
        super().put(key, body, sha256=sha256, if_absent=if_absent)
        self.locks.pop(key, None)

    def delete(self, key: str) -> None:
        if self.locks.get(key, LockState()).protects(self.now()):
            raise AssertionError(f"{key} is locked: a delete marker would reclaim nothing")
        super().delete(key)
        self.locks.pop(key, None)

    def head(self, key: str) -> ObjectInfo:
        return replace(super().head(key), locked=self.locks.get(key, LockState()))

    def require_locking(self) -> None:
        if not self.has_locks:
            raise StoreError("The bucket has no Object Lock.", code="LOCKS_OFF")

    def with_lock(self, lock: Lock | None, *, held: bool = False) -> Store:
        return _Locked(self, self._root, LockState(lock, held=held))

    def lock_of(self, key: str) -> LockState:
        self._count("lock_of", key)
        super().head(key)
        return self.locks.get(key, LockState())

    def extend_lock(self, key: str, lock: Lock) -> None:
        self._count("extend_lock", key)
        super().head(key)
        before = self.locks.get(key, LockState())
        if before.lock is not None and (before.lock.until > lock.until or before.lock.mode is not lock.mode):
            raise StoreError(f"{key} is locked otherwise.", code="STORE_DENIED")
        self.locks[key] = replace(before, lock=lock)

    def hold(self, key: str, *, on: bool) -> None:
        self._count("hold", key)
        super().head(key)
        self.locks[key] = replace(self.locks.get(key, LockState()), held=on)

    def lock(self, key: str, state: LockState) -> None:
        """Set what a locking put sets."""
        self.locks[key] = state

    def _count(self, request: str, key: str) -> None:
        with self._guard:
            self.requests[request] += 1
        self.refuse(request, key)


class _Locked(DirectoryStore):
    """The same directory, which locks what is put."""

    def __init__(self, whole: LockingDirectory, root: Path, state: LockState) -> None:
        super().__init__(root)
        self._whole = whole
        self._new_state = state

    def put(self, key: str, body: Body, *, sha256: str, if_absent: bool = False) -> None:
        self._whole.put(key, body, sha256=sha256, if_absent=if_absent)
        self._whole.lock(key, self._new_state)
