"""Work that is started ahead of its consumer, whose results come in order."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Generator, Iterable
from concurrent.futures import Future

from coffre.concurrency.memory_budget import MemoryBudget


def prefetch[T, R](
    items: Iterable[T], start: Callable[[T], Future[R]], *, cost_of: Callable[[T], int], budget: MemoryBudget
) -> Generator[tuple[T, Future[R]]]:
    """Start the work of as many items as the budget allows, and yield each item with its future, in order.

    Errors stay in the futures. Close the generator to stop before its end: work that has not begun is cancelled.

    Parameters
    ----------
    items
        Read lazily, at most one further than the budget allows.
    start
        Submits the work of an item to a pool. Several items may share one future.
    cost_of
        Bytes that an item's result takes. They are in use from the start of the work until the consumer asks for the
        next item.
    budget
        May be shared with other consumers. One that has nothing under way overdraws it, and so never waits for others.
    """
    waiting: deque[tuple[T, Future[R], int]] = deque()
    used = 0
    try:
        for item in items:
            cost = cost_of(item)
            while not budget.try_take(cost, overdraw=not waiting):
                first, future, used = waiting.popleft()
                yield first, future
                del first, future
                budget.give_back(used)
                used = 0
            waiting.append((item, start(item), cost))
        while waiting:
            first, future, used = waiting.popleft()
            yield first, future
            del first, future
            budget.give_back(used)
            used = 0
    finally:
        budget.give_back(used)
        for _, future, cost in waiting:
            future.cancel()
            budget.give_back(cost)
