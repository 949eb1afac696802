"""Schedules: what expressions mean, in every time zone, and which run is due. No time is lost when clocks change."""

from __future__ import annotations

from datetime import UTC, date, datetime, timedelta
from functools import cache
from itertools import pairwise

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from coffre.model.schedule import Schedule
from coffre.model.tier import Tier
from coffre.policy.schedule import due, last_run, next_run

MINUTE, HOUR, DAY = timedelta(minutes=1), timedelta(hours=1), timedelta(days=1)
# Clocks that change by half an hour, at midnight, in the other half of the year, backward in winter, or never; and one
# that skipped a whole day.
ZONES = (
    "UTC",
    "Europe/Zurich",
    "Europe/Dublin",
    "America/New_York",
    "America/Santiago",
    "America/St_Johns",
    "Africa/Cairo",
    "Africa/Casablanca",
    "Asia/Kathmandu",
    "Australia/Lord_Howe",
    "Pacific/Chatham",
    "Pacific/Apia",
)
zones = st.sampled_from(ZONES)
instants = st.datetimes(datetime(2011, 1, 1), datetime(2038, 1, 1), timezones=st.just(UTC))  # noqa: DTZ001 - in UTC


def schedule(expression: str, time_zone: str = "UTC") -> Schedule:
    return Schedule(expression=expression, time_zone=time_zone)


def runs(wanted: Schedule, begin: datetime, end: datetime) -> list[datetime]:
    """Return every run after `begin`, up to `end`."""
    found: list[datetime] = []
    at = next_run(wanted, begin)
    while at is not None and at <= end:
        found.append(at)
        at = next_run(wanted, at)
    return found


def utc(text: str) -> datetime:
    return datetime.fromisoformat(text).replace(tzinfo=UTC)


def one_of(values: range) -> st.SearchStrategy[str]:
    """Return fields of cron: any value, some of them, a span, or steps."""
    number = st.sampled_from(values)
    span = st.tuples(number, number).map(sorted).map(lambda pair: f"{pair[0]}-{pair[1]}")
    some = st.lists(number, min_size=1, max_size=3, unique=True).map(lambda many: ",".join(map(str, many)))
    return st.one_of(st.just("*"), some, span, number.map(lambda first: f"{first}/7"))


hours, month_days, months, week_days = (one_of(range(*ends)) for ends in ((0, 24), (1, 29), (1, 13), (1, 8)))
minutes = st.sampled_from(["0", "30", "0/15", "5,50", "59", "10-40/10"])
crons = st.one_of(
    st.builds("cron({} {} {} {} ? *)".format, minutes, hours, month_days, months),
    st.builds("cron({} {} ? {} {} *)".format, minutes, hours, months, week_days),
)
rates = st.builds("rate({} {})".format, st.integers(5, 5000), st.sampled_from(["minutes", "hours", "days"]))
schedules = st.one_of(st.builds(schedule, crons, zones), st.builds(schedule, rates))


# --- what an expression means ---


@pytest.mark.parametrize(
    ("expression", "after", "expected"),
    [
        ("cron(30 3 * * ? *)", "2026-11-28T03:29:59", "2026-11-28T03:30"),
        ("cron(30 3 * * ? *)", "2026-11-28T03:30:00", "2026-11-29T03:30"),
        ("cron(0 2 ? * SUN *)", "2026-11-28T00:00", "2026-11-29T02:00"),
        ("cron(0 2 ? * 1 *)", "2026-11-28T00:00", "2026-11-29T02:00"),
        ("cron(0 2 1 * ? *)", "2026-12-01T02:00", "2027-01-01T02:00"),
        ("cron(0 2 L * ? *)", "2028-02-01T00:00", "2028-02-29T02:00"),
        ("cron(0 2 1,L * ? *)", "2028-02-28T00:00", "2028-02-29T02:00"),
        ("cron(0 2 ? * 6L *)", "2026-11-01T00:00", "2026-11-27T02:00"),
        ("cron(0 2 ? * L *)", "2026-11-28T03:00", "2026-12-05T02:00"),
        ("cron(0 2 ? * MON#2 *)", "2026-11-28T00:00", "2026-12-14T02:00"),
        ("cron(0 2 ? FEB MON#5 *)", "2026-11-28T00:00", "2044-02-29T02:00"),
        ("cron(0/20 8-10 ? * MON-FRI *)", "2026-11-27T10:40", "2026-11-30T08:00"),
        ("cron(0 0 29 2 ? *)", "2097-01-01T00:00", "2104-02-29T00:00"),
        ("cron(0 0 1 JAN,jul ? 2027-2028)", "2027-07-01T00:00", "2028-01-01T00:00"),
        ("rate(6 hours)", "2026-11-28T05:59", "2026-11-28T06:00"),
        ("rate(1 day)", "2026-11-28T00:00", "2026-11-29T00:00"),
    ],
)
def test_the_next_run(expression: str, after: str, expected: str) -> None:
    assert next_run(schedule(expression), utc(after)) == utc(expected)


