"""Work on many items in several threads, with bounded memory: results as they come, or in the order of the items."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Generator, Iterable, Iterator
from concurrent.futures import FIRST_COMPLETED, Future, wait
from dataclasses import dataclass
from itertools import islice
from typing import Final, Protocol

from coffre.concurrency.generator_pool import GeneratorPool
from coffre.concurrency.memory_budget import MemoryBudget

# Parts that have returned their session and wait for their last upload.
_PARTS_LEAVING: Final = 2
# Results that wait for an earlier one: small, but their number must be limited.
_MOST_WAITING: Final = 5_000


def width_for(streams: int) -> int:
    """Return how many parts to work on in parallel, so that no stream waits for the last upload of a part."""
    return streams + _PARTS_LEAVING


class Runner(Protocol):
    """Maps parts to results, in any order; the first error ends it and is raised."""

    def __call__[P, R](self, work: Callable[[P], R], parts: Iterable[P]) -> Iterator[R]:
        """Yield the results as they come. Parts are read from the iterable only when there is room for them."""


@dataclass(frozen=True)
class ThreadRunner:
    """Runs parts in `width` threads; at most twice as many parts are in memory.

    Parameters
    ----------
    width
        How many parts are worked on in parallel.
    stop
        Called at the first error, so that the other threads end soon.
    """

    width: int
    stop: Callable[[], None]

    def __call__[P, R](self, work: Callable[[P], R], parts: Iterable[P]) -> Iterator[R]:
        """Yield the results as they come."""
        source = iter(parts)
        with GeneratorPool(self.width, "part") as pool:
            running: set[Future[R]] = set()
            try:
                while True:
                    running |= {pool.submit(work, part) for part in islice(source, 2 * self.width - len(running))}
                    if not running:
                        return
                    done, running = wait(running, return_when=FIRST_COMPLETED)
                    for future in done:
                        yield future.result()
            except BaseException:
                for future in running:
                    future.cancel()
                self.stop()
                raise


def ordered_map[T, R](
    work: Callable[[T], R], items: Iterable[T], *, cost_of: Callable[[T], int], width: int, memory_bytes: int
) -> Generator[R]:
    """Yield the results of `work` in the order of the items; the first error ends it and is raised.

    Parameters
    ----------
    cost_of
        Approximate number of bytes that the work on an item takes. An item of more than `memory_bytes` runs alone.
        Results are taken to be small: they do not count.
    width
        Number of threads.
    memory_bytes
        Limit for all items that are worked on.
    """
    budget = MemoryBudget(memory_bytes)
    waiting: deque[Future[R]] = deque()

    def one(item: T, taken: int) -> R:
        try:
            return work(item)
        finally:
            budget.give_back(taken)

    with GeneratorPool(width, "object") as pool:
        for item in items:
            waiting.append(pool.submit(one, item, budget.take(cost_of(item))))
            while waiting and (waiting[0].done() or len(waiting) > _MOST_WAITING):
                yield waiting.popleft().result()
        while waiting:
            yield waiting.popleft().result()
