"""Work that is started ahead: in order, within the budget, and nothing of it left when it is closed."""

import threading
from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from coffre.concurrency.memory_budget import MemoryBudget
from coffre.concurrency.prefetch import prefetch

LIMIT = 20


def done(item: int) -> Future[int]:
    future: Future[int] = Future()
    future.set_result(item * 2)
    return future


def is_whole(budget: MemoryBudget) -> bool:
    return budget.try_take(LIMIT) and not budget.try_take(1)


@given(st.lists(st.integers(1, 30), max_size=40))
def test_everything_comes_in_order_and_no_more_is_in_use_than_the_budget_allows(costs: list[int]) -> None:
    budget, started = MemoryBudget(LIMIT), list[int]()

    def start(cost: int) -> Future[int]:
        started.append(cost)
        return done(cost)

    found = []
    for taken, (cost, future) in enumerate(prefetch(costs, start, cost_of=lambda cost: cost, budget=budget)):
        found.append((cost, future.result()))
        in_use = started[taken:]  # from the item that is in hand
        assert sum(in_use) <= LIMIT or len(in_use) == 1

    assert found == [(cost, cost * 2) for cost in costs]
    assert is_whole(budget)


def test_as_much_is_under_way_as_the_budget_allows() -> None:
    started = list[int]()

    def start(item: int) -> Future[int]:
        started.append(item)
        return done(item)

    items = prefetch(range(100), start, cost_of=lambda _: 5, budget=MemoryBudget(LIMIT))
    next(items)
    assert started == [0, 1, 2, 3]
    next(items)
    assert started == [0, 1, 2, 3, 4]
    items.close()


@settings(max_examples=20)
@given(st.integers(0, 10))
def test_closing_gives_the_budget_back_and_cancels_what_has_not_begun(taken: int) -> None:
    budget, futures, release = MemoryBudget(LIMIT), list[Future[int]](), threading.Event()

    def work(item: int) -> int:
        assert item < taken or release.wait(60)
        return item

    with ThreadPoolExecutor(1) as pool:

        def start(item: int) -> Future[int]:
            futures.append(pool.submit(work, item))
            return futures[-1]

        items = prefetch(range(100), start, cost_of=lambda _: 5, budget=budget)
        for number in range(taken):
            assert next(items)[1].result() == number
        items.close()
        release.set()

    assert all(future.done() for future in futures)
    assert is_whole(budget)


def test_consumers_that_share_a_budget_never_wait_for_each_other() -> None:
    budget = MemoryBudget(LIMIT)
    many = [prefetch(range(50), done, cost_of=lambda _: 15, budget=budget) for _ in range(4)]

    turns = zip(*many, strict=True)

    assert sum(1 for _ in turns) == 50
    assert is_whole(budget)


def test_an_error_of_the_items_gives_the_budget_back() -> None:
    budget = MemoryBudget(LIMIT)

    def items() -> Iterator[int]:
        yield from range(6)
        raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        list(prefetch(items(), done, cost_of=lambda _: 5, budget=budget))

    assert is_whole(budget)
