"""A pool of sessions: each working thread borrows one."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, ExitStack, contextmanager
from typing import Self

from coffre.model.errors import ConnectTransientError


class SessionPool[T]:
    """A bounded pool of sessions (or readers), opened on demand and closed on exit.

    If the server refuses another connection, the pool shrinks to the sessions that it has.

    Parameters
    ----------
    open_one
        Gets the number of the session (from 0). The context manager that it returns is exited with the pool.
    limit
        Maximum number of open sessions. A thread that needs another one waits until one is returned.
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
        """Lend a session to this thread. After one borrower failed, all later ones fail with the same error."""
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
        """Shrink to the open sessions. If none is open, another thread that is just opening one may still succeed."""
        with self._changed:
            if error.code != ConnectTransientError.default_code or not self._count:
                raise error
            self._limit = min(self._limit, self._count)
            self.refusal = error

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._stack.close()
