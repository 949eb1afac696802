"""Rules of EventBridge are asked for once in a while, and what was read then is not shown for longer."""

from __future__ import annotations

import threading
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta
from functools import cached_property
from typing import Any, cast

import pytest
from botocore.exceptions import ClientError

from coffre.operations.status.schedules import KeptSchedules, SchedulesUnreadError

NOW = datetime(2026, 11, 29, 1, 59, 50, tzinfo=UTC)


class Rules:
    """Stands for EventBridge; a test changes its `state`, or lets it refuse."""

    class exceptions:  # noqa: N801 - as botocore calls it
        class ResourceNotFoundException(Exception):  # noqa: N818
            pass

    def __init__(self) -> None:
        self.asked, self.state, self.refuses = 0, "ENABLED", False

    def describe_rule(self, *, Name: str) -> dict[str, Any]:  # noqa: N803 - the client's own word
        self.asked += 1
        if self.refuses:
            raise ClientError({"Error": {"Code": "AccessDeniedException"}}, "DescribeRule")
        return {"State": self.state, "ScheduleExpression": "cron(0 2 * * ? *)"}


def test_a_rule_is_read_again_after_a_while_when_it_has_fired_and_after_an_error() -> None:
    rules = Rules()
    kept = KeptSchedules(lambda: cast(Any, rules), timedelta(seconds=30))

    def state(seconds: float, rule: str = "safe-daily") -> tuple[str, datetime | None, int]:
        found = kept("daily", rule, NOW + timedelta(seconds=seconds))
        return found.state, found.next_at, rules.asked

    first = datetime(2026, 11, 29, 2, tzinfo=UTC)
    assert [state(0), state(9)] == [("enabled", first, 1)] * 2
    assert state(10) == ("enabled", first + timedelta(days=1), 2), "it has fired"
    rules.state = "DISABLED"
    assert state(39) == ("enabled", first + timedelta(days=1), 2)
    assert [state(40), state(41)] == [("disabled", None, 3)] * 2
    assert state(5)[2] == 4, "a clock that was set back keeps nothing for longer"
    assert state(6, "safe-weekly")[2] == 5
    rules.refuses = True
    for _ in range(2):
        with pytest.raises(SchedulesUnreadError, match="AccessDenied"):
            state(80)
    assert rules.asked == 7
    rules.refuses = False
    assert state(81)[2] == 8


def test_schedules_that_are_read_in_parallel_share_one_client() -> None:
    made: list[Rules] = []
    second = threading.Event()

    class Services:
        @cached_property
        def bus(self) -> Rules:
            made.append(Rules())
            if len(made) > 1:
                second.set()
            second.wait(0.2)  # until another thread makes one too; if none may, this ends by itself
            return made[-1]

    services = Services()
    kept = KeptSchedules(lambda: cast(Any, services.bus), timedelta(seconds=30))
    with ThreadPoolExecutor(4) as pool:
        found = list(pool.map(lambda rule: kept("daily", rule, NOW), ["a", "b", "c", "d"]))

    assert [one.rule for one in found] == ["a", "b", "c", "d"]
    assert [client.asked for client in made] == [4]
