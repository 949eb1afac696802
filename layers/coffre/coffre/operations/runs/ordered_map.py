"""Many small and some large pieces of work at once, in bounded memory, with their results in order."""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Callable, Generator, Iterable
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Final

# Results of pieces that are done while an earlier one is not: small, but not without end.
_MOST_WAITING: Final = 5_000


class _Room:
    """Bytes of memory that work may use at once. More than all of it is given to one alone."""

    def __init__(self, size_bytes: int) -> None:
        self._size = size_bytes
        self._free = size_bytes
        self._changed = threading.Condition()

    def take(self, size_bytes: int) -> int:
        wanted = min(size_bytes, self._size)
        with self._changed:
            self._changed.wait_for(lambda: self._free >= wanted)
            self._free -= wanted
        return wanted

    def give_back(self, size_bytes: int) -> None:
        with self._changed:
            self._free += size_bytes
            self._changed.notify()


def ordered_map[T, R](
    work: Callable[[T], R], items: Iterable[T], *, cost_of: Callable[[T], int], width: int, room_bytes: int
) -> Generator[R]:
    """Yield the results of `work` in the order of the items; the first error ends it and is raised.

    Parameters
    ----------
    cost_of
        About how many bytes of memory an item takes while it is worked on.
    width
        How many threads work.
    room_bytes
        What those that are worked on may take together.
    """
    room = _Room(room_bytes)
    waiting: deque[Future[R]] = deque()

    def one(item: T, taken: int) -> R:
        try:
            return work(item)
        finally:
            room.give_back(taken)

    pool = ThreadPoolExecutor(width, thread_name_prefix="object")
    try:
        for item in items:
            waiting.append(pool.submit(one, item, room.take(cost_of(item))))
            while waiting and (waiting[0].done() or len(waiting) > _MOST_WAITING):
                yield waiting.popleft().result()
        while waiting:
            yield waiting.popleft().result()
    finally:
        pool.shutdown(cancel_futures=True)
