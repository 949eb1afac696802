"""What is not as usual, and what only looks so: means, floors, partitions that come and go, rates, quotas, keys."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from coffre.model.backup import Backup, Status, Tier
from coffre.model.kinds import TargetKind
from coffre.policy.anomaly import (
    COMPARED,
    Measures,
    Rate,
    deviations,
    grouped,
    is_near_quota,
    keys_due,
    longest,
    success_rates,
)

NOW = datetime(2026, 11, 22, 5, 0, tzinfo=UTC)
GB = 1_000_000_000
MANY = st.lists(st.integers(min_value=0, max_value=10**12), min_size=3, max_size=COMPARED)


def measured(
    plaintext: int = GB, needed: int = GB // 3, counts: Mapping[str, int] | None = None, scope: str = "full"
) -> Measures:
    return Measures(plaintext, needed, counts or {}, scope)


def found(now: Measures, before: list[Measures], percent: int = 50) -> list[tuple[str, bool]]:
    return [(one.what, one.grew) for one in deviations(now, before, percent)]


# --- sizes ---


@pytest.mark.parametrize(
    ("plaintext", "expected"),
    [
        (GB, []),
        (GB * 3 // 2, []),
        (GB * 3 // 2 + 1, [("plaintext", True)]),
        (GB // 2, []),
        (GB // 2 - 1, [("plaintext", False)]),
        (0, [("plaintext", False)]),
    ],
)
def test_more_than_half_off_the_mean_is_told_in_both_directions(
    plaintext: int, expected: list[tuple[str, bool]]
) -> None:
    assert found(measured(plaintext), [measured()] * 10) == expected


def test_data_that_somebody_encrypted_needs_more_room_in_the_vault_though_it_did_not_grow() -> None:
    assert found(measured(needed=GB), [measured()] * 5) == [("in the vault", True)]


@pytest.mark.parametrize("count", [0, 1, 2])
@given(st.integers(min_value=0, max_value=10**15), st.integers(min_value=0, max_value=10**9))
def test_the_first_ones_never_alert(count: int, plaintext: int, rows: int) -> None:
    before = [measured(counts={"orders": 1_000_000})] * count

    assert found(measured(plaintext, plaintext, {"orders": rows}), before) == []


@given(MANY, st.integers(min_value=1, max_value=1000))
def test_what_is_as_it_was_never_alerts(history: list[int], percent: int) -> None:
    usual = max(set(history), key=history.count)

    assert found(measured(usual, usual), [measured(usual, usual)] * len(history), percent) == []


@given(MANY, st.integers(min_value=0, max_value=10**12))
def test_the_order_of_the_backups_before_does_not_matter(history: list[int], value: int) -> None:
    now, before = measured(value, value, {"t": value + 1}), [measured(one, one, {"t": one}) for one in history]

    assert deviations(now, before, 50) == deviations(now, before[::-1], 50)


@given(MANY, st.integers(min_value=0, max_value=10**12), st.integers(min_value=1, max_value=500))
def test_a_wider_limit_never_tells_more(history: list[int], value: int, percent: int) -> None:
    now, before = measured(value, value), [measured(one, one) for one in history]

    assert set(found(now, before, percent + 1)) <= set(found(now, before, percent))


@given(MANY, st.integers(min_value=0, max_value=10**12))
def test_every_deviation_is_as_far_off_as_it_says(history: list[int], value: int) -> None:
    now, before = measured(value, value, {"t": value}), [measured(one, one, {"t": one}) for one in history]

    for one in deviations(now, before, 50):
        emptied = one.unit == "count" and one.value == 0
        assert abs(one.value - one.mean) > one.mean / 2
        assert emptied or abs(one.value - one.mean) >= (1_000_000 if one.unit == "bytes" else 1_000)


@given(st.integers(min_value=0, max_value=999_999), st.lists(st.integers(0, 999_999), min_size=3, max_size=10))
def test_a_database_below_a_megabyte_is_all_noise_as_a_whole(value: int, history: list[int]) -> None:
    assert found(measured(value, value), [measured(one, one) for one in history]) == []


def test_only_the_last_ten_count() -> None:
    before = [measured()] * COMPARED + [measured(100 * GB)] * 50

    assert found(measured(), before) == []


def test_another_choice_of_contents_is_not_comparable() -> None:
    assert found(measured(1, 1, scope="schema"), [measured()] * 10) == []
    assert found(measured(1, 1, scope="schema"), [*[measured(1, 1, scope="schema")] * 2, *[measured()] * 10]) == []


# --- rows and objects ---


@pytest.mark.parametrize(
    ("usual", "now", "told"),
    [
        (10_000, 4_000, True),
        (10_000, 16_000, True),
        (10_000, 6_000, False),
        (100, 900, False),
        (1_500, 600, False),
        (20, 0, True),
        (19, 0, False),
        (0, 900, False),
        (0, 5_000, True),
    ],
)
def test_rows_of_a_table_are_compared_above_a_floor_and_told_at_any_size_when_all_are_gone(
    usual: int, now: int, told: bool
) -> None:
    before = [measured(counts={"public.orders": usual})] * 4

    assert found(measured(counts={"public.orders": now}), before) == ([("public.orders", now > usual)] if told else [])


def test_a_table_that_was_dropped_is_told() -> None:
    before = [measured(counts={"public.orders": 500, "public.users": 500})] * 4

    assert found(measured(counts={"public.users": 500}), before) == [("public.orders", False)]


def test_a_queue_that_is_sometimes_empty_is_not_told() -> None:
    before = [measured(counts={"public.jobs": rows}) for rows in (500, 0, 700, 300)]

    assert found(measured(counts={"public.jobs": 0}), before) == []


def test_a_table_that_stays_empty_is_told_until_that_is_usual() -> None:
    history = [measured(counts={"public.users": 500})] * COMPARED
    told = []
    for _ in range(COMPARED):
        empty = measured(counts={"public.users": 0})
        told.append(bool(found(empty, history)))
        history = [empty, *history]

    assert told == [True] * 8 + [False] * 2


def test_a_new_table_is_not_told_before_it_is_known() -> None:
    before = [measured(counts={"a": 5})] * 8
    young = [measured(counts={"a": 5, "new": 10_000})] * 2

    assert found(measured(counts={"a": 5, "new": 90_000}), [*young, *before]) == []


def test_partitions_by_date_come_and_go_without_a_word() -> None:
    def partitions(first: int) -> Measures:
        return measured(counts={f"public.events_2026_11_{day:02}": 50_000 for day in range(first, first + 7)})

    assert found(partitions(8), [partitions(day) for day in range(7, 0, -1)]) == []
    assert found(measured(counts={"public.events_2026_11_08": 50_000}), [partitions(1)] * 3) == [
        ("public.events_#_#_#", False)
    ]


def test_names_that_differ_in_numbers_only_are_counted_together() -> None:
    assert grouped({"t1": 1, "t22": 2, "u": 4}) == {"t#": 3, "u": 4}


# --- durations, quota, keys ---


def test_a_database_may_take_half_an_hour_and_a_bucket_two_hours_unless_said_otherwise() -> None:
    assert longest(TargetKind.DATABASE, None) == timedelta(minutes=30)
    assert longest(TargetKind.BUCKET, None) == timedelta(hours=2)
    assert longest(TargetKind.BUCKET, 5) == timedelta(minutes=5)


@pytest.mark.parametrize(("used", "near"), [(799, False), (800, True), (2000, True), (0, False)])
def test_a_vault_is_near_its_quota_from_80_percent_on(used: int, near: bool) -> None:
    assert is_near_quota(used, 1000) is near


def test_keys_are_due_from_the_day_they_are_that_old() -> None:
    used = {"old": NOW - timedelta(days=90), "young": NOW - timedelta(days=89)}

    assert keys_due(used, 90, NOW) == {"old": used["old"]}


# --- success rates ---


def run(status: Status, **fields: Any) -> Backup:
    created_at = fields.pop("created_at", NOW - timedelta(days=1))
    made = Backup(
        id=fields.pop("id", f"01K9X{len(RUNS):021}"),
        target=fields.pop("target", "shop"),
        tiers=(Tier.DAILY,),
        status=status,
        created_at=created_at,
        **fields,
    )
    RUNS.append(made)
    return made


RUNS: list[Backup] = []


def test_a_scheduled_time_whose_second_attempt_succeeded_is_good() -> None:
    runs = [run(Status.FAILED, slot="a"), run(Status.COMPLETED, slot="a"), run(Status.COMPLETED, slot="b")]

    assert success_rates(runs, NOW) == success_rates(runs[::-1], NOW) == {"shop": Rate(2, 0)}


def test_what_was_deleted_since_was_good_and_what_goes_on_does_not_count() -> None:
    runs = [run(Status.DELETED), run(Status.IN_PROGRESS), run(Status.FAILED)]
    old = run(Status.FAILED, created_at=NOW - timedelta(days=31))

    assert success_rates([*runs, old], NOW) == {"shop": Rate(1, 1)}
    assert success_rates([], NOW) == {}


@pytest.mark.parametrize(
    ("good", "failed", "low"), [(29, 1, False), (28, 2, True), (198, 2, False), (197, 2, True), (0, 0, False)]
)
def test_a_rate_below_99_percent_takes_more_than_one_failure(good: int, failed: int, low: bool) -> None:
    assert Rate(good, failed).is_low(99) is low


@given(st.lists(st.sampled_from([Status.COMPLETED, Status.FAILED, Status.DELETED]), max_size=50))
def test_every_run_by_hand_counts_once(statuses: list[Status]) -> None:
    runs = [run(status, id=f"01K9Y{number:021}") for number, status in enumerate(statuses)]
    rate = success_rates(runs, NOW).get("shop", Rate())

    assert rate.good + rate.failed == len(runs)
    assert rate.failed == statuses.count(Status.FAILED)
    assert 0 <= rate.percent <= 100
