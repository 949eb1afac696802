"""Things of which every working thread needs one of its own: readers, sessions."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, ExitStack, contextmanager
from types import TracebackType
from typing import Self

from coffre.model.errors import ConnectTransientError


class SessionPool[T]:
    """Opens one thing for each thread that asks at the same time, lends it out again, and closes all at the end.

    When there is no room for another one at the server, those that are open have to do.

    Parameters
    ----------
    open_one
        Gets the number of the stream (from 0); the context manager that it returns is left when `SessionPool` is.
    limit
        At most so many are open; who asks for one more waits until one is given back.
    """

    def __init__(self, open_one: Callable[[int], AbstractContextManager[T]], limit: int) -> None:
        self._open_one = open_one
        self._limit = limit
        self._changed = threading.Condition()
        self._idle: list[T] = []
        self._count = 0  # open or being opened
        self._numbers = iter(range(2**31))
        self._stack = ExitStack()
        self._failure: BaseException | None = None
        self.opened = 0
        self.refusal: ConnectTransientError | None = None

    @contextmanager
    def borrow(self) -> Iterator[T]:
        """Give one to this thread. After a borrower failed nobody gets one: all that ask fail alike."""
        stream = self._take()
        try:
            yield stream
        except BaseException as error:
            with self._changed:
                self._failure = self._failure or error
                self._changed.notify_all()
            raise
        with self._changed:
            self._idle.append(stream)
            self._changed.notify()

    def _take(self) -> T:
        while True:
            with self._changed:
                self._changed.wait_for(lambda: self._failure or self._idle or self._count < self._limit)
                if self._failure is not None:
                    raise self._failure
                if self._idle:
                    return self._idle.pop()
                self._count += 1
            try:
                return self._open()
            except ConnectTransientError as error:
                self._go_without(error)

    def _open(self) -> T:
        try:
            manager = self._open_one(next(self._numbers))
            stream = manager.__enter__()
        except BaseException:
            with self._changed:
                self._count -= 1
                self._changed.notify_all()
            raise
        with self._changed:
            self._stack.push(manager)
            self.opened += 1
        return stream

    def _go_without(self, error: ConnectTransientError) -> None:
        """Let those that are open do. When none is, another thread that is just opening one may still succeed."""
        with self._changed:
            if error.code != ConnectTransientError.default_code or not self._count:
                raise error
            self._limit = min(self._limit, self._count)
            self.refusal = error

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._stack.close()
