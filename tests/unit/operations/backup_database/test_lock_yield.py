"""Giving up the locks that others wait for: looked for as long as the backup runs."""

import threading
from typing import cast

from coffre.model.errors import CoffreError, DumpError
from coffre.operations.backup_database.lock_yield import yielding_locks
from coffre.operations.runs.heartbeat import Watch
from coffre.operations.runs.progress import Meter
from coffre.postgres.source.present_catalog import PresentCatalog

PATIENCE = 60


class Locked:
    """A server that answers nothing at first, and where a client program's lock is waited for then."""

    patience_seconds = 1

    def __init__(self, errors: int) -> None:
        self._errors = iter(range(errors))

    def make_way(self) -> str:
        if next(self._errors, None) is not None:
            raise DumpError("terminating connection due to administrator command")
        return "public.orders"


def test_a_look_that_fails_is_not_the_last_one() -> None:
    ended = threading.Event()
    watch = Watch(Meter(), beat=lambda _: None, remaining_seconds=lambda: 900.0, stop=ended.set)

    with yielding_locks(cast(PresentCatalog, Locked(errors=3)), watch):
        assert ended.wait(PATIENCE)

    assert isinstance(watch.reason, CoffreError)
    assert watch.reason.code == "LOCK_YIELDED"
    assert "public.orders" in watch.reason.message
