"""One run at a time per target."""

from collections.abc import Callable, Iterator
from datetime import datetime, timedelta
from typing import Any

import pytest

from coffre.catalog.catalog import Catalog
from coffre.catalog.lock import Acquired
from coffre.model.errors import CatalogError, LockLostError

MINUTE = timedelta(minutes=1)


def _acquire(catalog: Catalog, owner: str, now: datetime, target: str = "shop") -> Acquired:
    return catalog.locks.acquire(target, owner, now, stale_after=MINUTE)


def test_a_free_lock_is_taken(catalog: Catalog, now: datetime) -> None:
    assert _acquire(catalog, "01A", now) == Acquired(True, "01A", since=now, heartbeat=now, dead_owner=None)


def test_a_lock_is_held_until_its_owner_was_silent_for_too_long(catalog: Catalog, now: datetime) -> None:
    _acquire(catalog, "01A", now)
    held = _acquire(catalog, "01B", now + MINUTE)
    assert held == Acquired(False, "01A", since=now, heartbeat=now)


def test_locks_of_two_targets_have_nothing_to_do_with_each_other(catalog: Catalog, now: datetime) -> None:
    assert _acquire(catalog, "01A", now).acquired
    assert _acquire(catalog, "01B", now, "blog").acquired


def test_the_owner_may_take_its_lock_again(catalog: Catalog, now: datetime) -> None:
    _acquire(catalog, "01A", now)
    later = now + 5 * MINUTE
    assert _acquire(catalog, "01A", later) == Acquired(True, "01A", since=now, heartbeat=later)


def test_a_renewed_lock_is_not_stale(catalog: Catalog, now: datetime) -> None:
    _acquire(catalog, "01A", now)
    catalog.locks.renew("shop", "01A", now + MINUTE)
    held = _acquire(catalog, "01B", now + 2 * MINUTE)
    assert held == Acquired(False, "01A", since=now, heartbeat=now + MINUTE)


def test_the_lock_of_a_dead_run_is_taken_over_and_the_dead_is_named(catalog: Catalog, now: datetime) -> None:
    _acquire(catalog, "01DEAD", now)
    later = now + MINUTE + timedelta(microseconds=1)
    taken = _acquire(catalog, "01NEW", later)
    assert taken == Acquired(True, "01NEW", since=later, heartbeat=later, dead_owner="01DEAD")


def test_the_dead_is_named_again_to_an_owner_that_asks_again(catalog: Catalog, now: datetime) -> None:
    _acquire(catalog, "01DEAD", now)
    _acquire(catalog, "01NEW", now + 2 * MINUTE)
    assert _acquire(catalog, "01NEW", now + 3 * MINUTE).dead_owner == "01DEAD"


def test_a_dead_run_that_wakes_up_learns_that_it_lost_the_lock(catalog: Catalog, now: datetime) -> None:
    _acquire(catalog, "01DEAD", now)
    _acquire(catalog, "01NEW", now + 2 * MINUTE)
    with pytest.raises(LockLostError) as caught:
        catalog.locks.renew("shop", "01DEAD", now + 3 * MINUTE)
    assert "01NEW" in (caught.value.detail or "")
    assert _acquire(catalog, "01C", now + 2 * MINUTE).owner == "01NEW"


def test_a_lock_that_nobody_has_cannot_be_renewed(catalog: Catalog, now: datetime) -> None:
    with pytest.raises(LockLostError):
        catalog.locks.renew("shop", "01A", now)
    assert _acquire(catalog, "01B", now).acquired


def test_a_released_lock_is_free(catalog: Catalog, now: datetime) -> None:
    _acquire(catalog, "01A", now)
    catalog.locks.release("shop", "01A")
    assert _acquire(catalog, "01B", now) == Acquired(True, "01B", since=now, heartbeat=now)


def test_releasing_a_lock_that_is_lost_changes_nothing(catalog: Catalog, now: datetime) -> None:
    catalog.locks.release("shop", "01NOBODY")
    _acquire(catalog, "01DEAD", now)
    _acquire(catalog, "01NEW", now + 2 * MINUTE)
    catalog.locks.release("shop", "01DEAD")
    assert _acquire(catalog, "01C", now + 2 * MINUTE).owner == "01NEW"


# --- races: somebody else acts between our look and our write ---


def _between(catalog: Catalog, monkeypatch: pytest.MonkeyPatch, acts: Iterator[Callable[[], Any]]) -> None:
    """Let others act right after each time the lock is looked at."""
    table = catalog._table
    get = table.get

    def look(partition: str, sort: str) -> Any:
        found = get(partition, sort)
        act = next(acts, None)
        if act:
            act()
        return found

    monkeypatch.setattr(table, "get", look)


def test_of_two_runs_that_take_a_free_lock_one_gets_it(
    catalog: Catalog, now: datetime, monkeypatch: pytest.MonkeyPatch
) -> None:
    other = Catalog(catalog._table.name)
    _between(catalog, monkeypatch, iter([lambda: _acquire(other, "01OTHER", now)]))
    assert _acquire(catalog, "01OURS", now) == Acquired(False, "01OTHER", since=now, heartbeat=now)


