"""Gaps between good backups, restore times, and schedules that cannot meet an objective."""

from __future__ import annotations

from datetime import datetime, timedelta
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError
from tests.unit.policy.safety_scene import NOW, drill, run

from coffre.model.backup import Backup, Status, Tier
from coffre.model.configuration import Configuration
from coffre.model.drill import Rehearsal
from coffre.model.objectives import Objective
from coffre.policy.objectives import WINDOW, gaps, longest_pause, measure, unreachable, words_of

SINCE = NOW - WINDOW
HOUR = timedelta(hours=1)


def configuration(**fields: object) -> Configuration:
    target = {"name": "shop", "secret": "coffre/database/shop", **fields}
    return Configuration.model_validate(
        {
            "encryption": "none",
            "objectives": {"database": {"rpo_minutes": 60, "rto_minutes": 15}},
            "targets": [target, {"name": "files", "kind": "bucket", "buckets": [{"name": "photos"}]}],
        }
    )


@given(st.lists(st.floats(min_value=0, max_value=2000), max_size=40), st.floats(min_value=1, max_value=1000))
def test_gaps_cover_all_of_the_time_from_the_first_backup_until_now(ages: list[float], window: float) -> None:
    since = NOW - timedelta(hours=window)
    found = gaps([run(age) for age in ages], NOW, since)

    assert all(one.until == two.since for one, two in pairwise(found))
    assert all(one.length >= timedelta() and one.until > since for one in found)
    if found:
        assert found[-1].until == NOW
        assert found[-1].since == max(run(age).created_at for age in ages)
        inside = [run(age).created_at for age in ages if run(age).created_at > since]
        before = [run(age).created_at for age in ages if run(age).created_at <= since]
        assert found[0].since == max(before, default=min(inside, default=NOW))


@given(st.lists(st.floats(min_value=0.1, max_value=700), min_size=1, max_size=30), st.floats(0.1, 700))
def test_one_more_good_backup_never_makes_the_worst_gap_longer(ages: list[float], more: float) -> None:
    more = min(more, max(ages))
    before = measure(Objective(), [run(age) for age in ages], None, NOW, SINCE)
    after = measure(Objective(), [run(age) for age in [*ages, more]], None, NOW, SINCE)

    assert before.worst is not None
    assert after.worst is not None
    assert after.worst.length <= before.worst.length


@pytest.mark.parametrize(
    "bad",
    [
        run(2, Status.FAILED),
        run(2, damaged_at=NOW),
        run(2, tiers=(Tier.SAFETY,)),
        run(2, Status.IN_PROGRESS),
        run(2, Status.DELETED),  # of a run that was never complete
        run(-1),
    ],
    ids=["failed", "damaged", "safety", "running", "deleted", "of the future"],
)
def test_what_is_no_good_backup_closes_no_gap(bad: Backup) -> None:
    measured = measure(Objective(rpo_minutes=60), [run(5), bad, run(1)], None, NOW, SINCE)

    assert measured.worst is not None
    assert measured.worst.length == 4 * HOUR
    assert measured.rpo_missed


def test_a_backup_that_has_expired_closed_its_gap() -> None:
    expired = run(2, Status.DELETED, completed_at=NOW)

    measured = measure(Objective(), [run(3), expired, run(1)], None, NOW, SINCE)

    assert measured.worst is not None
    assert measured.worst.length == HOUR


@pytest.mark.parametrize(("minutes", "is_missed"), [(64, False), (66, True)])
def test_scheduled_runs_may_begin_a_little_late(minutes: int, is_missed: bool) -> None:
    backups = [run(minutes / 60), run(0)]

    assert measure(Objective(rpo_minutes=60), backups, None, NOW, SINCE).rpo_missed is is_missed


