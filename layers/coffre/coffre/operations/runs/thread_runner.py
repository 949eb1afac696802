"""How parts of a job are mapped: the shape of a runner, and the one that uses threads of this process."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor, wait
from dataclasses import dataclass
from itertools import islice
from typing import Final, Protocol

# Parts that have given their stream back and wait for their last upload.
_PARTS_LEAVING: Final = 2


def width_for(streams: int) -> int:
    """Return how many parts to work on at once, so that no stream waits for the last upload of a part."""
    return streams + _PARTS_LEAVING


class Runner(Protocol):
    """Maps parts to results, in any order; the first error ends it and is raised."""

    def __call__[P, R](self, work: Callable[[P], R], parts: Iterable[P]) -> Iterator[R]:
        """Yield the results as they come. Parts are taken from the iterable only when there is room for them."""


@dataclass(frozen=True)
class ThreadRunner:
    """Runs parts in `width` threads; at most twice as many parts are in memory.

    Parameters
    ----------
    width
        How many parts are worked on at once.
    stop
        Called at the first error, so that the other threads end soon.
    """

    width: int
    stop: Callable[[], None]

    def __call__[P, R](self, work: Callable[[P], R], parts: Iterable[P]) -> Iterator[R]:
        """Yield the results as they come."""
        source = iter(parts)
        with ThreadPoolExecutor(max_workers=self.width, thread_name_prefix="part") as pool:
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
