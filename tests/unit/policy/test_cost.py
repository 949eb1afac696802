"""What backups cost: parts add up to the whole, more never costs less, and what is estimated says so."""

from __future__ import annotations

import re
from datetime import UTC, datetime, timedelta
from decimal import Decimal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from coffre.model.backup import Backup, Status, Tier
from coffre.model.usage import Counts, Job, Usage
from coffre.model.vault_use import VaultUse
from coffre.policy.cost import (
    Cost,
    MonthCost,
    cost_of,
    dollars,
    estimated_usage,
    month_cost,
    spent,
    total_of,
)
from coffre.policy.cost_changes import changes
from coffre.policy.prices import GB, prices_of

MONTH = datetime(2026, 11, 1, tzinfo=UTC)
NOW = datetime(2026, 11, 16, tzinfo=UTC)  # half of it
PRICES = prices_of("eu-central-1")
AMOUNTS = st.integers(0, 10**15)
COUNTS = st.builds(Counts, **dict.fromkeys(Counts.model_fields, AMOUNTS))
TARGETS = st.sampled_from(["shop", "photos", None])


def usage(counts: Counts = Counts(), *, number: int = 0, target: str | None = "shop", job: Job = Job.BACKUP) -> Usage:  # noqa: B008 - frozen
    at = MONTH + timedelta(minutes=number)
    return Usage(**counts.model_dump(), id=f"{number:026}", job=job, target=target, at=at)


def backup(number: int, stored: int, target: str = "shop", **fields: object) -> Backup:
    made = {
        "id": f"{number:026}",
        "target": target,
        "tiers": (Tier.DAILY,),
        "status": Status.COMPLETED,
        "created_at": MONTH + timedelta(minutes=number),
        "plaintext_bytes": 4 * stored,
        "stored_bytes": stored,
        **fields,
    }
    return Backup.model_validate(made)


def month(usages: list[Usage], backups: list[Backup], vault: VaultUse | None = None, now: datetime = NOW) -> MonthCost:
    return month_cost(usages, backups, vault, PRICES, MONTH, now)


def vault_of(size: int) -> VaultUse:
    return VaultUse(measured_at=NOW, packs=1, size_bytes=size, used_bytes=size, needed_bytes=size, plaintext_bytes=size)


USAGES = st.lists(st.tuples(COUNTS, TARGETS, st.sampled_from(Job)), max_size=5).map(
    lambda made: [usage(counts, number=at, target=target, job=job) for at, (counts, target, job) in enumerate(made)]
)
BACKUPS = st.lists(st.tuples(AMOUNTS, st.sampled_from(["shop", "photos"])), max_size=5).map(
    lambda made: [backup(100 + at, stored, target) for at, (stored, target) in enumerate(made)]
)


# --- one run ---


def test_a_run_costs_what_the_price_list_says() -> None:
    used = usage(
        Counts(
            invocations=1,
            function_mb_ms=1_024 * 1_000 * 1_000_000,  # a million GB-seconds
            vault_writes=1_000,
            source_reads=1_000,
            outside_bytes=GB,
            kms_requests=10_000,
            transitions=2_000,
        )
    )

    cost = cost_of(used, PRICES)

    assert cost.function == Decimal("16.6667") + Decimal("0.0000002")
    assert cost.requests == Decimal("0.0054") + Decimal("0.00043")
    assert (cost.transfer, cost.kms, cost.storage) == (Decimal("0.09"), Decimal("0.03"), Decimal(0))
    assert cost.machine == Decimal("0.05")
    assert Decimal(0) < cost.catalog < Decimal("0.0001")


def test_a_function_on_arm_costs_less() -> None:
    used = usage(Counts(invocations=1, function_mb_ms=10**9))

    assert cost_of(used.model_copy(update={"is_arm": True}), PRICES).function < cost_of(used, PRICES).function


@given(COUNTS, COUNTS)
def test_two_invocations_cost_as_much_as_one_that_did_the_work_of_both(one: Counts, other: Counts) -> None:
    apart = cost_of(usage(one), PRICES).plus(cost_of(usage(other), PRICES))

    assert _near(cost_of(usage(one.plus(other)), PRICES).total, apart.total)