def test_a_schedule_whose_years_are_over_never_runs_again() -> None:
    assert next_run(schedule("cron(0 0 1 1 ? 2025)"), utc("2026-01-01")) is None
    assert last_run(schedule("cron(0 0 1 1 ? 2030)"), utc("2026-01-01")) is None
    assert due(schedule("cron(0 0 1 1 ? 2030)"), utc("2020-01-01"), utc("2026-01-01")) is None


@pytest.mark.parametrize(
    ("expression", "words"),
    [
        ("", "cron(...) or rate(...)"),
        ("30 3 * * *", "cron(...) or rate(...)"),
        ("cron(30 3 * * *)", "5 fields; it takes 6"),
        ("cron(30 3 * * * *)", 'exactly one of day of month and day of week has to be "?"'),
        ("cron(30 3 ? * ? *)", 'exactly one of day of month and day of week has to be "?"'),
        ("cron(60 3 * * ? *)", 'minutes: "60" is none of 0 to 59'),
        ("cron(0 24 * * ? *)", 'hours: "24" is none of 0 to 23'),
        ("cron(0 3 0 * ? *)", 'day of month: "0" is none of 1 to 31'),
        ("cron(0 3 15W * ? *)", 'day of month: "15W" is none of 1 to 31'),
        ("cron(0 3 * MAX ? *)", 'month: "MAX" is none of 1 to 12, or JAN to DEC'),
        ("cron(0 3 ? * FRI-MON *)", 'in "FRI-MON" the first is greater than the last'),
        ("cron(0 3 ? * MON#6 *)", 'day of week: "6" is none of 1 to 5'),
        ("cron(0 3 1, * ? *)", 'day of month: "" is none of'),
        ("cron(0/0 3 * * ? *)", 'minutes: "0" is none of 1 to 59'),
        ("cron(٣ 3 * * ? *)", 'minutes: "٣" is none of 0 to 59'),
        ("cron(* * * * ? *)", "runs more often than every 5 minutes"),
        ("cron(1,58 * * * ? *)", "runs more often than every 5 minutes"),
        ("cron(0 0 30 2 ? *)", "never runs: none of its months has a day 30"),
        ("rate(4 minutes)", "runs more often than every 5 minutes"),
        ("rate(1.5 hours)", "a rate is a number of minutes, hours or days"),
        ("rate(0 days)", "runs more often than every 5 minutes"),
    ],
)
def test_a_wrong_expression_is_one_clear_error(expression: str, words: str) -> None:
    with pytest.raises(ValueError, match=r".") as caught:
        schedule(expression)
    assert words in str(caught.value) or (expression == "" and "at least 1 character" in str(caught.value))


@pytest.mark.parametrize("name", ["europe/zurisch", "Europe", "/etc/localtime", "../UTC", "", "CET+1"])
def test_an_unknown_time_zone_is_one_clear_error(name: str) -> None:
    with pytest.raises(ValueError, match="is no time zone of the IANA database; names are like Europe/Zurich"):
        schedule("cron(0 3 * * ? *)", name)


def test_a_rate_has_no_time_zone() -> None:
    with pytest.raises(ValueError, match=r"time_zone goes with cron\(\.\.\.\)"):
        schedule("rate(1 hour)", "Europe/Zurich")


# --- clocks that change ---


def test_a_time_that_does_not_exist_runs_when_it_would_have_been() -> None:
    nightly = schedule("cron(30 2 * * ? *)", "Europe/Zurich")

    # On 2026-03-29 clocks go from 02:00 to 03:00; on 2026-10-25 from 03:00 back to 02:00.
    assert runs(nightly, utc("2026-03-28T00:00"), utc("2026-03-31T00:00")) == [
        utc("2026-03-28T01:30"),
        utc("2026-03-29T01:30"),
        utc("2026-03-30T00:30"),
    ]


def test_a_time_that_exists_twice_runs_once() -> None:
    nightly = schedule("cron(30 2 * * ? *)", "Europe/Zurich")

    assert runs(nightly, utc("2026-10-24T12:00"), utc("2026-10-26T12:00")) == [
        utc("2026-10-25T00:30"),
        utc("2026-10-26T01:30"),
    ]


@settings(max_examples=40)
@given(zone=zones, start=instants)
def test_an_hourly_schedule_has_a_run_in_every_hour_whatever_clocks_do(zone: str, start: datetime) -> None:
    found = runs(schedule("cron(0/30 * * * ? *)", zone), start, start + 2 * DAY)

    assert {later - earlier for earlier, later in pairwise(found)} == {30 * MINUTE}


