"""Parts are mapped in a bounded window; the first error ends it all."""

import threading
from collections.abc import Iterator

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from coffre.operations.runs.parallel_map import ThreadRunner, ordered_map


def nothing() -> None:
    """Stop nothing."""


@settings(max_examples=30)
@given(st.lists(st.integers(), max_size=50), st.integers(1, 8))
def test_every_part_gives_one_result_in_whatever_order(parts: list[int], width: int) -> None:
    results = list(ThreadRunner(width, nothing)(lambda part: part * 2, parts))

    assert sorted(results) == sorted(part * 2 for part in parts)


@pytest.mark.parametrize("width", [1, 2, 5])
def test_parts_are_taken_only_when_there_is_room(width: int) -> None:
    # Given more parts than fit, and a look at how many were taken beyond those that are done
    taken, done, most = 0, 0, 0
    lock = threading.Lock()

    def parts() -> Iterator[int]:
        nonlocal taken, most
        for number in range(100):
            with lock:
                taken += 1
                most = max(most, taken - done)
            yield number

    def work(part: int) -> int:
        nonlocal done
        with lock:
            done += 1
        return part

    assert sum(1 for _ in ThreadRunner(width, nothing)(work, parts())) == 100
    assert most <= 2 * width


def test_as_many_parts_as_the_width_run_at_once() -> None:
    # Given parts that end only when three of them are there
    together = threading.Barrier(3, timeout=60)

    results = list(ThreadRunner(3, nothing)(lambda part: together.wait() >= 0, range(6)))

    assert results == [True] * 6


def test_the_first_error_is_raised_stops_the_others_and_starts_no_more() -> None:
    # Given one part that fails while the other thread works until it is stopped
    stopped = threading.Event()
    started: list[int] = []

    def work(part: int) -> int:
        started.append(part)
        if part == 1:
            raise ZeroDivisionError
        assert stopped.wait(60)
        return part

    with pytest.raises(ZeroDivisionError):
        list(ThreadRunner(2, stopped.set)(work, range(100)))

    assert stopped.is_set()
    assert len(started) <= 4


def test_an_error_of_whoever_makes_the_parts_stops_them_too() -> None:
    stops: list[bool] = []

    def parts() -> Iterator[int]:
        yield 1
        raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        list(ThreadRunner(2, lambda: stops.append(True))(lambda part: part, parts()))

    assert stops == [True]


def test_a_reader_of_the_results_that_goes_away_stops_the_work() -> None:
    stopped = threading.Event()

    def work(part: int) -> int:
        if part > 0:
            assert stopped.wait(60)
        return part

    results = ThreadRunner(2, stopped.set)(work, range(10))
    assert next(results) == 0
    results.close()  # type: ignore[attr-defined]  # it is a generator

    assert stopped.is_set()


def test_nothing_to_do_is_nothing_done() -> None:
    stops: list[bool] = []

    assert list(ThreadRunner(2, lambda: stops.append(True))(lambda part: part, [])) == []
    assert stops == []


# --- in order ---


@settings(max_examples=30, deadline=None)
@given(st.lists(st.integers(0, 30), max_size=60), st.integers(1, 8))
def test_results_come_in_order_and_the_work_stays_within_its_memory(costs: list[int], width: int) -> None:
    in_use, most, lock = 0, 0, threading.Lock()

    def work(cost: int) -> int:
        nonlocal in_use, most
        with lock:
            in_use += min(cost, 20)
            most = max(most, in_use)
        with lock:
            in_use -= min(cost, 20)
        return cost

    results = list(ordered_map(work, costs, cost_of=lambda cost: cost, width=width, memory_bytes=20))

    assert results == costs
    assert most <= 20


def test_a_result_is_given_out_while_later_work_goes_on() -> None:
    release = threading.Event()

    def work(item: int) -> int:
        assert item == 0 or release.wait(60)
        return item

    results = ordered_map(work, range(3), cost_of=lambda _: 1, width=3, memory_bytes=3)
    assert next(results) == 0
    release.set()

    assert list(results) == [1, 2]


def test_the_first_error_of_ordered_work_is_raised_in_its_turn() -> None:
    done: list[int] = []

    def work(item: int) -> int:
        return 1 // (2 - item)

    results = ordered_map(work, range(100), cost_of=lambda _: 1, width=2, memory_bytes=2)
    with pytest.raises(ZeroDivisionError):
        done.extend(results)

    assert done == [0, 1]
