"""What it is decided from whether targets are safe: the facts of each, of the copies, and of what all share."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from enum import StrEnum
from typing import TYPE_CHECKING, Final, Literal

from coffre.model.any_target import AnyTarget
from coffre.model.backup import Backup
from coffre.model.copies import Copy, Destination
from coffre.model.database_target import DatabaseTarget
from coffre.model.document import FrozenModel
from coffre.model.drill import DrillSummary, Rehearsal
from coffre.model.kinds import TargetKind
from coffre.model.objectives import Objective
from coffre.model.usage import Spent
from coffre.model.vault_use import VaultUse

if TYPE_CHECKING:
    from coffre.model.journal import JournalState
    from coffre.model.status import TargetStatus


class Source(StrEnum):
    """What is read apart from the records of each target."""

    ALERTS = "alerts"
    SCHEDULES = "schedules"
    DRILLS = "drills"
    KEYS = "keys"
    TRIALS = "trials of keys"
    CHECKUPS = "checkups"
    VAULT = "vault"
    COST = "cost"
    COPIES = "copies"
    JOURNALS = "journals"


class CheckupSummary(FrozenModel):
    """What doctor found last: the codes of blockers and warnings, and how many checks could not look.

    `target` is None for what all targets share.
    """

    target: str | None
    at: datetime
    blockers: tuple[str, ...] = ()
    warnings: tuple[str, ...] = ()
    unseen: int = 0


class Unread(FrozenModel):
    """Something that could not be read, and why: never a reason to call anything safe.

    `cure` is what to do about a damaged record; None: the reader may lack a permission.
    """

    what: Source
    why: str
    cure: str | None = None


class OpenAlert(FrozenModel):
    """A problem that was reported and is not over. `target` is `-` when it is about no single one."""

    kind: str
    severity: Literal["critical", "warning", "info"]
    target: str
    subject: str
    since: datetime
    runbook: str


OWN_SCHEDULES: Final = "own-schedules"
"""The job of the rule that asks which targets with a schedule of their own are due."""
JOURNAL_SCHEDULE: Final = "journal"
"""The job of the rule that asks which journals are due; without the parameter Journal there is none."""
_ENDINGS: Final = {
    TargetKind.DATABASE: "-databases",
    TargetKind.BUCKET: "-buckets",
    TargetKind.SETTINGS: "-buckets",
    TargetKind.REPOSITORY: "-buckets",
}


class Schedule(FrozenModel):
    """A rule that starts a job: `daily-databases`, `weekly-drill`. `next_at` is unknown when the expression does not
    say it."""

    job: str
    rule: str
    state: Literal["enabled", "disabled", "missing"]
    expression: str | None = None
    next_at: datetime | None = None

    @property
    def starts_backups(self) -> bool:
        """Whether it starts backups of anything."""
        return self.job == OWN_SCHEDULES or self.job.endswith(tuple(_ENDINGS.values()))

    def starts_backups_of(self, one: TargetFacts | TargetStatus) -> bool:
        """Whether it starts backups of a target: the template's rules leave those with a schedule of their own out."""
        if self.job == OWN_SCHEDULES:
            return one.has_own_schedule
        return self.job.endswith(_ENDINGS[one.kind]) and not one.has_own_schedule

    def is_about(self, one: TargetFacts) -> bool:
        """Whether a target lacks something when it does not fire."""
        if self.job == JOURNAL_SCHEDULE:
            return isinstance(one.target, DatabaseTarget) and one.target.journal is not None
        return self.starts_backups_of(one) or not self.starts_backups


@dataclass(frozen=True)
class TargetFacts:
    """What is known of one target.

    Parameters
    ----------
    target
        None for a vault alone, which has no configuration.
    recent
        The newest runs, the last id first.
    good, verified
        The newest healthy backup, and the newest one that is verified too.
    first_at
        When the first backup on record began; only read when nothing was ever verified or drilled.
    unread
        Why its records could not be read; None: they were.
    """

    name: str
    kind: TargetKind
    target: AnyTarget | None = None
    recent: tuple[Backup, ...] = ()
    good: Backup | None = None
    verified: Backup | None = None
    first_at: datetime | None = None
    drill: DrillSummary | None = None
    rehearsal: Rehearsal | None = None
    recipients: tuple[str, ...] = ()
    objective: Objective = field(default_factory=Objective)
    unread: str | None = None

    @property
    def has_own_schedule(self) -> bool:
        """Whether its configuration has a schedule, in place of the template's rules."""
        return self.target is not None and self.target.schedule is not None


@dataclass(frozen=True)
class CopyFacts:
    """What is recorded of one copy of the vault.

    Parameters
    ----------
    targets
        Those of which it has backups.
    copies
        The newest records, by the backup's id.
    older
        Backups that are none of their targets' newest runs: the newest ones of which the copy is good.
    """

    destination: Destination
    targets: tuple[str, ...]
    copies: Mapping[str, Copy] = field(default_factory=dict)
    older: tuple[Backup, ...] = ()

    def backups_of(self, target: TargetFacts) -> tuple[Backup, ...]:
        """Return the backups of a target by which the copy is judged."""
        good = () if target.good is None or target.good in target.recent else (target.good,)
        return (*target.recent, *good, *(one for one in self.older if one.target == target.name))


@dataclass(frozen=True)
class Facts:
    """What is known of all targets. `first_used` says since when each key has been in use, `opened` when its private
    key was last seen to open a backup (`coffre keys check`).

    `journals` are by target. What is `unread` is empty here. `has_stack` is False for a vault alone, of which nothing
    but its backups is known.
    """

    now: datetime
    targets: tuple[TargetFacts, ...]
    alerts: tuple[OpenAlert, ...] = ()
    schedules: tuple[Schedule, ...] = ()
    vault: VaultUse | None = None
    cost: Spent | None = None
    first_used: Mapping[str, datetime] = field(default_factory=dict)
    opened: Mapping[str, datetime] = field(default_factory=dict)
    checkups: tuple[CheckupSummary, ...] = ()
    copies: tuple[CopyFacts, ...] = ()
    journals: Mapping[str, JournalState] = field(default_factory=dict)
    unread: tuple[Unread, ...] = ()
    has_stack: bool = True

    @property
    def names(self) -> tuple[str, ...]:
        """The names of all targets."""
        return tuple(target.name for target in self.targets)

    def is_read(self, source: Source) -> bool:
        """Whether something could be read."""
        return all(one.what is not source for one in self.unread)
