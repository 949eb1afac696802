"""A recovery after a disaster: its steps and how far each is. One document is the progress file and the report."""

from __future__ import annotations

from enum import StrEnum
from typing import Final, Literal

from pydantic import AwareDatetime, Field

from coffre.model.document import FrozenModel
from coffre.model.kinds import TargetKind

PROGRESS_FILE: Final = "recovery.json"
"""The name of the document in the working directory."""


class StepKind(StrEnum):
    """What a step does, in the order of doing: SAFETY backs up what a destination holds that is to be replaced.

    A step whose backups this command cannot restore (OTHER) is reported and left to a person.
    """

    SAFETY = "safety"
    SETTINGS = "settings"
    DATABASE = "database"
    BUCKET = "bucket"
    OTHER = "other"
    CHECKS = "checks"
    NOTIFY = "notify"


class StepState(StrEnum):
    """How far a step is. RUNNING in a progress file that no process works on: the process died in this step."""

    WAITING = "waiting"
    RUNNING = "running"
    DONE = "done"
    FAILED = "failed"
    LEFT_OUT = "left out"


class Step(FrozenModel):
    """One step of a recovery.

    Parameters
    ----------
    destination
        For a person: never a password.
    reference
        How the person named the destination: `env:NAME`, a file, `secret:NAME`, `s3://BUCKET`, `directory:/PATH`.
    store
        The same for the description of a store that is not AWS.
    restore_id
        Of the restore: the same in each attempt, so that what an attempt left is recognized.
    replaces
        The destination is in use, and its contents are replaced; a SAFETY step, or another name, keeps them.
    is_new
        The destination did not exist when the plan was made.
    created_at, size_bytes
        Of the backup: since when its data is, and how much it is, uncompressed.
    expected_seconds, basis
        How long it should take, and what that is known from.
    names
        Of settings: what is done with each, a sentence with its name; never a value.
    kept
        Names of settings that an attempt has put back, or found as in the backup: no later attempt touches them.
    dangling
        Objects that rows of the restore point refer to and the backup lacks, a sentence each.
    whole
        Of a database that is complete although the step runs: which database that is. It has the step's results.
    problem
        Why it failed, or why it is left out, in a sentence.
    """

    name: str
    kind: StepKind
    target: str
    backup_id: str = ""
    manifest_sha256: str = ""
    created_at: AwareDatetime | None = None
    size_bytes: int = 0
    destination: str = ""
    reference: str = ""
    store: str | None = None
    restore_id: str = ""
    replaces: bool = False
    is_new: bool = False
    expected_seconds: float | None = None
    basis: str = ""
    missing: tuple[str, ...] = ()
    names: tuple[str, ...] = ()
    kept: tuple[str, ...] = ()
    dangling: tuple[str, ...] = ()
    state: StepState = StepState.WAITING
    attempts: int = 0
    started_at: AwareDatetime | None = None
    ended_at: AwareDatetime | None = None
    tables: int | None = None
    rows: int | None = None
    objects: int | None = None
    settings: int | None = None
    restored_bytes: int | None = None
    checks: tuple[str, ...] = ()
    exceptions: tuple[str, ...] = ()
    notes: tuple[str, ...] = ()
    whole: str | None = None
    problem: str | None = None

    @property
    def seconds(self) -> float | None:
        """How long the last attempt took."""
        if self.started_at is None or self.ended_at is None:
            return None
        return (self.ended_at - self.started_at).total_seconds()


class Recovery(FrozenModel):
    """The progress file of a recovery, and its report in the end. Nothing of it is secret.

    Parameters
    ----------
    copy_address, endpoint_url, region
        The copy of the vault that everything comes from.
    why
        Why this copy was chosen; `others` says what is known of the others, a sentence each.
    point
        The chosen restore point in a sentence; empty: the newest good backups. `points`: those that the copy has.
    identities
        Where the private keys are (a file, `env:NAME`), never a key.
    kit
        The folder of the recovery kit.
    safety
        The address of the vault with the backups of what is replaced.
    limit_seconds
        The time that the whole may take.
    confirmed_at
        None: the plan was shown and not confirmed.
    """

    format: Literal[1] = 1
    id: str
    coffre_version: str
    is_rehearsal: bool = False
    began_at: AwareDatetime
    confirmed_at: AwareDatetime | None = None
    ended_at: AwareDatetime | None = None
    resumed: int = Field(default=0, ge=0)
    copy_address: str
    endpoint_url: str | None = None
    region: str | None = None
    why: str = ""
    others: tuple[str, ...] = ()
    point: str = ""
    points: tuple[str, ...] = ()
    kit: str | None = None
    identities: tuple[str, ...] = ()
    contacts: tuple[str, ...] = ()
    safety: str | None = None
    limit_seconds: float | None = None
    steps: tuple[Step, ...] = ()

    @property
    def rto_seconds(self) -> float | None:
        """From the start of the command to the end of the last step; None before that."""
        return None if self.ended_at is None else (self.ended_at - self.began_at).total_seconds()

    @property
    def is_late(self) -> bool:
        """Whether it took longer than it may."""
        took = self.rto_seconds
        return took is not None and self.limit_seconds is not None and took > self.limit_seconds


KIND_OF: Final[dict[TargetKind, StepKind]] = {
    TargetKind.DATABASE: StepKind.DATABASE,
    TargetKind.BUCKET: StepKind.BUCKET,
    TargetKind.SETTINGS: StepKind.SETTINGS,
}
