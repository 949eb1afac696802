"""The rules that start the functions: is each enabled, and when does it fire next?"""

from __future__ import annotations

import threading
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import TYPE_CHECKING

from botocore.exceptions import BotoCoreError, ClientError
from pydantic import ValidationError

from coffre.model.schedule import Schedule as OwnSchedule
from coffre.model.status_facts import Schedule
from coffre.policy.schedule import next_run

if TYPE_CHECKING:
    from mypy_boto3_events import EventBridgeClient


type ReadSchedule = Callable[[str, str, datetime], Schedule]
"""Returns the schedule of a job, whose rule has this name, at a time; raises `SchedulesUnreadError`."""


class SchedulesUnreadError(Exception):
    """EventBridge refused, or did not answer; the text says why."""


def rules_of(output: str) -> dict[str, str]:
    """Return the rules that the stack's output `Schedules` names, by job."""
    return dict(word.split("=", 1) for word in output.split() if "=" in word)


def read_schedule(events: EventBridgeClient, job: str, rule: str, now: datetime) -> Schedule:
    """Return one of the schedules.

    Raises
    ------
    SchedulesUnreadError
        It could not be read: nothing is known of it.
    """
    try:
        found = events.describe_rule(Name=rule)
    except events.exceptions.ResourceNotFoundException:
        return Schedule(job=job, rule=rule, state="missing")
    except ClientError as error:
        raise SchedulesUnreadError(error.response.get("Error", {}).get("Code", "") or str(error)[:200]) from error
    except BotoCoreError as error:
        raise SchedulesUnreadError(str(error)[:200]) from error
    expression = found.get("ScheduleExpression", "")
    # AWS has one more state, ENABLED_WITH_ALL_CLOUDTRAIL_MANAGEMENT_EVENTS: it is enabled too.
    if not found.get("State", "").startswith("ENABLED"):
        return Schedule(job=job, rule=rule, state="disabled", expression=expression)
    return Schedule(job=job, rule=rule, state="enabled", expression=expression, next_at=_next(expression, now))


@dataclass(frozen=True)
class KeptSchedules:
    """Reads each schedule once in a while: of the requests of a page that shows them all, those to EventBridge are a
    fifth."""

    events: Callable[[], EventBridgeClient]
    kept_for: timedelta
    _kept: dict[str, tuple[datetime, Schedule]] = field(default_factory=dict, repr=False)
    _opening: threading.Lock = field(default_factory=threading.Lock, repr=False)

    def __call__(self, job: str, rule: str, now: datetime) -> Schedule:
        """Return a schedule as it was a while ago at most; raises what `read_schedule` raises, and keeps no error."""
        read_at, found = self._kept.get(rule, (now - self.kept_for, None))
        has_fired = found is not None and found.next_at is not None and found.next_at <= now
        if found is None or has_fired or not read_at <= now < read_at + self.kept_for:
            with self._opening:  # all are asked for in parallel, and the first one makes the client
                events = self.events()
            found = read_schedule(events, job, rule, now)
            self._kept[rule] = now, found
        return found


def _next(expression: str, now: datetime) -> datetime | None:
    """Return when a rule fires next; None: it never does, or its expression is not one of those that Coffre knows."""
    try:
        return next_run(OwnSchedule(expression=expression), now)
    except ValidationError:
        return None
