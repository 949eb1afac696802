"""A budget of memory: taken and given back by many threads, and never more than the limit."""

import threading
from concurrent.futures import ThreadPoolExecutor

from hypothesis import given, settings
from hypothesis import strategies as st

from coffre.concurrency.memory_budget import MemoryBudget

PATIENCE = 60


def is_whole(budget: MemoryBudget, size: int) -> bool:
    """Tell whether all of a budget is free, and no more."""
    taken = budget.try_take(size)
    more = budget.try_take(1)
    budget.give_back(size * taken + more)
    return taken and not more


@settings(max_examples=20, deadline=None)
@given(st.lists(st.integers(0, 30), max_size=60))
def test_threads_together_never_use_more_than_the_limit(sizes: list[int]) -> None:
    budget, lock = MemoryBudget(20), threading.Lock()
    in_use = most = 0

    def work(size: int) -> None:
        nonlocal in_use, most
        taken = budget.take(size)
        with lock:
            in_use += taken
            most = max(most, in_use)
        with lock:
            in_use -= taken
        budget.give_back(taken)

    with ThreadPoolExecutor(8) as pool:
        list(pool.map(work, sizes))

    assert most <= 20
    assert is_whole(budget, 20)


def test_more_than_the_limit_is_granted_to_one_alone() -> None:
    budget = MemoryBudget(20)

    assert budget.take(50) == 20
    assert not budget.try_take(1)
    budget.give_back(20)
    assert is_whole(budget, 20)


def test_a_thread_that_waits_continues_when_enough_is_given_back() -> None:
    budget, done = MemoryBudget(20), threading.Event()
    budget.take(15)

    def work() -> None:
        budget.take(10)
        done.set()

    thread = threading.Thread(target=work)
    thread.start()

    budget.give_back(4)
    assert not done.is_set()  # 9 are free
    budget.give_back(11)

    assert done.wait(PATIENCE)
    thread.join()


def test_who_overdraws_is_never_refused_and_others_wait_until_it_is_paid_back() -> None:
    budget = MemoryBudget(20)

    assert budget.try_take(15)
    assert not budget.try_take(10)
    assert budget.try_take(10, overdraw=True)
    budget.give_back(10)
    assert not budget.try_take(6)
    budget.give_back(15)
    assert is_whole(budget, 20)
