"""An event that is delivered twice has one run, and a continuation one owner: whoever comes first, at the same time."""

from __future__ import annotations

import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from datetime import datetime, timedelta
from typing import Any

import pytest
from tests.unit.catalog.conftest import NewRestore, RawTable

from coffre.catalog.catalog import Catalog
from coffre.catalog.tables import DynamoTable
from coffre.model.backup import Status
from coffre.model.errors import LockLostError

STALE = timedelta(seconds=45)
ROUNDS, CALLERS = 20, 4


@pytest.fixture(autouse=True)
def atomic(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let each write be atomic, as DynamoDB's are: moto checks a condition and writes in two steps."""
    lock = threading.Lock()

    def locked(write: Callable[..., Any]) -> Callable[..., Any]:
        def call(*arguments: Any, **named: Any) -> Any:
            with lock:
                return write(*arguments, **named)

        return call

    for name in ("put", "update", "delete", "get"):
        monkeypatch.setattr(DynamoTable, name, locked(getattr(DynamoTable, name)))


def together[T](work: Callable[[int], T]) -> list[T]:
    """Call from several threads at the same time."""
    barrier = threading.Barrier(CALLERS)

    def call(number: int) -> T:
        barrier.wait(timeout=30)
        return work(number)

    with ThreadPoolExecutor(CALLERS) as pool:
        return list(pool.map(call, range(CALLERS)))


def test_an_event_has_one_run_however_often_it_is_delivered(
    catalog: Catalog, now: datetime, raw_table: RawTable
) -> None:
    for request in map(str, range(ROUNDS)):
        runs = together(lambda number, request=request: catalog.deliveries.run_of(request, f"run-{number}", now))  # type: ignore[misc]

        assert len(set(runs)) == 1
    item = raw_table.get_item(Key={"pk": "DELIVERY", "sk": "0"})["Item"]
    # The table forgets it when the event cannot come again
    assert timedelta(seconds=int(item["expires_at_epoch"]) - now.timestamp()) == timedelta(days=2)


def test_a_continuation_of_a_restore_has_one_owner(catalog: Catalog, now: datetime, new_restore: NewRestore) -> None:
    for _ in range(ROUNDS):
        restore = new_restore(invocation=1, heartbeat_at=now)
        catalog.create_restore(restore)
        catalog.hand_over_restore(restore.id, 2, now + timedelta(minutes=15))

        owners = together(
            lambda _, restore=restore: catalog.continue_restore(restore.id, 2, now, stale_after=STALE)  # type: ignore[misc]
        )

        assert sum(owner is not None for owner in owners) == 1


def test_a_continuation_of_a_backup_has_one_owner_even_when_all_clocks_agree(catalog: Catalog, now: datetime) -> None:
    for number in range(ROUNDS):
        target = f"files-{number}"
        catalog.locks.acquire(target, "01A", now, stale_after=STALE)
        catalog.locks.hand_over(target, "01A", now, continuation=1)

        owners = together(
            lambda _, target=target: catalog.locks.resume(target, "01A", now, continuation=1, stale_after=STALE)  # type: ignore[misc]
        )

        assert owners.count(True) == 1


@pytest.mark.parametrize("waits", [timedelta(seconds=1), timedelta(hours=1)])
def test_an_event_of_an_earlier_invocation_is_too_late_for_a_restore_that_was_handed_on(
    catalog: Catalog, now: datetime, new_restore: NewRestore, waits: timedelta
) -> None:
    """Even when the next invocation is late, so that the restore looks dead: then both would work on it."""
    restore = new_restore(invocation=2, heartbeat_at=now)
    catalog.create_restore(restore)
    catalog.hand_over_restore(restore.id, 3, now)

    again = catalog.continue_restore(restore.id, 2, now + waits, stale_after=STALE)
    due = catalog.continue_restore(restore.id, 3, now + waits, stale_after=STALE)

    assert again is None
    assert due is not None
    assert due.invocation == 3
    # And when that one has died, only its own event continues
    later = now + waits + timedelta(minutes=5)
    assert catalog.continue_restore(restore.id, 2, later, stale_after=STALE) is None
    assert catalog.continue_restore(restore.id, 3, later, stale_after=STALE) is not None


@pytest.mark.parametrize("waits", [timedelta(seconds=1), timedelta(hours=1)])
def test_the_same_holds_for_backups(catalog: Catalog, now: datetime, waits: timedelta) -> None:
    catalog.locks.acquire("files", "01A", now, stale_after=STALE)
    catalog.locks.hand_over("files", "01A", now, continuation=1)
    assert catalog.locks.resume("files", "01A", now, continuation=1, stale_after=STALE)
    catalog.locks.hand_over("files", "01A", now, continuation=2)

    def resume(continuation: int, at: datetime) -> bool:
        return catalog.locks.resume("files", "01A", at, continuation=continuation, stale_after=STALE)

    assert not resume(1, now + waits)
    assert resume(2, now + waits)
    later = now + waits + timedelta(minutes=5)
    assert not resume(1, later)
    assert resume(2, later)


def test_a_restore_that_has_ended_is_handed_to_nobody(catalog: Catalog, now: datetime, new_restore: NewRestore) -> None:
    restore = new_restore()
    catalog.create_restore(restore)
    catalog.finish_restore(restore.model_copy(update={"status": Status.FAILED, "completed_at": now}))

    with pytest.raises(LockLostError):
        catalog.hand_over_restore(restore.id, 2, now)
