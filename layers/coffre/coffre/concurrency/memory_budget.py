"""A limit for the memory that several threads use together."""

from __future__ import annotations

import threading


class MemoryBudget:
    """Bytes that may be in use at the same time. Safe to use from several threads.

    A thread takes bytes before it allocates them, and gives the same number back afterwards. Waiting threads get no
    order: whichever fits first continues.
    """

    def __init__(self, limit_bytes: int) -> None:
        self._limit = limit_bytes
        self._free = limit_bytes
        self._changed = threading.Condition()

    def take(self, size_bytes: int) -> int:
        """Wait until the bytes are free, and return how many were taken.

        More than the whole limit is granted as the whole limit, to one thread alone. A thread that waits here must hold
        nothing that it gives back only later, or it may wait for itself.
        """
        wanted = min(size_bytes, self._limit)
        with self._changed:
            self._changed.wait_for(lambda: self._free >= wanted)
            self._free -= wanted
        return wanted

    def try_take(self, size_bytes: int, *, overdraw: bool = False) -> bool:
        """Take the bytes if they are free, and tell whether they were taken. Never waits.

        `overdraw` takes them in any case: for a thread that holds nothing yet, and so must not wait for others.
        """
        with self._changed:
            if size_bytes > self._free and not overdraw:
                return False
            self._free -= size_bytes
            return True

    def give_back(self, size_bytes: int) -> None:
        """Free bytes that were taken."""
        with self._changed:
            self._free += size_bytes
            self._changed.notify_all()
