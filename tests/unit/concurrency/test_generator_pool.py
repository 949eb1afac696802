from __future__ import annotations

import threading
from collections.abc import Generator
from concurrent.futures import Future

import pytest

from coffre.concurrency.generator_pool import GeneratorPool

SOON = 20


def working(pools: list[GeneratorPool]) -> Generator[Future[None]]:
    with GeneratorPool(1, "ahead") as pool:
        pools.append(pool)
        yield pool.submit(lambda: None)
        yield pool.submit(lambda: None)


def test_a_generator_that_is_closed_in_one_of_its_own_threads_ends_and_so_do_they() -> None:
    pools: list[GeneratorPool] = []
    generator = working(pools)
    next(generator).result(SOON)

    pools[0].submit(generator.close).result(SOON)

    with pytest.raises(RuntimeError, match="after shutdown"):
        pools[0].submit(int)
    for thread in threading.enumerate():
        if thread.name.startswith("ahead"):
            thread.join(SOON)
            assert not thread.is_alive()


def test_leaving_cancels_what_has_not_begun_and_waits_for_what_has() -> None:
    begun, release, seen = threading.Event(), threading.Event(), []

    def first() -> None:
        begun.set()
        release.wait(SOON)
        seen.append("first")

    with GeneratorPool(1, "ahead") as pool:
        pool.submit(first)
        second = pool.submit(seen.append, "second")
        begun.wait(SOON)
        threading.Timer(0.05, release.set).start()

    assert second.cancelled()
    assert seen == ["first"]
