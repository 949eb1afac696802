"""Drills as the catalog knows them: what runs, and how the newest ones ended (`drill_report` has what they found)."""

from __future__ import annotations

from datetime import datetime
from enum import StrEnum

from pydantic import Field

from coffre.model.backup import Failure, Progress, Status
from coffre.model.document import FrozenModel


class Outcome(StrEnum):
    """How a drill ended.

    PASSED: a restore with `strict` ends without a refusal. INCOMPLETE: every row came back as it was taken, and a
    restore leaves something out. Only FAILED says something against the backup; NOT_POSSIBLE says nothing about it.
    """

    PASSED = "passed"
    INCOMPLETE = "incomplete"
    FAILED = "failed"
    NOT_POSSIBLE = "not_possible"


class DrillRun(FrozenModel):
    """A drill that runs or ran, as records of other runs: FAILED is one without a report, cancelled for example."""

    id: str
    backup_id: str
    target: str
    status: Status = Status.IN_PROGRESS
    created_at: datetime
    heartbeat_at: datetime | None = None
    progress: Progress = Progress.model_construct()
    failure: Failure | None = None


class DrillWish(FrozenModel):
    """A person's wish that a drill ends."""

    id: str
    by: str
    at: datetime


class DrillSummary(FrozenModel):
    """How a drill ended: what the catalog keeps of the newest one of each target.

    `restore_seconds` and `restore_limit_seconds` are as in the report; `problem` is the worst one.
    """

    id: str
    backup_id: str
    target: str
    outcome: Outcome
    completed_at: datetime
    restore_seconds: float | None = None
    restore_limit_seconds: int | None = None
    problem: str | None = None


class Rehearsal(FrozenModel):
    """The newest rehearsal of a recovery that restored a target (`coffre recover --rehearse`).

    `seconds` are from the start of the command to the end of the last check of this target. `id` is the recovery's.
    """

    id: str
    target: str
    completed_at: datetime
    seconds: float = Field(ge=0)
