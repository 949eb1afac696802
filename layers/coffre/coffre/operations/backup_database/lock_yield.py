"""Yield the locks of a backup: cancel it when another session waits for one of them, and blocks others by that."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Final

from coffre.model.errors import CoffreError, DumpTransientError
from coffre.operations.runs.watchdog import Watch
from coffre.postgres.source.snapshot import Holder

_LONGEST_INTERVAL_SECONDS: Final = 1.0


@contextmanager
def yielding_locks(holder: Holder, watch: Watch, *, after_seconds: int) -> Iterator[None]:
    """Cancel the run when another session has waited for one of its locks for this long.

    The locks allow reading and writing. But an `ALTER TABLE` waits until the backup has read its last row, and every
    query on that table waits behind it: the application stops (field note 23). A backup can start again later.
    """
    done = threading.Event()
    interval = min(_LONGEST_INTERVAL_SECONDS, after_seconds / 4)

    def look() -> None:
        while not done.wait(interval):
            try:
                table = holder.waited_for(after_seconds)
            except CoffreError:
                continue  # the next user of the holder raises what happened to it; its transaction may continue
            if table is not None:
                watch.end(_lock_yielded(table, after_seconds))
                holder.release()  # the run has to unwind first, and its last uploads can take a while
                return

    thread = threading.Thread(target=look, name="lock-yield", daemon=True)
    thread.start()
    try:
        yield
    finally:
        done.set()
        thread.join()


def _lock_yielded(table: str, seconds: int) -> DumpTransientError:
    return DumpTransientError(
        f"The backup was cancelled: another session had waited {seconds} s for a lock on {table} that the backup "
        "holds, and was blocking other queries.",
        code="LOCK_YIELDED",
        hint="Nothing was published. Run ALTER TABLE, TRUNCATE, VACUUM FULL and the like at another time, raise "
        "limits.lock_timeout_seconds, or leave the table's rows out (tables.exclude_data).",
    )