@pytest.mark.parametrize(
    ("limit", "seconds", "is_missed"),
    [(15, 900, False), (15, 901, True), (0, 59, False), (0, 61, True), (15, None, None), (None, 5, None)],
)
def test_the_time_of_the_last_restore_is_compared(
    limit: int | None, seconds: float | None, is_missed: bool | None
) -> None:
    measured = measure(Objective(rto_minutes=limit), [], drill(restore_seconds=seconds), NOW, SINCE)

    assert measured.rto_missed is is_missed


def test_without_a_backup_nothing_is_known() -> None:
    measured = measure(Objective(rpo_minutes=60, rto_minutes=0), [], None, NOW, SINCE)

    assert measured.rpo_missed is None
    assert words_of(measured) == [
        "no backup yet (objective 1 h): not known",
        "no whole restore measured (objective under a minute): not known",
    ]


def test_the_words_name_what_was_measured_and_the_objective() -> None:
    measured = measure(Objective(rpo_minutes=60, rto_minutes=15), [run(3), run(0.5)], drill(), NOW, SINCE)

    assert words_of(measured) == [
        "up to 2 h 30 min between backups (objective 1 h): MISSED",
        "restored in 4 min 5 s (objective 15 min): met",
    ]


# --- which objective wins ---


def test_a_targets_own_objective_wins_then_its_drills_then_that_of_the_component() -> None:
    own = configuration(objectives={"rpo_minutes": 30, "rto_minutes": 5})
    of_drill = configuration(drill={"rto_minutes": 7})

    assert own.objective_of(own.target("shop")) == Objective(rpo_minutes=30, rto_minutes=5)
    assert of_drill.objective_of(of_drill.target("shop")) == Objective(rpo_minutes=60, rto_minutes=7)
    assert configuration().objective_of(own.target("files")) == Objective()


def test_two_different_rtos_of_a_target_are_refused() -> None:
    with pytest.raises(ValidationError, match=r"objectives\.rto_minutes is 5 and drill\.rto_minutes is 7: say one"):
        configuration(objectives={"rto_minutes": 5}, drill={"rto_minutes": 7})


# --- schedules ---


@pytest.mark.parametrize(
    ("schedule", "pause"),
    [
        ("rate(1 hour)", HOUR),
        ("cron(0 2 * * ? *)", 24 * HOUR),
        ("cron(0 8-18 * * ? *)", 14 * HOUR),
        ("cron(0 9 ? * MON-FRI *)", 72 * HOUR),
        ("cron(0 2 1 1 ? 2027)", None),
    ],
)
def test_the_longest_pause_of_a_schedule(schedule: str, pause: timedelta | None) -> None:
    target = configuration(schedule={"expression": schedule}).target("shop")

    assert longest_pause(target, datetime.fromisoformat("2026-11-28T12:00:00+00:00")) == pause


def test_a_daily_schedule_cannot_meet_an_objective_of_an_hour() -> None:
    assert unreachable(configuration(), NOW) == {
        "shop": "shop is backed up every 1 day at most, and may lose 1 h (objectives): the schedule cannot meet that."
    }
    assert not unreachable(configuration(schedule={"expression": "rate(1 hour)"}), NOW)
    assert not unreachable(configuration(freshness={"every_hours": 1}), NOW)


def test_the_newer_one_of_drill_and_rehearsal_is_the_restore_that_counts() -> None:
    objective = Objective(rto_minutes=15)
    drilled = drill(5, restore_seconds=60.0)

    def measured(days: float, seconds: float) -> tuple[float | None, bool | None]:
        at = NOW - timedelta(days=days)
        rehearsal = Rehearsal(id="01K9X000000000000000000000", target="shop", completed_at=at, seconds=seconds)
        found = measure(objective, [run(1)], drilled, NOW, SINCE, rehearsal)
        assert found.restored_at == max(at, drilled.completed_at)
        return found.restore_seconds, found.rto_missed

    assert measured(1, 1200) == (1200, True)
    assert measured(30, 1200) == (60, False)
