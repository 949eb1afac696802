"""Giving way to whoever waits behind a backup's locks: looked for as long as the backup runs."""

import threading
from typing import cast

from coffre.model.errors import CoffreError, DumpError
from coffre.operations.backup_database.lock_yield import yielding_locks
from coffre.operations.runs.progress import Meter
from coffre.operations.runs.watchdog import Watch
from coffre.postgres.source.snapshot import Holder

PATIENCE = 60


class Locked:
    """A holder whose transaction answers nothing at first, and behind whose locks somebody waits then."""

    def __init__(self, errors: int) -> None:
        self._errors = iter(range(errors))
        self.released = threading.Event()

    def waited_for(self, _: int) -> str:
        if next(self._errors, None) is not None:
            raise DumpError("current transaction is aborted, commands ignored until end of transaction block")
        return "public.orders"

    def release(self) -> None:
        self.released.set()


def test_a_look_that_meets_an_aborted_transaction_is_not_the_last_one() -> None:
    holder = Locked(errors=3)
    watch = Watch(Meter(), beat=lambda _: None, remaining_seconds=lambda: 900.0, stop=lambda: None)

    with yielding_locks(cast(Holder, holder), watch, after_seconds=1):
        assert holder.released.wait(PATIENCE)

    assert isinstance(watch.reason, CoffreError)
    assert watch.reason.code == "LOCK_YIELDED"
