"""Retention: what stays, what goes, why; and what must never happen, for any history."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given
from hypothesis import strategies as st
from ulid import ULID

from coffre.model.backup import Backup, Status, Tier
from coffre.model.retention import Retention
from coffre.model.rotation import Action, Decision
from coffre.policy.retention import decide

NOW = datetime(2026, 11, 22, 5, 0, tzinfo=UTC)
DAILY, WEEKLY, MONTHLY, MANUAL, SAFETY = Tier.DAILY, Tier.WEEKLY, Tier.MONTHLY, Tier.MANUAL, Tier.SAFETY


def copy(age_days: float, *tiers: Tier, now: datetime = NOW, verified: bool = True, **fields: Any) -> Backup:
    created_at = now - timedelta(days=age_days)
    return Backup(
        id=fields.pop("id", str(ULID.from_datetime(created_at))),
        target="shop",
        tiers=tiers or (DAILY,),
        status=fields.pop("status", Status.COMPLETED),
        created_at=created_at,
        completed_at=created_at,
        verified_at=created_at if verified else None,
        stored_bytes=fields.pop("stored_bytes", 100),
        **fields,
    )


def days_of_dailies(count: int, *, first: float = 0.1, verified: bool = True) -> list[Backup]:
    return [copy(first + age, verified=verified) for age in range(count)]


def gone(decisions: tuple[Decision, ...]) -> set[str]:
    return {decision.backup_id for decision in decisions if decision.action is Action.DELETE}


def decision_on(backup: Backup, others: list[Backup], retention: Retention | None = None) -> Decision:
    decisions = decide([*others, backup], retention or Retention(), NOW)
    return next(decision for decision in decisions if decision.backup_id == backup.id)


# --- what each tier promises ---


@pytest.mark.parametrize(
    ("tiers", "last_day"),
    [
        ((DAILY,), 7),
        ((WEEKLY,), 28),
        ((MONTHLY,), 365),
        ((SAFETY,), 7),
        ((DAILY, WEEKLY), 28),
        ((WEEKLY, MONTHLY, DAILY), 365),
    ],
)
def test_a_backup_lives_as_long_as_its_longest_tier(tiers: tuple[Tier, ...], last_day: int) -> None:
    kept = decision_on(copy(last_day, *tiers), days_of_dailies(3))
    over = decision_on(copy(last_day + 0.001, *tiers), days_of_dailies(3))

    assert (kept.action, over.action) == (Action.KEEP, Action.DELETE)


@pytest.mark.parametrize("backup", [copy(4000, MANUAL), copy(4000, DAILY, MANUAL), copy(4000, pinned_at=NOW)])
def test_what_a_person_took_or_pinned_never_goes(backup: Backup) -> None:
    assert decision_on(backup, days_of_dailies(3)).action is Action.KEEP
    assert decision_on(backup, days_of_dailies(3), Retention(maximum_bytes=1)).action is Action.KEEP


def test_every_reason_says_what_decided_it() -> None:
    history = days_of_dailies(3)

    assert decision_on(copy(5), history).reason == "daily, kept for 7 days: until 2026-11-24 05:00 UTC"
    assert decision_on(copy(8), history).reason == (
        f"daily, 7 days were over on 2026-11-21 05:00 UTC; {history[0].id} is newer and verified"
    )
    assert decision_on(copy(8, pinned_at=NOW), history).reason == "pinned since 2026-11-22 05:00 UTC"
    assert decision_on(copy(99, MANUAL), history).reason == "taken by hand: kept until it is deleted by hand"


def kept_for(days: float, age_days: float, *tiers: Tier, **fields: Any) -> Backup:
    taken = copy(age_days, *(tiers or (MANUAL,)), **fields)
    return taken.model_copy(update={"expires_at": taken.created_at + timedelta(days=days)})


def test_a_backup_by_hand_goes_when_the_time_that_was_asked_for_is_over() -> None:
    history = days_of_dailies(5)

    before, after = kept_for(7, 6.9), kept_for(7, 7.1)

    assert decision_on(before, history).action is Action.KEEP
    assert decision_on(before, history).reason == "taken by hand, to be kept until 2026-11-22 07:24 UTC"
    decision = decision_on(after, history)
    assert decision.action is Action.DELETE
    assert decision.reason.startswith("taken by hand, to be kept until 2026-11-22 02:36 UTC; ")


@pytest.mark.parametrize(
    ("backup", "others"),
    [
        (kept_for(1, 5, pinned_at=NOW), days_of_dailies(5)),
        (kept_for(1, 5, DAILY, MANUAL), days_of_dailies(5)),
        (kept_for(1, 0.5), [copy(0.2)]),
        (kept_for(1, 5), days_of_dailies(3, verified=False)),
        (kept_for(1, 5), []),
    ],
    ids=["pinned", "daily too", "its time is not over", "nothing newer is verified", "the only one"],
)
def test_what_else_keeps_it_counts_for_it_too(backup: Backup, others: list[Backup]) -> None:
    assert decision_on(backup, others).action is Action.KEEP


def test_no_limit_of_size_shortens_the_time_that_was_asked_for() -> None:
    backup = kept_for(30, 5, stored_bytes=10**9)

    assert decision_on(backup, days_of_dailies(5), Retention(maximum_bytes=1)).action is Action.KEEP


def test_a_count_keeps_the_newest_of_a_tier_whatever_their_age() -> None:
    retention = Retention(weekly_days=None, weekly_count=3)
    weeklies = [copy(200 + 7 * number, WEEKLY) for number in range(5)]

    decisions = decide([*days_of_dailies(2), *weeklies], retention, NOW)

    assert gone(decisions) == {weeklies[3].id, weeklies[4].id}


def test_age_and_count_each_keep() -> None:
    dailies = days_of_dailies(12)

    assert gone(decide(dailies, Retention(daily_count=10), NOW)) == {dailies[10].id, dailies[11].id}
    assert gone(decide(dailies, Retention(daily_count=3), NOW)) == {backup.id for backup in dailies[7:]}


def test_beyond_the_limit_the_oldest_go_first_and_no_more_than_needed() -> None:
    dailies = days_of_dailies(6)

    decisions = decide(dailies, Retention(maximum_bytes=450), NOW)

    assert gone(decisions) == {dailies[4].id, dailies[5].id}
    assert "600 bytes, the limit is 450: the oldest goes first" in decisions[5].reason
    measured = {dailies[5].id: 1, dailies[4].id: 400}
    assert gone(decide(dailies, Retention(maximum_bytes=450), NOW, measured)) == {dailies[5].id, dailies[4].id}


def test_no_limit_takes_the_last_copies() -> None:
    dailies = days_of_dailies(6)

    assert gone(decide(dailies, Retention(maximum_bytes=1), NOW)) == {backup.id for backup in dailies[2:]}


# --- what is safer than age ---


def test_nothing_goes_while_fewer_than_the_minimum_are_verified() -> None:
    unverified = days_of_dailies(30, verified=False)

    assert gone(decide(unverified, Retention(), NOW)) == set()
    (held, *_) = [decision for decision in decide(unverified, Retention(), NOW) if decision.held_back]
    assert held.reason == "0 of at least 2 backups are verified: nothing goes before"
    assert gone(decide([*unverified, copy(0.01)], Retention(), NOW)) == set()
    assert len(gone(decide([*unverified, copy(0.01), copy(0.02)], Retention(), NOW))) == 23


def test_nothing_goes_that_is_newer_than_the_last_verified_one() -> None:
    """A verification that broke a month ago: who knows which of the later ones is good?"""
    since = [copy(age, verified=False) for age in range(1, 30)]
    proven = [copy(31), copy(32), copy(33)]

    assert gone(decide([*since, *proven], Retention(), NOW)) == {proven[2].id}


def test_without_waiting_for_verification_age_decides_and_the_newest_stay() -> None:
    old = [copy(100 + age, verified=False) for age in range(5)]

    decisions = decide(old, Retention(minimum_verified=0, minimum_kept=3), NOW)

    assert gone(decisions) == {old[3].id, old[4].id}
    assert decisions[4].reason.endswith("verification is not waited for (minimum_verified 0)")


def test_a_backup_of_the_future_stays_and_evicts_nothing() -> None:
    """A clock that was wrong once must not make one backup the newest for ever."""
    future = [copy(-400 - number) for number in range(3)]
    old = [copy(50), copy(51), copy(52)]

    decisions = decide([*future, *old], Retention(daily_count=1, daily_days=None), NOW)

    assert gone(decisions) == {old[2].id}
    assert "in the future" in decisions[0].reason


def test_a_chosen_id_is_no_time() -> None:
    """Ids can be chosen by whoever starts a backup; their time counts for nothing."""
    junk = copy(50, id=str(ULID.from_datetime(NOW)))

    assert decision_on(junk, days_of_dailies(3)).action is Action.DELETE


def test_weeks_with_a_change_of_the_clocks_and_leap_years_are_as_long_as_others() -> None:
    for place in ("Europe/Paris", "America/New_York", "Pacific/Auckland"):
        for year in (2024, 2026):
            for day in range(0, 366, 5):
                now = datetime(year, 1, 1, 2, tzinfo=ZoneInfo(place)) + timedelta(days=day)
                newer = [copy(0.1, now=now), copy(0.2, now=now)]
                edge = [copy(7, now=now), copy(28, WEEKLY, now=now), copy(365, MONTHLY, now=now)]
                over = [copy(7.001, now=now), copy(28.001, WEEKLY, now=now), copy(365.001, MONTHLY, now=now)]

                assert gone(decide([*newer, *edge, *over], Retention(), now)) == {backup.id for backup in over}


# --- for any history ---

ages = st.one_of(
    st.floats(-3, 500, allow_nan=False),
    st.sampled_from([0.0, 7.0, 28.0, 365.0, 7.0 + 1e-6, 365.0 + 1e-6]),
)


# Made once: Hypothesis looks at each new strategy for longer than it draws from it.
numbers = st.integers(0, 14)
records = st.tuples(
    st.lists(st.sampled_from(list(Tier)), min_size=1, max_size=3, unique=True),
    st.sampled_from([Status.COMPLETED] * 6 + [Status.FAILED, Status.IN_PROGRESS, Status.DELETED]),
    ages,
    st.booleans(),
    st.integers(0, 9),
    st.integers(0, 1000),
)


@st.composite
def histories(draw: st.DrawFn) -> list[Backup]:
    made = []
    for number in range(draw(numbers)):
        tiers, status, age, verified, pin, size = draw(records)
        made.append(
            copy(
                age,
                *tiers,
                id=f"01K{number:023d}",
                status=status,
                verified=verified and status is Status.COMPLETED,
                pinned_at=NOW if pin == 0 else None,
                stored_bytes=size,
            )
        )
    return made


counts = st.one_of(st.none(), st.integers(1, 5))
policies = st.builds(
    Retention,
    daily_days=st.integers(1, 60),
    daily_count=counts,
    weekly_days=st.integers(1, 200),
    weekly_count=counts,
    monthly_days=st.integers(1, 400),
    monthly_count=counts,
    safety_days=st.integers(1, 60),
    minimum_kept=st.integers(1, 4),
    minimum_verified=st.integers(0, 4),
)
limits = st.one_of(st.none(), st.integers(1, 5000))


def limited(policy: Retention, limit: int | None) -> Retention:
    return policy.model_copy(update={"maximum_bytes": limit})


def left(history: list[Backup], policy: Retention, now: datetime = NOW) -> list[Backup]:
    removed = gone(decide(history, policy, now))
    return [backup for backup in history if backup.status is Status.COMPLETED and backup.id not in removed]


def ids(backups: list[Backup]) -> set[str]:
    return {backup.id for backup in backups}


@given(histories(), policies, limits)
def test_deciding_again_removes_nothing_more(history: list[Backup], policy: Retention, limit: int | None) -> None:
    stayed = left(history, limited(policy, limit))

    assert ids(left(stayed, limited(policy, limit))) == ids(stayed)


@given(histories(), policies, limits, st.randoms())
def test_the_order_of_the_records_does_not_matter(
    history: list[Backup], policy: Retention, limit: int | None, random: Any
) -> None:
    shuffled = random.sample(history, len(history))

    assert decide(shuffled, limited(policy, limit), NOW) == decide(history, limited(policy, limit), NOW)


@given(histories(), policies, st.sampled_from(sorted(Retention.model_fields.keys() - {"maximum_bytes"})))
def test_a_more_generous_policy_never_removes_more(history: list[Backup], policy: Retention, field: str) -> None:
    # 0 is no smaller minimum: it says that verification is not waited for.
    value = getattr(policy, field)
    generous = policy.model_copy(update={field: (value or 0) + 1})

    assert ids(left(history, policy)) <= ids(left(history, generous))


@given(histories(), policies, st.integers(1, 5000), st.integers(0, 5000))
def test_a_larger_limit_never_removes_more(history: list[Backup], policy: Retention, limit: int, more: int) -> None:
    assert ids(left(history, limited(policy, limit))) <= ids(left(history, limited(policy, limit + more)))
    assert ids(left(history, limited(policy, limit))) <= ids(left(history, policy))


@given(histories(), policies, limits)
def test_the_newest_and_the_newest_verified_always_stay(
    history: list[Backup], policy: Retention, limit: int | None
) -> None:
    present = [one for one in history if one.status is Status.COMPLETED and one.created_at <= NOW and not one.is_safety]
    present.sort(key=lambda one: (one.created_at, one.id), reverse=True)
    verified = [one for one in present if one.verified_at]

    stayed = ids(left(history, limited(policy, limit)))

    assert ids(present[: policy.minimum_kept]) <= stayed
    assert ids(verified[: max(1, policy.minimum_verified)]) <= stayed


@given(histories(), policies, limits)
def test_nothing_goes_without_a_newer_one_that_is_proven(
    history: list[Backup], policy: Retention, limit: int | None
) -> None:
    policy = policy.model_copy(update={"minimum_verified": max(1, policy.minimum_verified), "maximum_bytes": limit})
    stayed = left(history, policy)
    removed = [one for one in history if one.status is Status.COMPLETED and one not in stayed]

    for lost in removed:
        proven = [one for one in stayed if one.verified_at and lost.created_at <= one.created_at <= NOW]
        assert proven
    if removed:
        assert len([one for one in stayed if one.verified_at]) >= policy.minimum_verified


@given(histories(), policies, limits, st.lists(ages, max_size=5))
def test_unverified_and_failed_ones_evict_nothing_by_number(
    history: list[Backup], policy: Retention, limit: int | None, junk_ages: list[float]
) -> None:
    bad = [copy(age, status=Status.FAILED, id=f"01J{n:023d}") for n, age in enumerate(junk_ages)]
    unverified = [copy(age, verified=False, id=f"01H{n:023d}") for n, age in enumerate(junk_ages)]

    assert gone(decide([*history, *bad], limited(policy, limit), NOW)) == gone(
        decide(history, limited(policy, limit), NOW)
    )
    # Unverified copies can take the places of `minimum_kept`, which then protects others besides; tiers do not move.
    strict = policy.model_copy(update={"minimum_kept": 1})
    lost = ids(left(history, strict)) - ids(left([*history, *unverified], strict))
    newest = max((one for one in left(history, strict)), key=lambda one: (one.created_at, one.id), default=None)
    assert lost <= ({newest.id} if newest and not newest.verified_at else set())


@given(histories(), policies, st.floats(0, 400, allow_nan=False))
def test_a_clock_that_goes_backwards_removes_nothing_more(
    history: list[Backup], policy: Retention, back: float
) -> None:
    policy = policy.model_copy(update={f"{tier}_count": None for tier in ("daily", "weekly", "monthly")})
    earlier = NOW - timedelta(days=back)

    assert gone(decide(history, policy, earlier)) <= gone(decide(history, policy, NOW))


@given(histories(), policies, limits)
def test_pinned_and_manual_backups_stay(history: list[Backup], policy: Retention, limit: int | None) -> None:
    safe = [
        one for one in history if one.status is Status.COMPLETED and (one.pinned_at is not None or MANUAL in one.tiers)
    ]

    assert ids(safe) <= ids(left(history, limited(policy, limit)))


# --- SAFETY backups: what restores replaced ---


def test_safety_backups_take_no_regular_ones_place_however_many_there_are() -> None:
    regular = [copy(8), copy(9)]
    bad_states = [copy(age, SAFETY) for age in (0.1, 0.2, 0.3, 0.4)]

    assert gone(decide([*regular, *bad_states], Retention(), NOW)) == set()
    # Not even when they have outlived their tier, while the regular ones are the last proven ones
    old = [copy(7.5, SAFETY), copy(9.5, SAFETY)]
    assert gone(decide([*regular, *old], Retention(), NOW)) == {old[1].id}
    assert gone(decide([copy(8, verified=False), *old], Retention(), NOW)) == set()


def test_a_safety_backup_stays_for_a_day_whatever_the_limit_is() -> None:
    today, yesterday = copy(0.9, SAFETY, stored_bytes=1000), copy(1.1, SAFETY, stored_bytes=1000)

    decisions = decide([*days_of_dailies(3), today, yesterday], Retention(maximum_bytes=10), NOW)

    assert today.id not in gone(decisions)
    assert yesterday.id in gone(decisions)


def test_safety_backups_can_be_kept_by_number() -> None:
    kept = [copy(age, SAFETY) for age in (10, 11, 12)]

    decisions = decide([*days_of_dailies(3), *kept], Retention(safety_days=None, safety_count=2), NOW)

    assert gone(decisions) == {kept[2].id}


# --- damaged backups ---


def test_a_damaged_backup_counts_neither_as_verified_nor_as_one_of_the_newest() -> None:
    good = [copy(20), copy(21)]
    damaged = [copy(age, damaged_at=NOW) for age in (1, 2, 9)]

    decisions = {one.backup_id: one for one in decide([*good, *damaged], Retention(), NOW)}

    assert gone(tuple(decisions.values())) == set()
    assert decisions[good[0].id].reason == "among the newest 2 backups, which always stay"
    # It has outlived its tier, but nothing newer is known to be good
    assert decisions[damaged[2].id].reason == "no newer backup is verified yet"


def test_a_damaged_backup_that_outlived_its_tier_goes_when_a_newer_one_is_verified() -> None:
    damaged = copy(9, damaged_at=NOW)

    assert gone(decide([*days_of_dailies(3), damaged], Retention(), NOW)) == {damaged.id}


def test_a_damaged_backup_pushes_no_good_one_out() -> None:
    good = [copy(3), copy(8), copy(9)]
    damaged = [copy(age, damaged_at=NOW, stored_bytes=10_000) for age in (0.1, 0.2, 0.3)]

    by_count = decide([*good, *damaged], Retention(daily_days=None, daily_count=3), NOW)
    by_size = decide([*good, *damaged], Retention(daily_days=30, maximum_bytes=300), NOW)

    assert gone(by_count) & {backup.id for backup in good} == set()
    # The limit takes the damaged ones first, as far as a newer one is verified: here there is none
    assert gone(by_size) & {backup.id for backup in good[:2]} == set()


def test_beyond_the_limit_damaged_backups_go_before_older_good_ones() -> None:
    good = [copy(1), copy(2), copy(6)]
    damaged = copy(3, damaged_at=NOW, stored_bytes=1000)

    decisions = decide([*good, damaged], Retention(maximum_bytes=300), NOW)

    assert gone(decisions) == {damaged.id}
    reason = next(one.reason for one in decisions if one.backup_id == damaged.id)
    assert "the limit is 300: the damaged ones go first" in reason


@given(
    st.lists(
        st.tuples(st.floats(0, 400), st.booleans(), st.booleans(), st.sampled_from([DAILY, WEEKLY, MONTHLY])),
        max_size=12,
    ),
    st.integers(1, 3),
    st.integers(0, 3),
)
def test_a_good_backup_never_goes_because_others_are_damaged(
    history: list[tuple[float, bool, bool, Tier]], minimum_kept: int, minimum_verified: int
) -> None:
    """What stays of the good ones when the damaged ones were never taken stays beside them too."""
    retention = Retention(minimum_kept=minimum_kept, minimum_verified=minimum_verified)
    backups = [
        copy(age, tier, verified=verified and not is_damaged, damaged_at=NOW if is_damaged else None)
        for age, verified, is_damaged, tier in history
    ]
    good = [backup for backup in backups if backup.damaged_at is None]

    with_damaged = {one.backup_id: one.action for one in decide(backups, retention, NOW)}
    alone = {one.backup_id: one.action for one in decide(good, retention, NOW)}

    assert {backup_id: with_damaged[backup_id] for backup_id in alone} == alone
