"""Whether targets are safe: the answer with its reasons (`status_facts` has what it is decided from)."""

from __future__ import annotations

from datetime import datetime, timedelta
from enum import StrEnum
from typing import TYPE_CHECKING, Literal

from pydantic import Field

from coffre.model.document import FrozenModel
from coffre.model.drill import DrillSummary, Rehearsal
from coffre.model.kinds import TargetKind
from coffre.model.objectives import Objective
from coffre.model.status_facts import (
    CheckupSummary,
    OpenAlert,
    Schedule,
    Unread,
)
from coffre.model.usage import Spent
from coffre.model.vault_use import VaultUse

if TYPE_CHECKING:
    pass


class Standing(StrEnum):
    """SAFE: everything was looked at, and nothing is wrong. UNKNOWN: nothing is known to be wrong."""

    SAFE = "safe"
    NOT_SAFE = "not_safe"
    UNKNOWN = "unknown"


class Reason(FrozenModel):
    """Why targets are not safe, or why that is unknown; `cure` is a command or the page that says what to do."""

    code: str
    standing: Literal[Standing.NOT_SAFE, Standing.UNKNOWN]
    targets: tuple[str, ...]
    sentence: str
    cure: str | None = None


class Gap(FrozenModel):
    """The time between two consecutive good backups: what would have been lost, at most, by a failure in it."""

    since: datetime
    until: datetime

    @property
    def length(self) -> timedelta:
        """How long it is."""
        return self.until - self.since


class Measured(FrozenModel):
    """What happened to one target, next to its objectives.

    `age` is that of the newest good backup, `worst` the longest gap. `rpo_missed` and `rto_missed` are None when there
    is no objective, or nothing was measured.
    """

    objective: Objective
    age: timedelta | None = None
    worst: Gap | None = None
    restore_seconds: float | None = None
    restored_at: datetime | None = None
    rpo_missed: bool | None = None
    rto_missed: bool | None = None


class TargetStatus(FrozenModel):
    """One target. Times are UTC, sizes bytes of plaintext but for `stored_bytes`; None: there is none, or unknown.

    `age_hours` is that of the newest good backup, and `limit_hours` what it may be. `sizes` are those of the last
    completed backups, the oldest first. `verified_at` is when, `keys_since` since when the first of `recipients` has
    been in use, and `keys_opened` when the private key of each was last tried with success. `measured` is about the
    newest runs alone; None without objectives.
    """

    name: str
    kind: TargetKind
    standing: Standing
    last_backup: str | None = None
    last_backup_at: datetime | None = None
    age_hours: float | None = None
    limit_hours: float | None = None
    running_since: datetime | None = None
    verified_at: datetime | None = None
    drill: DrillSummary | None = None
    rehearsal: Rehearsal | None = None
    size_bytes: int | None = None
    stored_bytes: int | None = None
    sizes: tuple[int, ...] = ()
    has_own_schedule: bool = False
    next_run_at: datetime | None = None
    recipients: tuple[str, ...] = ()
    keys_since: datetime | None = None
    keys_opened: dict[str, datetime | None] = Field({})
    measured: Measured | None = None


class CopyState(FrozenModel):
    """One copy of the vault: `sentence` says that it is complete and since when it is verified, or what is missing.

    `verified_at` is when the newest backup of each target was found complete there: of the target that was looked at
    the longest ago.
    """

    name: str
    standing: Standing
    sentence: str
    verified_at: datetime | None = None


class JournalStatus(FrozenModel):
    """The journal of one target. `until` is the newest moment that can be restored (None: none is known), and
    `lag_seconds` its age. `window_days` is how far back moments are kept. `problem` says what is wrong; None: nothing.
    """

    target: str
    until: datetime | None = None
    lag_seconds: float | None = None
    window_days: int
    retained_bytes: int = 0
    problem: str | None = None


class StatusReport(FrozenModel):
    """The answer. `version` changes when a field goes, or means something else."""

    version: Literal[1] = 1
    at: datetime
    standing: Standing
    headline: str
    reasons: tuple[Reason, ...] = ()
    targets: tuple[TargetStatus, ...] = ()
    alerts: tuple[OpenAlert, ...] = ()
    schedules: tuple[Schedule, ...] = ()
    vault: VaultUse | None = None
    saved_bytes: int | None = None
    cost: Spent | None = None
    checkups: tuple[CheckupSummary, ...] = ()
    copies: tuple[CopyState, ...] = ()
    journals: tuple[JournalStatus, ...] = ()
    unread: tuple[Unread, ...] = ()
