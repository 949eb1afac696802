"""Each thread borrows one of its own; all are closed at the end, whatever happened."""

import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import AbstractContextManager, contextmanager

import pytest

from coffre.operations.streams import Streams


class Pool:
    """Opens numbered things and remembers which are closed."""

    def __init__(self) -> None:
        self.opened: list[int] = []
        self.closed: list[int] = []

    @contextmanager
    def open_one(self, number: int) -> Iterator[int]:
        self.opened.append(number)
        yield number
        self.closed.append(number)


def test_one_after_another_borrow_the_same() -> None:
    pool = Pool()

    with Streams(pool.open_one, 2) as streams:
        for _ in range(3):
            with streams.borrow() as number:
                assert number == 0
        assert pool.closed == []

    assert (pool.opened, pool.closed) == ([0], [0])


def test_at_once_each_borrows_its_own() -> None:
    pool = Pool()

    with Streams(pool.open_one, 2) as streams, streams.borrow() as one, streams.borrow() as other:
        assert {one, other} == {0, 1}

    assert sorted(pool.closed) == [0, 1]


def test_threads_never_share_one() -> None:
    pool = Pool()
    together = threading.Barrier(4, timeout=60)
    seen: list[int] = []

    with Streams(pool.open_one, 4) as streams:

        def work() -> None:
            with streams.borrow() as number:
                together.wait()
                seen.append(number)

        threads = [threading.Thread(target=work) for _ in range(4)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()

    assert sorted(seen) == [0, 1, 2, 3]
    assert sorted(pool.closed) == [0, 1, 2, 3]


def borrow_and_fail(streams: Streams[int]) -> None:
    with streams.borrow():
        raise ZeroDivisionError


def test_one_whose_borrower_failed_is_not_lent_again_but_closed() -> None:
    pool = Pool()

    with Streams(pool.open_one, 2) as streams:
        with pytest.raises(ZeroDivisionError):
            borrow_and_fail(streams)
        with streams.borrow() as number:
            assert number == 1

    assert sorted(pool.closed) == [0, 1]


def test_one_that_cannot_be_opened_is_the_borrowers_error() -> None:
    def refuse(number: int) -> AbstractContextManager[int]:
        raise ConnectionError(number)

    with Streams(refuse, 2) as streams, pytest.raises(ConnectionError), streams.borrow():
        pass


def test_who_asks_for_one_more_than_the_limit_waits_until_one_is_given_back() -> None:
    pool = Pool()
    got = threading.Event()
    with Streams(pool.open_one, 1) as streams, ThreadPoolExecutor(1) as other:

        def borrow() -> None:
            with streams.borrow():
                got.set()

        with streams.borrow():
            waiting = other.submit(borrow)
            assert not got.wait(0.05)
        waiting.result(timeout=10)
    assert got.is_set()