@given(zone=zones, start=instants, hour=st.integers(0, 23), minute=st.sampled_from([0, 1, 30, 45, 59]))
def test_a_daily_schedule_runs_once_for_each_local_day(zone: str, start: datetime, hour: int, minute: int) -> None:
    found = runs(schedule(f"cron({minute} {hour} * * ? *)", zone), start, start + 60 * DAY)

    for earlier, later in pairwise(found):
        skips_a_day = zone == "Pacific/Apia" and date(2011, 12, 28) <= earlier.date() <= date(2011, 12, 31)
        assert 22 * HOUR <= later - earlier <= (49 if skips_a_day else 26) * HOUR
    assert 58 <= len(found) <= 61


@settings(max_examples=40)
@given(wanted=st.builds(schedule, crons, zones), start=instants)
def test_every_local_time_that_fits_has_its_run(wanted: Schedule, start: datetime) -> None:
    """The oracle looks at each minute of two days on its own."""
    begin = start.replace(second=0, microsecond=0)
    cron = wanted.parsed
    days = cache(cron.days)  # type: ignore[union-attr] # it is a cron
    found = set(runs(wanted, begin - MINUTE, begin + 2 * DAY))
    fitting = set()
    for number in range(2 * 24 * 60):
        at = begin + number * MINUTE
        local = at.astimezone(wanted.zone)
        is_day = local.day in days(local.year, local.month)
        is_time = local.hour in cron.hours and local.minute in cron.minutes  # type: ignore[union-attr] # as above
        if is_day and is_time and (local.fold == 0 or cron.is_hourly):  # type: ignore[union-attr] # as above
            fitting.add(at)

    assert fitting <= found
    for at in found - fitting:  # a time that did not exist, moved by as much as clocks did: at most a day (Samoa, 2011)
        moved = at.astimezone(wanted.zone)
        before = (at - DAY - HOUR).astimezone(wanted.zone)
        assert at > begin + 2 * DAY - MINUTE or moved.utcoffset() != before.utcoffset()


# --- next, last, due ---


@given(wanted=schedules, at=instants, share=st.floats(0, 1, exclude_max=True))
def test_the_next_run_is_the_last_one_when_it_comes(wanted: Schedule, at: datetime, share: float) -> None:
    following = next_run(wanted, at)
    assert following is not None
    assert following > at
    assert last_run(wanted, following) == following
    between = at + (following - at) * share
    if between < following:
        assert next_run(wanted, between) == following
        assert last_run(wanted, between) == last_run(wanted, at)


@given(wanted=schedules, start=instants, pauses=st.lists(st.integers(0, 400), min_size=1, max_size=40))
def test_ticks_run_every_time_once_and_catch_up_once(wanted: Schedule, start: datetime, pauses: list[int]) -> None:
    end = start + sum(pauses) * 5 * MINUTE
    scheduled = runs(wanted, start, end)
    started, before = [], start
    for pause in pauses:
        tick = before + pause * 5 * MINUTE
        found = due(wanted, before, tick)
        missed = [at for at in scheduled if before < at <= tick]
        assert (found is None) == (not missed)
        if found is not None:
            assert found.slot == missed[-1]
            tiers = {tier for at in missed for tier in due(wanted, at - MINUTE, at).tiers}  # type: ignore[union-attr] # it runs then
            assert set(found.tiers) == tiers
            started.append(found.slot)
        before = tick
    assert len(started) == len(set(started))


def test_the_first_run_of_a_week_and_of_a_month_has_their_tiers() -> None:
    hourly = schedule("cron(0 * * * ? *)", "America/New_York")
    tiers = {
        at: due(hourly, at - MINUTE, at).tiers  # type: ignore[union-attr] # it runs then
        for at in runs(hourly, utc("2026-10-31T00:00"), utc("2026-11-09T00:00"))
    }

    longer = {at: found for at, found in tiers.items() if found != (Tier.DAILY,)}
    assert longer == {
        utc("2026-11-01T04:00"): (Tier.DAILY, Tier.WEEKLY, Tier.MONTHLY),  # Sunday the first, at midnight there
        utc("2026-11-08T05:00"): (Tier.DAILY, Tier.WEEKLY),
    }


def test_what_was_missed_is_caught_up_once_with_all_its_tiers() -> None:
    nightly = schedule("cron(0 2 * * ? *)")

    found = due(nightly, utc("2026-11-28T02:00"), utc("2026-12-02T09:00"))

    assert found is not None
    assert found.slot == utc("2026-12-02T02:00")
    assert found.tiers == (Tier.DAILY, Tier.WEEKLY, Tier.MONTHLY)
    assert due(nightly, found.slot, utc("2026-12-02T09:05")) is None
