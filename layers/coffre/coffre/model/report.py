"""The report of a week, a month or a year: what it is made of, and what it says."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from decimal import Decimal
from enum import StrEnum
from typing import Literal

from pydantic import Field

from coffre.model.audit import AuditEvent
from coffre.model.backup import Backup, Restore
from coffre.model.configuration import Configuration
from coffre.model.copies import Copy
from coffre.model.document import FrozenModel
from coffre.model.objectives import Contact
from coffre.model.status import Measured, StatusReport
from coffre.model.usage import Usage


class Period(StrEnum):
    """What a report is about: the last 7 days, 31 days or 366 days."""

    WEEKLY = "weekly"
    MONTHLY = "monthly"
    YEARLY = "yearly"

    @property
    def days(self) -> int:
        """How many days it looks back."""
        return {"weekly": 7, "monthly": 31, "yearly": 366}[self.value]

    @property
    def noun(self) -> str:
        """`week`, `month`, `year`."""
        return self.value.removesuffix("ly")


class Money(FrozenModel):
    """What this month cost until now, what all of it costs if it continues like this, and by kind; US dollars."""

    until_now: Decimal
    whole_month: Decimal
    kinds: dict[str, Decimal] = Field({})


class TargetReport(FrozenModel):
    """One target. `sizes` are bytes of plaintext of its good backups in the period, the oldest first.

    `verified` counts its backups that were verified in the period; `failures` are the last few, a sentence each.
    """

    name: str
    backups: int = 0
    failed: int = 0
    failures: tuple[str, ...] = ()
    verified: int = 0
    drill: str | None = None
    measured: Measured | None = None
    sizes: tuple[int, ...] = ()
    stored_bytes: int = 0


class CopyReport(FrozenModel):
    """One destination: how many of the vault's good backups it has, and how many were verified there."""

    name: str
    wanted: int
    complete: int = 0
    verified: int = 0
    failed: int = 0
    overdue: int = 0


class Jobs(FrozenModel):
    """How often a job ran in the period."""

    job: str
    runs: int


class Act(FrozenModel):
    """Who did something, and how often in the period. `verified`: AWS says so; otherwise the request claims it."""

    actor: str
    verified: bool
    action: str
    count: int


class Todo(FrozenModel):
    """What a person does once in a period, by this command. `done` is the fact that shows that it was done."""

    period: Period
    text: str
    command: str
    done: str | None = None


class PeriodReport(FrozenModel):
    """The report. `version` changes when a field goes, or means something else. `periods` are those of `todos`."""

    version: Literal[1] = 1
    period: Period
    periods: tuple[Period, ...]
    since: datetime
    at: datetime
    status: StatusReport
    targets: tuple[TargetReport, ...] = ()
    jobs: tuple[Jobs, ...] = ()
    restores: tuple[str, ...] = ()
    copies: tuple[CopyReport, ...] = ()
    cost: Money | None = None
    keys_due: tuple[str, ...] = ()
    acts: tuple[Act, ...] = ()
    todos: tuple[Todo, ...] = ()
    contacts: tuple[Contact, ...] = ()


@dataclass(frozen=True)
class ReportFacts:
    """What a report is made of: records of the period (of 30 days at least: objectives are measured over them)."""

    period: Period
    since: datetime
    status: StatusReport
    configuration: Configuration
    backups: Sequence[Backup] = ()
    restores: Sequence[Restore] = ()
    usages: Sequence[Usage] = ()
    events: Sequence[AuditEvent] = ()
    copies: Mapping[str, Sequence[Copy]] = field(default_factory=dict)
    cost: Money | None = None
    periods: tuple[Period, ...] = ()
