"""When people are told again: pure decisions, with the clock passed in."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from coffre.alerts.alert import Alert, AlertKind, State
from coffre.alerts.deduplication import CLAIM_HOLDS, ended, next_of, notified, recovery, reminder, unnotified
from coffre.model.incident import Incident

NOON = datetime(2026, 10, 2, 12, tzinfo=UTC)
MINUTE, HOUR, DAY = timedelta(minutes=1), timedelta(hours=1), timedelta(days=1)


def alert(kind: AlertKind = AlertKind.BACKUP_FAILED) -> Alert:
    return Alert(kind, "shop", "Backup of shop FAILED", "Why: ...", "LOCK_TIMEOUT")


def told_at_noon(kind: AlertKind = AlertKind.BACKUP_FAILED) -> Incident:
    _, incident = next_of(None, alert(kind), NOON)
    return notified(incident, NOON)


def states(kind: AlertKind, every: timedelta, times: int) -> list[State | None]:
    """As what a problem is told that is noticed again and again."""
    found: Incident | None = None
    said = []
    for number in range(times):
        now = NOON + number * every
        state, found = next_of(found, alert(kind), now)
        found = notified(found, now) if state else found
        said.append(state)
    return said


def test_a_problem_that_is_noticed_hourly_is_told_once_a_day() -> None:
    said = states(AlertKind.BACKUP_FAILED, HOUR, 49)

    assert [(hour, state) for hour, state in enumerate(said) if state] == [
        (0, State.NEW),
        (24, State.REMINDER),
        (48, State.REMINDER),
    ]


def test_a_problem_that_is_noticed_daily_is_told_daily_though_clocks_are_not_exact() -> None:
    assert states(AlertKind.BACKUP_FAILED, DAY - MINUTE, 3) == [State.NEW, State.REMINDER, State.REMINDER]


def test_what_nobody_can_mend_in_a_day_is_told_once_a_week() -> None:
    said = states(AlertKind.KEY_ROTATION_DUE, DAY, 15)

    assert [day for day, state in enumerate(said) if state] == [0, 7, 14]


def test_an_event_is_told_once_for_ever() -> None:
    assert states(AlertKind.RESTORE_FAILED, 30 * DAY, 3) == [State.NEW, None, None]
    assert not told_at_noon(AlertKind.RESTORE_FAILED).is_open, "it does not go on"


def test_a_problem_that_comes_back_is_new() -> None:
    state, incident = next_of(ended(told_at_noon(), NOON + HOUR), alert(), NOON + 2 * HOUR)

    assert state is State.NEW
    assert (incident.since, incident.seen, incident.told_at) == (NOON + 2 * HOUR, 1, None)


def test_what_another_function_is_just_telling_is_not_told_twice() -> None:
    _, claimed = next_of(None, alert(), NOON)

    assert next_of(claimed, alert(), NOON + CLAIM_HOLDS - timedelta(seconds=1))[0] is None


def test_a_claim_of_a_function_that_died_does_not_swallow_the_alert() -> None:
    _, claimed = next_of(None, alert(), NOON)

    assert next_of(claimed, alert(), NOON + CLAIM_HOLDS)[0] is State.NEW


def test_an_alert_that_the_topic_did_not_take_is_tried_again_at_once() -> None:
    _, claimed = next_of(None, alert(), NOON)

    assert next_of(unnotified(claimed), alert(), NOON + timedelta(seconds=1))[0] is State.NEW


@given(st.lists(st.integers(min_value=1, max_value=3000), max_size=60))
def test_however_often_it_is_noticed_reminders_are_most_of_a_day_apart_and_never_two(minutes: list[int]) -> None:
    found, now, tellings = None, NOON, []
    for step in minutes:
        now += step * MINUTE
        state, found = next_of(found, alert(), now)
        if state:
            found = notified(found, now)
            tellings.append(now)

    gaps = [later - earlier for earlier, later in pairwise(tellings)]
    assert all(gap >= DAY - HOUR for gap in gaps)
    assert found is None or found.seen == len(minutes)


def test_a_reminder_says_since_when_and_a_recovery_for_how_long() -> None:
    incident = told_at_noon().model_copy(update={"seen": 4})

    again = reminder(alert(), incident)
    over = recovery(AlertKind.BACKUP_FAILED, [incident], NOON + 26 * HOUR)

    assert (again.subject, again.state) == ("Still: Backup of shop FAILED", State.REMINDER)
    assert again.text.startswith("Reminder: this problem exists since 2026-10-02 12:00 UTC and was seen 4 times.")
    assert (over.subject, over.state, over.target) == ("Over: Backup of shop FAILED", State.RECOVERED, "shop")
    assert "since 2026-10-02 12:00 UTC, for 1 day 2 h" in over.text


@pytest.mark.parametrize("kind", list(AlertKind))
def test_every_kind_begins_with_being_told(kind: AlertKind) -> None:
    assert next_of(None, alert(kind), NOON)[0] is State.NEW
