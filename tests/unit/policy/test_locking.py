"""Until when objects are locked: long enough for every backup that needs them, and never for ever."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from coffre.model.backup import Backup, Status, Tier
from coffre.model.errors import ConfigurationError
from coffre.model.retention import Retention
from coffre.policy.locking import (
    FIRST,
    ROLLING,
    extension_of,
    first_lock_until,
    least_until,
    lock_until,
    refuse_longer_than,
)

NOW = datetime(2026, 11, 28, 2, 0, tzinfo=UTC)
DEFAULT = Retention()
DAY = timedelta(days=1)


def backup(*tiers: Tier, age: timedelta = timedelta(), **fields: Any) -> Backup:
    return Backup(id="01", target="shop", tiers=tiers, status=Status.COMPLETED, created_at=NOW - age, **fields)


def day(month: int, number: int, year: int = 2026) -> datetime:
    return datetime(year, month, number, tzinfo=UTC)


@pytest.mark.parametrize(
    ("tiers", "end"),
    [
        ((Tier.DAILY,), day(12, 6)),
        ((Tier.DAILY, Tier.WEEKLY), day(12, 27)),
        ((Tier.DAILY, Tier.MONTHLY, Tier.WEEKLY), day(11, 29, 2027)),
    ],
)
def test_a_lock_lasts_as_long_as_the_longest_tier_to_the_next_midnight(tiers: tuple[Tier, ...], end: datetime) -> None:
    assert lock_until(backup(*tiers), DEFAULT, NOW) == end


def test_a_backup_by_hand_is_locked_as_long_as_was_asked_for() -> None:
    asked = backup(Tier.MANUAL, expires_at=NOW + 90 * DAY)
    assert lock_until(asked, DEFAULT, NOW) == day(2, 27, 2027)


@pytest.mark.parametrize(
    ("endless", "retention"),
    [
        (backup(Tier.MANUAL), DEFAULT),
        (backup(Tier.DAILY, pinned_at=NOW), DEFAULT),
        (backup(Tier.WEEKLY), Retention(weekly_days=None, weekly_count=10)),
        (backup(Tier.DAILY, age=400 * DAY), None),
    ],
    ids=["by hand", "pinned", "by number", "not configured"],
)
def test_where_no_end_is_known_a_lock_is_bounded_and_extended_in_time(
    endless: Backup, retention: Retention | None
) -> None:
    first = lock_until(endless, retention, NOW)
    assert first == day(12, 29)
    locked = endless.model_copy(update={"locked_until": first})

    assert extension_of(locked, retention, NOW + 15 * DAY) is None
    later = extension_of(locked, retention, NOW + 17 * DAY)
    assert later == first + 17 * DAY
    assert least_until(locked, retention, NOW + 16 * DAY) == NOW + 23 * DAY < first


def test_a_backup_whose_tiers_have_ended_is_extended_only_if_rotation_holds_it_back() -> None:
    old = backup(Tier.DAILY, age=20 * DAY, locked_until=NOW - 12 * DAY)

    assert extension_of(old, DEFAULT, NOW) is None
    assert least_until(old, DEFAULT, NOW) is None
    assert extension_of(old, DEFAULT, NOW, held_back=True) == day(12, 29)


def test_a_tier_that_joins_and_a_longer_retention_ask_for_an_extension() -> None:
    daily = backup(Tier.DAILY, locked_until=day(12, 6))

    assert extension_of(daily, DEFAULT, NOW) is None
    assert extension_of(daily.model_copy(update={"tiers": (Tier.DAILY, Tier.WEEKLY)}), DEFAULT, NOW) == day(12, 27)
    assert extension_of(daily, Retention(daily_days=14), NOW) == day(12, 13)
    assert extension_of(backup(Tier.DAILY), DEFAULT, NOW) == day(12, 6)  # from before Object Lock


def test_what_a_run_stores_is_locked_for_a_week_at_first() -> None:
    assert first_lock_until(backup(Tier.MONTHLY), DEFAULT, NOW) == day(12, 6)
    assert first_lock_until(backup(Tier.DAILY), Retention(daily_days=1), NOW) == day(11, 30)


def test_a_retention_that_the_stack_cannot_lock_is_refused_with_the_field_and_the_parameter() -> None:
    refuse_longer_than(400, DEFAULT, "shop")
    with pytest.raises(ConfigurationError, match=r"shop.*730 days.*monthly_days.*400") as refused:
        refuse_longer_than(400, Retention(monthly_days=730), "shop")
    assert refused.value.code == "LOCK_LIMIT"
    assert "ObjectLockMaxDays=732" in (refused.value.hint or "")


MOMENTS = st.integers(0, 4 * 365 * 24 * 60).map(lambda minutes: day(1, 1) + timedelta(minutes=minutes))
RETENTIONS = st.builds(Retention, daily_days=st.integers(1, 40), weekly_days=st.integers(1, 90))
TIERS = st.sets(st.sampled_from(list(Tier)), min_size=1).map(lambda found: tuple(sorted(found)))


@given(MOMENTS, st.timedeltas(timedelta(), timedelta(days=400)), TIERS, RETENTIONS, st.booleans(), st.booleans())
def test_every_lock_is_bounded_and_as_long_as_any_need(
    now: datetime, age: timedelta, tiers: tuple[Tier, ...], retention: Retention, pinned: bool, held_back: bool
) -> None:
    made = Backup(
        id="01",
        target="shop",
        tiers=tiers,
        status=Status.COMPLETED,
        created_at=now - age,
        pinned_at=now if pinned else None,
    )
    end = lock_until(made, retention, now, held_back=held_back)

    assert end.hour == end.minute == end.second == end.microsecond == 0
    assert end <= max(now, made.created_at) + max(ROLLING, 365 * DAY) + DAY
    least = least_until(made, retention, now)
    assert least is None or end >= least
    assert first_lock_until(made, retention, now) <= min(end, now + FIRST + DAY)
    locked = made.model_copy(update={"locked_until": end})
    assert extension_of(locked, retention, now, held_back=held_back) is None
