"""Replace objects in a vault that takes new ones only; locks and holds come with them."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from typing import Final

from coffre.model.errors import IntegrityError, ObjectMissingError, StoreError
from coffre.model.locks import Lock, LockMode, LockState
from coffre.stores.body import sha256_of
from coffre.stores.locking import LockingStore
from coffre.stores.store import Store, put_new

# Of what was stored before Object Lock was turned on: no manifest says how rotation locked it later.
UNKNOWN_MODE: Final = LockMode.GOVERNANCE
_NO_LOCKS: Final = ("LOCKS_OFF", "LOCKS_UNSUPPORTED")


@dataclass(frozen=True)
class Need:
    """Until when the backups that name an object need its lock, in which mode, and whether one of them is on hold."""

    until: datetime | None = None
    mode: LockMode = UNKNOWN_MODE
    is_held: bool = False


@dataclass
class PutBack:
    """Replaces objects of a vault that takes new ones only. A bucket with versions keeps what was replaced."""

    store: Store
    now: datetime
    _locks: LockingStore | None = None
    _is_asked: bool = False

    def need_of(self, key: str) -> Need:
        """Return the lock and the hold that an object has, for those that belong to it."""
        locks = self._locking()
        try:
            state = LockState() if locks is None else locks.lock_of(key)
        except ObjectMissingError:
            state = LockState()
        lock = state.lock
        return Need(lock.until if lock else None, lock.mode if lock else UNKNOWN_MODE, is_held=state.held)

    def add(self, key: str, body: bytes, need: Need) -> None:
        """Store an object that does not exist, with its lock; one with these bytes is fine.

        Raises
        ------
        StoreError
            `OBJECT_EXISTS`: with other bytes; it was left as it is.
        """
        locks = self._locking() if need.until is not None or need.is_held else None
        put_new(self._store(locks, LockState(), need), key, body)

    def put(self, key: str, body: bytes, need: Need) -> None:
        """Store these bytes in place of the stored ones, locked and held as those were, or as backups need it.

        What exists is deleted only after the store has refused to replace it: who may not write deletes nothing.
        """
        locks = self._locking() if need.until is not None or need.is_held else None
        state = LockState()
        try:
            self._store(locks, state, need).put(key, body, sha256=sha256_of(body), if_absent=True)
        except StoreError as error:
            if error.code != "OBJECT_EXISTS":
                raise
            state = LockState() if locks is None else locks.lock_of(key)
            self.store.delete(key)
            put_new(self._store(locks, state, need), key, body)

    def _store(self, locks: LockingStore | None, state: LockState, need: Need) -> Store:
        """Return the store, which locks and holds what is put, if that is needed.

        By the request that puts it: once it exists, no later call would ask for its hold.
        """
        if locks is None:
            return self.store
        return locks.with_lock(self._lock(state, need), held=need.is_held or state.held)

    def _lock(self, state: LockState, need: Need) -> Lock | None:
        needed = Lock(state.lock.mode if state.lock else need.mode, need.until) if need.until is not None else None
        longest = max(
            (lock for lock in (state.lock, needed) if lock is not None), key=lambda one: one.until, default=None
        )
        return longest if longest is not None and longest.until > self.now else None

    def _locking(self) -> LockingStore | None:
        """Return the store if it locks: a copy of a locked vault may be where nothing does."""
        if not self._is_asked and isinstance(self.store, LockingStore):
            try:
                self.store.require_locking()
                self._locks = self.store
            except StoreError as error:
                if error.code not in _NO_LOCKS:
                    raise
        self._is_asked = True
        return self._locks


def stored_sha256(store: Store, key: str, wanted: str) -> str | None:
    """Return the SHA-256 of an object; None: it is missing. Not the wanted one is read twice: it may be the network."""

    def once() -> str | None:
        try:
            return sha256_of(store.get(key))
        except ObjectMissingError:
            return None
        except IntegrityError as error:
            return error.code
        except StoreError as error:
            if error.code != "OBJECT_TOO_LARGE":
                raise
            return error.code

    found = once()
    return found if found == wanted else once()
