"""Ticks and rules: what each starts, what was missed, and what comes twice."""

from __future__ import annotations

from typing import Any

import pytest
from tests.integration.conftest import Coffre, Context
from tests.integration.started import Started, deliver, starting

from coffre.model.backup import Tier
from coffre.model.errors import ConfigurationError, TransientError

HOURLY = {"expression": "rate(1 hour)"}
NIGHTLY = {"expression": "cron(30 3 * * ? *)", "time_zone": "Europe/Zurich"}


def target(name: str, schedule: dict[str, str] | None = None) -> dict[str, Any]:
    return {"name": name, "secret": "coffre/database/shop"} | ({"schedule": schedule} if schedule else {})


@pytest.fixture
def started(coffre: Coffre) -> Started:
    document = {"encryption": "none", "targets": [target("a"), target("b", HOURLY), target("c", NIGHTLY)]}
    coffre.configure("postgresql://nobody@localhost/none", recipients=[], **document)
    return starting(coffre)


def tick(coffre: Coffre, at: str) -> list[str]:
    """Return the targets that a tick of the first days of November 2026 starts."""
    event = {"due": True, "scheduled_time": f"2026-11-{at}:00Z"}
    names: list[str] = coffre.backup_function().handle(event, Context())["started"]
    return names


def test_a_rule_starts_only_the_targets_that_follow_it_and_a_person_all(coffre: Coffre, started: Started) -> None:
    function = coffre.backup_function()

    rule = function.handle({"tier": "DAILY", "scheduled_time": "2026-11-01T02:00:00Z"}, Context())
    person = function.handle({}, Context())

    assert rule == {"started": ["a"]}
    assert person == {"started": ["a", "b", "c"]}


def test_a_tick_starts_what_is_due_since_the_last_one(coffre: Coffre, started: Started) -> None:
    assert tick(coffre, "02T01:00") == ["b"]
    assert tick(coffre, "02T01:05") == []
    assert tick(coffre, "02T02:30") == ["b", "c"]  # 03:30 in Zurich; the ticks in between were missed

    assert started.take() == [
        {"target": "b", "tier": "DAILY", "scheduled_time": "2026-11-02T01:00:00Z"},
        {"target": "b", "tier": "DAILY", "scheduled_time": "2026-11-02T02:00:00Z"},
        {"target": "c", "tier": "DAILY", "scheduled_time": "2026-11-02T02:30:00Z"},
    ]


def test_the_first_run_of_a_week_and_a_month_is_started_with_each_of_its_tiers(
    coffre: Coffre, started: Started
) -> None:
    tick(coffre, "01T02:30")

    nightly = [event for event in started.take() if event["target"] == "c"]

    assert [event["tier"] for event in nightly] == ["DAILY", "WEEKLY", "MONTHLY"]
    assert {event["scheduled_time"] for event in nightly} == {"2026-11-01T02:30:00Z"}


def test_ticks_that_were_missed_are_caught_up_once(coffre: Coffre, started: Started) -> None:
    tick(coffre, "02T00:05")
    started.take()

    assert tick(coffre, "05T10:20") == ["b", "c"]

    assert started.take() == [
        {"target": "b", "tier": "DAILY", "scheduled_time": "2026-11-05T10:00:00Z"},
        {"target": "c", "tier": "DAILY", "scheduled_time": "2026-11-05T02:30:00Z"},
    ]
    assert tick(coffre, "05T10:25") == []


def test_a_tick_that_comes_twice_or_late_starts_nothing(coffre: Coffre, started: Started) -> None:
    assert tick(coffre, "02T02:00") == ["b"]
    assert tick(coffre, "02T02:00") == []
    assert tick(coffre, "02T01:00") == []
    assert tick(coffre, "02T02:05") == []


def test_what_could_not_be_started_is_started_by_the_next_tick(coffre: Coffre, started: Started) -> None:
    started.refused = {"b"}
    with pytest.raises(TransientError, match="The backup of b could not be started"):
        tick(coffre, "02T03:00")

    started.refused = set()

    assert tick(coffre, "02T03:05") == ["b"]
    assert started.take() == [{"target": "b", "tier": "DAILY", "scheduled_time": "2026-11-02T03:00:00Z"}]


def test_a_server_with_a_schedule_is_started_as_one(coffre: Coffre) -> None:
    server = {"schedule": HOURLY, "databases": "all"}
    coffre.configure("postgresql://nobody@localhost/none", target=server)
    started = starting(coffre)

    assert tick(coffre, "02T01:00") == ["shop"]
    assert started.take() == [{"target": "shop", "tier": "DAILY", "scheduled_time": "2026-11-02T01:00:00Z"}]


def test_a_wrong_schedule_is_one_clear_error_and_starts_nothing(coffre: Coffre, started: Started) -> None:
    wrong = target("b", {"expression": "cron(30 3 * * *)", "time_zone": "Europe/Zurisch"})
    coffre.configure("postgresql://nobody@localhost/none", encryption="none", recipients=[], targets=[wrong])

    with pytest.raises(ConfigurationError) as caught:
        tick(coffre, "02T03:00")

    expression, zone = (caught.value.detail or "").splitlines()
    assert expression.startswith("targets[0].schedule.expression: cron has 5 fields; it takes 6: minutes, hours, ")
    assert zone.strip().startswith("targets[0].schedule.time_zone: is no time zone of the IANA database; names are ")
    assert started.take() == []


def test_events_of_one_slot_make_one_backup_with_the_tiers_of_the_schedule(coffre: Coffre, shop: str) -> None:
    coffre.configure(shop, target={"schedule": NIGHTLY})
    started = starting(coffre)

    tick(coffre, "01T02:30")
    answers = deliver(coffre, started)

    assert [answer["outcome"] for answer in answers] == ["completed", "joined", "joined"]
    (backup,) = coffre.backups()
    assert backup.tiers == (Tier.DAILY, Tier.WEEKLY, Tier.MONTHLY)
    assert backup.slot == "2026-11-01T02:30:00+00:00"