@given(COUNTS, COUNTS)
def test_more_never_costs_less(some: Counts, more: Counts) -> None:
    before, after = cost_of(usage(some), PRICES), cost_of(usage(some.plus(more)), PRICES)

    for kind, amount in vars(before).items():
        assert amount >= 0
        assert getattr(after, kind) >= amount


def test_a_spread_backup_without_counts_is_taken_for_all_of_its_functions() -> None:
    one = estimated_usage(backup(1, 1_000, duration_ms=60_000))
    spread = estimated_usage(backup(1, 1_000, duration_ms=60_000, spread="It is large.", workers=4))

    assert (one.invocations, spread.invocations) == (1, 6)  # two hold the snapshot
    assert spread.function_mb_ms == 6 * one.function_mb_ms


# --- a month ---


@given(USAGES, BACKUPS, st.none() | AMOUNTS)
def test_targets_add_up_to_the_month_and_kinds_to_the_total(
    usages: list[Usage], backups: list[Backup], size: int | None
) -> None:
    found = month(usages, backups, None if size is None else vault_of(size))

    assert _near(found.cost.total, total_of(one.cost for one in found.targets).total)
    assert _near(found.cost.total, sum((one.cost.total for one in found.targets), Decimal(0)))
    runs = total_of(cost_of(used, PRICES) for used in usages)
    assert _near(found.cost.total - found.cost.storage, runs.total)
    assert sum(one.runs for one in found.targets) == len(usages)


@given(USAGES, AMOUNTS)
def test_what_is_spent_is_the_cost_of_the_month(usages: list[Usage], size: int) -> None:
    """`coffre status` counts without the records of backups what `coffre cost` counts with them."""
    found = month(usages, [backup(1, max(size, 1), duration_ms=None)], vault_of(size))

    quick = spent(usages, vault_of(size), PRICES, NOW)

    assert _near(quick.until_now, found.cost.total)
    assert _near(quick.whole_month, found.whole_month)


@given(BACKUPS, AMOUNTS)
def test_the_bytes_of_the_vault_are_divided_without_loss(backups: list[Backup], size: int) -> None:
    stored = [one.stored_bytes for one in month([], backups, vault_of(size)).targets]

    if any(one.stored_bytes for one in backups):
        assert sum(stored) == size
        assert min(stored) >= 0


@given(USAGES, BACKUPS, COUNTS)
def test_one_more_run_never_makes_a_month_cheaper(usages: list[Usage], backups: list[Backup], more: Counts) -> None:
    before = month(usages, backups)
    after = month([*usages, usage(more, number=99)], backups)

    assert after.cost.total >= before.cost.total
    assert after.whole_month >= before.whole_month


@given(USAGES, BACKUPS)
def test_a_month_that_passes_never_becomes_cheaper(usages: list[Usage], backups: list[Backup]) -> None:
    costs = [month(usages, backups, now=MONTH + timedelta(days=day)).cost.total for day in (1, 15, 30, 60)]

    assert costs == sorted(costs)
    assert costs[-1] == costs[-2]


def test_storage_counts_until_now_and_the_whole_month_is_foreseen() -> None:
    found = month([], [backup(1, 10 * GB)])

    assert found.elapsed == Decimal("0.5")
    assert found.cost.storage == 5 * PRICES.gb_month
    assert found.whole_month == 10 * PRICES.gb_month
    assert found.per_protected_gb == PRICES.gb_month / 4


def test_nothing_costs_nothing() -> None:
    found = month([], [])

    assert found.cost == Cost()
    assert not found.targets
    assert found.whole_month == 0
    assert found.per_protected_gb is None


def test_a_month_that_has_not_begun_costs_nothing() -> None:
    found = month([], [backup(1, GB)], now=MONTH)

    assert found.elapsed == found.whole_month == found.cost.total == 0


