"""Things of which every working thread needs one of its own: readers, sessions."""

from __future__ import annotations

import queue
import threading
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, ExitStack, contextmanager
from types import TracebackType
from typing import Self


class Streams[T]:
    """Opens one thing for each thread that asks at the same time, lends it out again, and closes all at the end.

    Parameters
    ----------
    open_one
        Gets the number of the stream (from 0); the context manager that it returns is left when `Streams` is.
    limit
        At most so many are open; who asks for one more waits until one is given back.
    """

    def __init__(self, open_one: Callable[[int], AbstractContextManager[T]], limit: int) -> None:
        self._open_one = open_one
        self._places = threading.BoundedSemaphore(limit)
        self._idle: queue.SimpleQueue[T] = queue.SimpleQueue()
        self._numbers = iter(range(2**31))
        self._stack = ExitStack()

    @contextmanager
    def borrow(self) -> Iterator[T]:
        """Give one to this thread. One whose borrower failed is not given out again."""
        with self._places:
            try:
                stream = self._idle.get_nowait()
            except queue.Empty:
                stream = self._stack.enter_context(self._open_one(next(self._numbers)))
            yield stream
            self._idle.put(stream)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._stack.close()
