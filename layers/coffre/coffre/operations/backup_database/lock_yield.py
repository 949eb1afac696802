"""A backup's locks let everybody read and write, but whoever waits for more than that stops all who come after them."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Final

from coffre.model.errors import CoffreError, DumpTransientError
from coffre.operations.runs.progress import Watch
from coffre.postgres.source.snapshot import Holder

_LONGEST_INTERVAL_SECONDS: Final = 1.0


@contextmanager
def yielding_locks(holder: Holder, watch: Watch, *, after_seconds: int) -> Iterator[None]:
    """End the run when somebody has waited behind its locks for so long.

    An `ALTER TABLE` waits until the backup has read its last row, and every query on that table waits behind it: the
    application stands still (field note 23). Nobody is harmed by a backup that begins again later.
    """
    done = threading.Event()
    interval = min(_LONGEST_INTERVAL_SECONDS, after_seconds / 4)

    def look() -> None:
        while not done.wait(interval):
            try:
                table = holder.waited_for(after_seconds)
            except CoffreError:
                continue  # whoever needs the holder next says what became of it; its transaction may go on
            if table is not None:
                watch.end(_gave_way(table, after_seconds))
                holder.release()  # the run has to unwind first, and its last uploads can take a while
                return

    thread = threading.Thread(target=look, name="giving way", daemon=True)
    thread.start()
    try:
        yield
    finally:
        done.set()
        thread.join()


def _gave_way(table: str, seconds: int) -> DumpTransientError:
    return DumpTransientError(
        f"Somebody waited for {table} behind the backup for {seconds} seconds, and others behind them: it gave way.",
        code="GAVE_WAY",
        hint="Nothing was published. Let ALTER TABLE, TRUNCATE, VACUUM FULL and the like run at another time, raise "
        "limits.lock_timeout_seconds, or leave the table's rows out (tables.exclude_data).",
    )