def test_a_backup_without_counts_is_estimated_and_one_with_counts_is_not() -> None:
    old = backup(1, 100 * 2**20, duration_ms=60_000)
    counted = backup(2, 100 * 2**20, duration_ms=60_000)

    found = month([usage(Counts(invocations=1), number=2)], [old, counted])

    assert (found.targets[0].runs, found.targets[0].backups, found.estimated) == (2, 2, 1)
    guessed = estimated_usage(old)
    assert guessed.estimated
    assert guessed.function_mb_ms == 60_000 * 3_008
    assert guessed.vault_writes == 7 + 4


def test_a_deleted_backup_costs_its_run_and_no_storage() -> None:
    found = month([], [backup(1, GB, status=Status.DELETED, duration_ms=1_000)])

    assert found.cost.storage == 0
    assert found.cost.function > 0


@pytest.mark.parametrize(("at", "ends"), [(datetime(2026, 12, 31, 23, tzinfo=UTC), datetime(2027, 1, 1, tzinfo=UTC))])
def test_december_ends_with_the_year(at: datetime, ends: datetime) -> None:
    assert month_cost([], [], None, PRICES, at, at).ends == ends


# --- changes ---


@given(USAGES, BACKUPS)
def test_backups_more_often_and_kept_longer_never_cost_less(usages: list[Usage], backups: list[Backup]) -> None:
    found = {change.name: change.month for change in changes(month(usages, backups), PRICES)}

    often = [
        found[name]
        for name in ("backups weekly", "backups daily", "backups every 6 hours", "backups hourly")
        if name in found
    ]
    assert often == sorted(often)
    assert found["retention half as long"] <= found["retention twice as long"]
    assert found["another copy in another region"] >= month(usages, backups).whole_month


def test_changes_are_differences_from_the_month() -> None:
    now = month([usage(Counts(invocations=1, function_mb_ms=10**9), number=1)], [backup(1, GB), backup(2, GB // 2)])

    for change in changes(now, PRICES):
        assert _near(change.month - change.difference, now.whole_month)
    by_name = {change.name: change.difference for change in changes(now, PRICES)}
    assert by_name["retention twice as long"] == PRICES.gb_month / 2
    assert by_name["retention half as long"] == -PRICES.gb_month / 4


def test_a_month_without_backups_has_no_changes_of_frequency() -> None:
    assert all("backups" not in change.name for change in changes(month([], []), PRICES))


# --- prices and words ---


@pytest.mark.parametrize("region", ["us-east-1", "eu-west-1", "eu-central-1", "sa-east-1", None])
def test_every_region_has_prices_and_an_unknown_one_has_none_below_those_of_the_others(region: str | None) -> None:
    found, cheapest = prices_of(region), prices_of("us-east-1")

    assert found.is_exact == (region in {"us-east-1", "eu-west-1", "eu-central-1"})
    assert found.gb_month >= cheapest.gb_month
    assert found.write >= cheapest.write
    assert found.x86_gb_second > found.arm_gb_second


def test_groups_without_a_source_are_named() -> None:
    assert prices_of("us-east-1").unsourced == ("copy",)
    assert "function" in prices_of("eu-west-1").unsourced


@pytest.mark.parametrize(
    ("amount", "words"),
    [
        ("0", "$0.00"),
        ("0.5", "$0.50"),
        ("1234.567", "$1,234.57"),
        ("0.0123", "$0.012"),
        ("0.00098", "$0.00098"),
        ("0.0000001", "$0.00"),
        ("-0.25", "-$0.25"),
        ("0.999", "$1.00"),
    ],
)
def test_amounts_are_rounded_when_they_are_shown(amount: str, words: str) -> None:
    assert dollars(Decimal(amount)) == words


@given(st.decimals(min_value=0, max_value=10**9, allow_nan=False, allow_infinity=False, places=9))
def test_a_shown_amount_is_near_the_amount(amount: Decimal) -> None:
    shown = Decimal(re.sub(r"[$,]", "", dollars(amount)))

    assert abs(shown - amount) <= max(Decimal("0.005"), amount / 10)


def _near(one: Decimal, other: Decimal) -> bool:
    """Whether two sums differ by no more than the rounding of Decimals with 28 digits."""
    return abs(one - other) <= max(one, other, Decimal(1)) / 10**20