def test_of_two_runs_that_take_over_a_dead_ones_lock_one_gets_it(
    catalog: Catalog, now: datetime, monkeypatch: pytest.MonkeyPatch
) -> None:
    other = Catalog(catalog._table.name)
    _acquire(other, "01DEAD", now)
    later = now + 2 * MINUTE
    _between(catalog, monkeypatch, iter([lambda: _acquire(other, "01OTHER", later)]))
    ours = _acquire(catalog, "01OURS", later)
    assert (ours.acquired, ours.owner) == (False, "01OTHER")


def test_a_dead_run_that_wakes_up_during_the_take_over_keeps_its_lock(
    catalog: Catalog, now: datetime, monkeypatch: pytest.MonkeyPatch
) -> None:
    other = Catalog(catalog._table.name)
    _acquire(other, "01SLEEPY", now)
    later = now + 2 * MINUTE
    _between(catalog, monkeypatch, iter([lambda: other.locks.renew("shop", "01SLEEPY", later)]))
    assert _acquire(catalog, "01OURS", later) == Acquired(False, "01SLEEPY", since=now, heartbeat=later)
    other.locks.renew("shop", "01SLEEPY", later + MINUTE)


def test_a_lock_that_is_released_while_it_is_taken_over_is_taken(
    catalog: Catalog, now: datetime, monkeypatch: pytest.MonkeyPatch
) -> None:
    other = Catalog(catalog._table.name)
    _acquire(other, "01DONE", now)
    later = now + 2 * MINUTE
    _between(catalog, monkeypatch, iter([lambda: other.locks.release("shop", "01DONE")]))
    assert _acquire(catalog, "01OURS", later) == Acquired(True, "01OURS", since=later, heartbeat=later)


def test_a_lock_that_changes_without_end_is_given_up(
    catalog: Catalog, now: datetime, monkeypatch: pytest.MonkeyPatch
) -> None:
    other = Catalog(catalog._table.name)
    _acquire(other, "01DEAD", now)
    steps = iter(range(1, 100))

    def flicker() -> None:
        other.locks.renew("shop", "01DEAD", now + timedelta(microseconds=next(steps)))

    _between(catalog, monkeypatch, iter([flicker] * 50))
    with pytest.raises(CatalogError) as caught:
        _acquire(catalog, "01OURS", now + 2 * MINUTE)
    assert caught.value.code == "LOCK_CONTENDED"


STALE_AFTER = timedelta(seconds=45)


def _resume(catalog: Catalog, now: datetime, continuation: int, owner: str = "ours") -> bool:
    return catalog.locks.resume("files", owner, now, continuation=continuation, stale_after=STALE_AFTER)


def _paused(catalog: Catalog, now: datetime) -> None:
    """A run that has paused: nobody may take it for dead within the next quarter of an hour."""
    catalog.locks.acquire("files", "ours", now, stale_after=STALE_AFTER)
    catalog.locks.renew("files", "ours", now + timedelta(minutes=15))


@pytest.mark.parametrize("skew", [timedelta(milliseconds=-5), timedelta(), timedelta(milliseconds=5)])
def test_a_continuation_that_is_delivered_twice_has_one_owner_whatever_the_clocks(
    catalog: Catalog, now: datetime, skew: timedelta
) -> None:
    _paused(catalog, now)

    assert [_resume(catalog, now, 1), _resume(catalog, now + skew, 1)] == [True, False]


@pytest.mark.parametrize("late", [timedelta(seconds=1), timedelta(minutes=14, seconds=30), timedelta(hours=2)])
def test_a_continuation_goes_on_whenever_it_comes(catalog: Catalog, now: datetime, late: timedelta) -> None:
    _paused(catalog, now)

    assert [_resume(catalog, now + late, 1), _resume(catalog, now + late, 1)] == [True, False]


def test_a_continuation_that_died_is_repeated_and_a_living_one_is_not(catalog: Catalog, now: datetime) -> None:
    _paused(catalog, now)
    assert _resume(catalog, now, 1)
    catalog.locks.renew("files", "ours", now + STALE_AFTER)

    assert not _resume(catalog, now + 2 * STALE_AFTER, 1)
    assert _resume(catalog, now + 2 * STALE_AFTER + timedelta(microseconds=1), 1)


def test_each_continuation_is_had_once_and_an_earlier_one_never_again(catalog: Catalog, now: datetime) -> None:
    _paused(catalog, now)
    assert _resume(catalog, now, 1)
    catalog.locks.renew("files", "ours", now + timedelta(minutes=15))

    assert [_resume(catalog, now, number) for number in (1, 2, 2, 1)] == [False, True, False, False]


def test_of_two_that_resume_at_once_one_does(catalog: Catalog, now: datetime, monkeypatch: pytest.MonkeyPatch) -> None:
    _paused(catalog, now)
    other = Catalog(catalog._table.name)
    answers: list[bool] = []
    _between(catalog, monkeypatch, iter([lambda: answers.append(_resume(other, now - timedelta(milliseconds=5), 1))]))

    answers.append(_resume(catalog, now, 1))

    assert answers == [True, False]


def test_a_lock_that_is_anothers_is_not_resumed(catalog: Catalog, now: datetime) -> None:
    catalog.locks.acquire("files", "other", now, stale_after=STALE_AFTER)

    for target in ("files", "nobodys"):
        with pytest.raises(LockLostError):
            catalog.locks.resume(target, "ours", now, continuation=1, stale_after=STALE_AFTER)
