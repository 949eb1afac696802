"""Each thread borrows one of its own; all are closed at the end, whatever happened."""

import threading
from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import AbstractContextManager, contextmanager

import pytest

from coffre.model.errors import ConnectTransientError
from coffre.operations.runs.session_pool import SessionPool


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

    with SessionPool(pool.open_one, 2) as streams:
        for _ in range(3):
            with streams.borrow() as number:
                assert number == 0
        assert pool.closed == []

    assert (pool.opened, pool.closed) == ([0], [0])


def test_at_once_each_borrows_its_own() -> None:
    pool = Pool()

    with SessionPool(pool.open_one, 2) as streams, streams.borrow() as one, streams.borrow() as other:
        assert {one, other} == {0, 1}

    assert sorted(pool.closed) == [0, 1]


def test_threads_never_share_one() -> None:
    pool = Pool()
    together = threading.Barrier(4, timeout=60)
    seen: list[int] = []

    with SessionPool(pool.open_one, 4) as streams:

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


def borrow_and_fail(streams: SessionPool[int]) -> None:
    with streams.borrow():
        raise ZeroDivisionError


def test_after_a_borrower_failed_all_fail_for_the_same_reason() -> None:
    """Others would only find out what that one found: a server that is gone, in other words."""
    pool = Pool()

    with SessionPool(pool.open_one, 2) as streams:
        for _ in range(3):
            with pytest.raises(ZeroDivisionError):
                borrow_and_fail(streams)

    assert (pool.opened, pool.closed) == ([0], [0])


def test_who_waits_when_a_borrower_fails_does_not_wait_forever() -> None:
    pool = Pool()
    with SessionPool(pool.open_one, 1) as streams, ThreadPoolExecutor(1) as other:
        waiting: list[Future[None]] = []

        def fail_while_another_waits() -> None:
            with streams.borrow():
                waiting.append(other.submit(borrow_and_fail, streams))
                raise ZeroDivisionError

        with pytest.raises(ZeroDivisionError):
            fail_while_another_waits()
        with pytest.raises(ZeroDivisionError):
            waiting[0].result(timeout=60)


class Crowded(Pool):
    """Has room for some, and refuses more."""

    def __init__(self, room: int, code: str | None = None) -> None:
        super().__init__()
        self._room = room
        self._code = code
        self.refused = threading.Event()

    def open_if_there_is_room(self, number: int) -> AbstractContextManager[int]:
        if len(self.opened) == self._room:
            self.refused.set()
            raise ConnectTransientError("No room.", code=self._code)
        return self.open_one(number)


@pytest.mark.parametrize("room", [1, 3])
def test_where_there_is_no_room_for_more_those_that_are_open_do_all_the_work(room: int) -> None:
    pool = Crowded(room)

    with SessionPool(pool.open_if_there_is_room, 8) as streams, ThreadPoolExecutor(8) as threads:

        def work(_: int) -> int:
            with streams.borrow() as number:
                assert pool.refused.wait(60)
                return number

        found = list(threads.map(work, range(4 * room)))

    assert set(found) <= set(range(room)) == set(pool.closed)
    assert streams.opened == room
    assert streams.refusal is not None


def test_no_room_at_all_is_an_error() -> None:
    with (
        SessionPool(Crowded(0).open_if_there_is_room, 2) as streams,
        pytest.raises(ConnectTransientError),
        streams.borrow(),
    ):
        pass


def test_a_connection_that_was_cut_is_not_a_lack_of_room() -> None:
    with (
        SessionPool(Crowded(1, "CONNECTION_LOST").open_if_there_is_room, 2) as streams,
        streams.borrow(),
        pytest.raises(ConnectTransientError),
        streams.borrow(),
    ):
        pass


def test_one_that_cannot_be_opened_is_the_borrowers_error() -> None:
    def refuse(number: int) -> AbstractContextManager[int]:
        raise ConnectionError(number)

    with SessionPool(refuse, 2) as streams, pytest.raises(ConnectionError), streams.borrow():
        pass


def test_who_asks_for_one_more_than_the_limit_waits_until_one_is_given_back() -> None:
    pool = Pool()
    got = threading.Event()
    with SessionPool(pool.open_one, 1) as streams, ThreadPoolExecutor(1) as other:

        def borrow() -> None:
            with streams.borrow():
                got.set()

        with streams.borrow():
            waiting = other.submit(borrow)
            assert not got.wait(0.05)
        waiting.result(timeout=60)
    assert got.is_set()
