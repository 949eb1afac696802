"""Two holders of one snapshot: when each may end, whatever the moment at which they began."""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any, cast

import pytest

from coffre.catalog.spread import Epoch
from coffre.operations.backup_database.spread.hold import Holding
from coffre.operations.backup_database.spread.step import Step
from coffre.postgres.source.snapshot_relay import SnapshotGoneError

NOON = datetime(2026, 11, 22, 12, 0, tzinfo=UTC)
SNAPSHOT = "00000003-0000001B-1"


@dataclass
class Played:
    """A clock, and what the catalog says of the run's epochs."""

    now: datetime = NOON
    remaining: float = 900.0
    found: list[Epoch] = field(default_factory=list)

    def epochs(self, backup_id: str) -> list[Epoch]:
        return [Epoch(one.number, one.holder, SNAPSHOT, one.expires_at, self.now) for one in reversed(self.found)]

    def begin_epoch(self, backup_id: str, epoch: Epoch) -> bool:
        self.found.append(epoch)
        return True

    def holding(self, holder: str) -> Holding:
        played = cast("Any", self)
        played.spread = played.job = played.catalog = played.header = played
        step = _Step(played)
        return Holding(cast("Step", step), holder, None)


class _Step:
    def __init__(self, played: Any) -> None:
        self.catalog = self.header = played
        self.header.backup_id = "01K9X000000000000000000000"
        self.job = _Job(played)
        self.remaining_seconds = lambda: played.remaining


class _Job:
    def __init__(self, played: Any) -> None:
        self.now = lambda: played.now


@pytest.fixture
def played() -> Played:
    return Played()


def test_the_second_of_two_lives_half_as_long_so_that_they_take_turns(played: Played) -> None:
    first = played.holding("a")._begin(SNAPSHOT)
    second = played.holding("b")._begin(SNAPSHOT)

    assert (first.expires_at - NOON).total_seconds() == pytest.approx(760)
    assert (second.expires_at - NOON).total_seconds() == pytest.approx(380)
    assert (first.number, second.number) == (1, 2)

    # When the second is followed by another one, that one lives its whole time
    played.now = second.expires_at
    played.found.pop()
    third = played.holding("b")._begin(SNAPSHOT)
    assert (third.expires_at - played.now).total_seconds() == pytest.approx(760)


def test_none_ends_before_its_time_or_without_another_that_lives_a_minute_more(played: Played) -> None:
    holding = played.holding("a")
    mine = holding._begin(SNAPSHOT)
    assert not holding._may_end(mine)

    played.now = mine.expires_at + timedelta(seconds=1)
    assert not holding._may_end(mine)

    played.found.append(Epoch(2, "b", SNAPSHOT, played.now + timedelta(seconds=60), played.now))
    assert holding._may_end(mine)


@pytest.mark.parametrize("apart", [0, 10, 59])
def test_two_that_are_due_together_do_not_wait_for_each_other(played: Played, apart: float) -> None:
    a, b = played.holding("a"), played.holding("b")
    due = NOON + timedelta(minutes=10)
    older = Epoch(5, "a", SNAPSHOT, due + timedelta(seconds=apart), NOON)
    newer = Epoch(6, "b", SNAPSHOT, due, NOON)
    played.found = [older, newer]
    played.now = due + timedelta(seconds=apart)

    assert a._may_end(older)
    assert not b._may_end(newer)


def test_the_planner_is_no_holder_to_rely_on(played: Played) -> None:
    played.found = [Epoch(1, "plan", SNAPSHOT, NOON + timedelta(hours=1), NOON)]
    holding = played.holding("a")
    mine = holding._begin(SNAPSHOT)
    played.now = mine.expires_at

    assert (mine.expires_at - NOON).total_seconds() == pytest.approx(760)
    assert not holding._may_end(mine)


def test_without_another_one_the_last_moment_is_said_to_be_the_loss_of_the_snapshot(played: Played) -> None:
    holding = played.holding("a")
    mine = holding._begin(SNAPSHOT)
    played.now, played.remaining = mine.expires_at + timedelta(seconds=100), 25.0

    with pytest.raises(SnapshotGoneError, match="no other one has taken over"):
        holding._may_end(mine)
