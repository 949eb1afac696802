"""When journals are drained, and when they are late."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from itertools import pairwise

from coffre.model.database_target import DatabaseTarget
from coffre.model.journal import JournalState
from coffre.model.journal_options import JournalOptions
from coffre.policy.journal_health import (
    Guarding,
    asks_for_base,
    has_journal,
    is_due,
    late_since,
    silence,
    silent_after,
    slot_danger,
)

NOON = datetime(2026, 11, 27, 12, tzinfo=UTC)
MINUTE = timedelta(minutes=1)
DAY = timedelta(days=1)
FIVE = JournalOptions()


def state(**fields: object) -> JournalState:
    return JournalState.model_validate({"target": "shop", **fields})


def test_a_journal_is_drained_every_few_minutes_and_begins_with_the_next_tick() -> None:
    known = state()
    ticks = [NOON + number * MINUTE for number in range(60)]

    assert [tick.minute for tick in ticks if is_due(FIVE, known, tick)] == list(range(0, 60, 5))
    assert all(is_due(FIVE, None, tick) for tick in ticks)
    daily = JournalOptions(every_minutes=1440)
    hours = [NOON + number * 60 * MINUTE for number in range(24)]
    assert [hour for hour in hours if is_due(daily, known, hour)] == [NOON + timedelta(hours=12)]


def test_a_journal_is_late_when_three_drains_in_a_row_stored_nothing() -> None:
    allowed = 25 * MINUTE
    for known in (state(seen_at=NOON), state(drained_at=NOON), state(failed_at=NOON), None):
        assert late_since(FIVE, known, NOON + allowed, NOON) is None
        assert late_since(FIVE, known, NOON + allowed + MINUTE, NOON) == NOON

    for hours in (-9, 9):  # the server's clock is another one
        skewed = state(seen_at=NOON + timedelta(hours=hours), complete_at=NOON)
        assert late_since(FIVE, skewed, NOON + 25 * MINUTE, NOON) is None
        assert late_since(FIVE, skewed, NOON + 26 * MINUTE, NOON) == skewed.seen_at
    assert late_since(FIVE, None, NOON, None) is not None, "it never began, and was configured long ago"
    assert late_since(FIVE, state(seen_at=NOON, failed_at=NOON + 30 * MINUTE), NOON + 30 * MINUTE, None) == NOON


def test_a_slot_that_keeps_too_much_or_is_nearly_lost_or_forgotten_is_dropped() -> None:
    limits = Guarding(maximum_lag_bytes=100 << 20, reserve_bytes=64 << 20)

    assert slot_danger(100 << 20, None, limits) is None
    assert "kept 101 MiB of WAL" in (slot_danger(101 << 20, None, limits) or "")
    assert slot_danger(0, 64 << 20, limits) is None
    assert "within 63 MiB" in (slot_danger(0, (64 << 20) - 1, limits) or "")
    assert "within 0 MiB" in (slot_danger(0, -1, limits) or "")
    day = timedelta(hours=24)
    assert silence(state(drained_at=NOON), limits, NOON + day) is None
    assert "more than 24 hours" in (silence(state(drained_at=NOON), limits, NOON + day + MINUTE) or "")
    assert silence(state(), limits, NOON + 9 * day) is None, "nothing was ever wanted of it"


def test_a_slot_outlives_the_drains_that_are_due_and_a_base_that_never_comes_is_asked_for_less_and_less() -> None:
    assert silent_after(FIVE) == timedelta(hours=24)
    assert silent_after(JournalOptions(every_minutes=1440)) == timedelta(hours=72)

    assert not asks_for_base(state(), NOON)
    asked, now = list[datetime](), NOON
    while now < NOON + timedelta(days=8):
        last = asked[-1] if asked else None
        if asks_for_base(state(base_wanted_at=NOON, base_asked_at=last, bases_asked=tuple(asked)), now):
            asked.append(now)
        now += 5 * MINUTE
    gaps = [int((after - before) / MINUTE) for before, after in pairwise(asked)]
    assert gaps[:8] == [15, 15, 30, 60, 120, 240, 480, 960]
    assert set(gaps[8:]) == {1440}
    newer = state(base_wanted_at=NOON, base_asked_at=NOON - 10 * MINUTE)
    assert not asks_for_base(newer, NOON)
    assert asks_for_base(newer, NOON + 5 * MINUTE)


def test_intervals_that_end_as_soon_as_they_have_a_base_do_not_ask_for_a_hundred_a_day() -> None:
    asked, now = list[datetime](), NOON
    while now < NOON + 8 * DAY:
        if asks_for_base(state(base_wanted_at=now, bases_asked=tuple(asked)), now):
            asked.append(now)
        now += 5 * MINUTE

    days = [sum(NOON + day * DAY <= one < NOON + (day + 1) * DAY for one in asked) for day in range(8)]
    assert max(days) <= 24
    assert min(days) >= 10
    gaps = [int((after - before) / MINUTE) for before, after in pairwise(asked)]
    assert gaps[:12] == [5, 5, 5, 15, 15, 15, 15, 30, 30, 30, 30, 60]
    assert max(gaps) <= 480
    later = now + DAY
    assert asks_for_base(state(base_wanted_at=later, bases_asked=tuple(asked)), later), "a day without: no wait"


def test_servers_have_no_journal_and_databases_do() -> None:
    target = DatabaseTarget.model_validate({"name": "shop", "secret": "s", "journal": {}})

    assert has_journal(target)
    assert not has_journal(target.model_copy(update={"journal": None}))
    assert not has_journal(
        DatabaseTarget.model_validate({"name": "all", "secret": "s", "journal": {}, "databases": {}})
    )
