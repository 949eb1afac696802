"""Deletes objects by their exact keys, several in parallel."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from types import TracebackType
from typing import Final, Self

from coffre.stores.store import Store

# A delete takes S3 about 20 ms: eight in parallel remove 100,000 packs in four minutes.
_WORKERS: Final = 8
_UNDER_WAY: Final = 64


class Remover:
    """Deletes objects; in a dry run it does nothing.

    Use as a context manager: leaving waits for all deletes, and raises what the store raised.

    Parameters
    ----------
    check
        Called before every delete; an error stops the work.
    """

    def __init__(self, store: Store, check: Callable[[], None], *, dry_run: bool) -> None:
        self._store = store
        self._check = check
        self._dry_run = dry_run
        self._pool = ThreadPoolExecutor(max_workers=_WORKERS, thread_name_prefix="remove")
        self._under_way: deque[Future[None]] = deque()

    def remove(self, key: str) -> None:
        """Delete an object, and return when it is deleted."""
        self._check()
        if not self._dry_run:
            self._store.delete(key)

    def remove_soon(self, key: str) -> None:
        """Delete an object in the background. Waits if many deletes are running."""
        self._check()
        if self._dry_run:
            return
        if len(self._under_way) >= _UNDER_WAY:
            self._under_way.popleft().result()
        self._under_way.append(self._pool.submit(self._store.delete, key))

    def finish(self) -> None:
        """Wait for all deletes."""
        while self._under_way:
            self._under_way.popleft().result()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        try:
            if kind is None:
                self.finish()
        finally:
            self._pool.shutdown(wait=True, cancel_futures=True)
