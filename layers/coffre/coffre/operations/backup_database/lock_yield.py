"""Yield the locks of a backup when another session waits for one of them, and blocks others by that."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Final

from coffre.model.errors import CoffreError
from coffre.operations.runs.heartbeat import Watch
from coffre.postgres.source.part_locks import lock_yielded
from coffre.postgres.source.present_catalog import PresentCatalog

_LONGEST_INTERVAL_SECONDS: Final = 1.0


@contextmanager
def yielding_locks(
    present: PresentCatalog, watch: Watch, *, keep_alive: Callable[[], None] = lambda: None
) -> Iterator[None]:
    """Give up locks when another session has waited for one of them longer than `present` has patience.

    The locks allow reading and writing. But an `ALTER TABLE` waits until a part is read, and every query on that table
    waits behind it: the application stops (field note 23). A part is read again later. A client program cannot let go:
    the run is cancelled then, and can start again later. `keep_alive` is called with every look.
    """
    done = threading.Event()
    interval = min(_LONGEST_INTERVAL_SECONDS, present.patience_seconds / 4)

    def look() -> None:
        while not done.wait(interval):
            try:
                table = present.make_way()
                keep_alive()
            except CoffreError:
                continue  # the next user of the session raises what happened to it; its transaction may continue
            if table is not None:
                watch.end(lock_yielded(table))
                return

    thread = threading.Thread(target=look, name="lock-yield", daemon=True)
    thread.start()
    try:
        yield
    finally:
        done.set()
        thread.join()
