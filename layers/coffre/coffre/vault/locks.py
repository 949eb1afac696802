"""The locks of what backups are made of: packs, lists of entries, manifests (docs/immutability.md).

Which lock a pack has is remembered where it is named, in the manifest (`locked_until`, a lower bound): no request asks
for the locks of packs that a backup reuses.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Final

from coffre.model.errors import StoreError
from coffre.model.locks import Lock, LockMode, LockState
from coffre.model.manifest import PackReference
from coffre.stores.locking import LockingStore
from coffre.stores.store import Store

# S3 answers within some 20 ms; the client has 16 connections.
_WORKERS: Final = 16
_UNDER_WAY: Final = 256


@dataclass(frozen=True)
class VaultLocks:
    """Sets and extends locks of one mode; never shortens or ends one.

    Parameters
    ----------
    max_days
        The longest lock that the stack's policies allow.
    """

    store: LockingStore
    mode: LockMode
    max_days: int

    def lock(self, until: datetime) -> Lock:
        """Return a lock of this mode."""
        return Lock(self.mode, until)

    def longest(self, now: datetime) -> Store:
        """Return the store, whose every `put` locks for as long as the stack allows."""
        return self.store.with_lock(self.lock(now + timedelta(days=self.max_days - 1)))

    def fits(self, pack: PackReference) -> bool:
        """Return whether a pack can be locked in this mode: the mode of a lock does not change."""
        return pack.lock_mode in (None, self.mode)

    def extended(
        self, packs: Iterable[PackReference], end: datetime, check: Callable[[], None]
    ) -> tuple[PackReference, ...]:
        """Lock these packs at least until then, and return them with what is known of their locks now.

        Raises
        ------
        CoffreError
            A lock was refused, or `check` raised: some packs may be locked for longer than before, none for less.
        """
        packs = tuple(packs)
        longer = self.extend((pack.key for pack in packs if is_shorter(pack.locked_until, end)), end, check)
        return tuple(
            _with_lock(pack, longer.get(pack.key, self.lock(end))) if is_shorter(pack.locked_until, end) else pack
            for pack in packs
        )

    def extend(self, keys: Iterable[str], end: datetime, check: Callable[[], None]) -> dict[str, Lock]:
        """Lock objects until then, several in parallel; raises what `extended` raises.

        Returns
        -------
        dict
            The locks of those that were locked for longer already, which they still are.
        """
        lock, longer = self.lock(end), {}

        def extend(key: str) -> None:
            if (found := self._extend(key, lock)) is not None:
                longer[key] = found

        in_parallel(keys, extend, check)
        return longer

    def extend_all(self, keys: Iterable[str], end: datetime, check: Callable[[], None]) -> dict[str, StoreError]:
        """Lock all of these objects that can be locked until then, several in parallel.

        Returns
        -------
        dict
            Why the others were not: they are missing, or their lock was refused.

        Raises
        ------
        CoffreError
            The store did not answer, or `check` raised: then nothing is known of any of them.
        """
        lock = self.lock(end)
        return all_in_parallel(keys, lambda key: self._extend(key, lock), check)

    def _extend(self, key: str, lock: Lock) -> Lock | None:
        """Lock an object, and return its lock if it was locked for longer already, which it still is."""
        try:
            self.store.extend_lock(key, lock)
        except StoreError as error:
            found = self.store.lock_of(key).lock if error.code == "STORE_DENIED" else None
            if found is None or found.until < lock.until:
                raise
            return found
        return None

    def hold_all(self, keys: Iterable[str], check: Callable[[], None], *, on: bool) -> dict[str, StoreError]:
        """Set or remove all of these legal holds that can be; returns and raises what `extend_all` does."""
        return all_in_parallel(keys, lambda key: self.store.hold(key, on=on), check)

    def state(self, key: str) -> LockState:
        """Return what protects an object; raises what the store raises."""
        return self.store.lock_of(key)


def _with_lock(pack: PackReference, lock: Lock) -> PackReference:
    return pack.model_copy(update={"locked_until": lock.until, "lock_mode": lock.mode})


def is_shorter(known: datetime | None, end: datetime) -> bool:
    """Return whether a lock is known to last until then."""
    return known is None or known < end


def in_parallel(keys: Iterable[str], work: Callable[[str], object], check: Callable[[], None]) -> int:
    """Do something with each key, in bounded memory; the first error stops all."""
    under_way: deque[Future[object]] = deque()
    count = 0
    pool = ThreadPoolExecutor(_WORKERS, thread_name_prefix="lock")
    try:
        for key in keys:
            check()
            if len(under_way) >= _UNDER_WAY:
                under_way.popleft().result()
            under_way.append(pool.submit(work, key))
            count += 1
        while under_way:
            under_way.popleft().result()
    finally:
        pool.shutdown(wait=True, cancel_futures=True)
    return count


def all_in_parallel(
    keys: Iterable[str], work: Callable[[str], object], check: Callable[[], None]
) -> dict[str, StoreError]:
    """Do the same, but with all keys: return what a store refused. Any other error stops all."""
    refused: dict[str, StoreError] = {}

    def attempt(key: str) -> None:
        try:
            work(key)
        except StoreError as error:
            refused[key] = error

    in_parallel(keys, attempt, check)
    return refused
