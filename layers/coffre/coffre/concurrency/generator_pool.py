"""Threads that work ahead for a generator, which may end in any thread."""

from __future__ import annotations

import threading
from concurrent.futures import ThreadPoolExecutor
from types import TracebackType


class GeneratorPool(ThreadPoolExecutor):
    """A pool for the body of a generator: leaving the block cancels what has not begun, and waits for what has.

    A generator that its consumer leaves before the end is closed when the last reference to it is dropped. If an
    exception and a future refer to each other, that is done by the garbage collector, in any thread. In one of the
    pool's own threads nothing is waited for: a thread cannot wait for itself.
    """

    def __init__(self, width: int, name: str) -> None:
        own = set[int]()
        super().__init__(width, thread_name_prefix=name, initializer=lambda: own.add(threading.get_ident()))
        self._own = own

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.shutdown(wait=threading.get_ident() not in self._own, cancel_futures=True)
