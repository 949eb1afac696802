"""The events that state machines send for a backup that several invocations take together."""

from __future__ import annotations

from typing import Literal, Self

from pydantic import Field, model_validator

from coffre.model.target import TargetName
from coffre.runtime.events.event import Event, Ulid


class PlanReference(Event):
    """Where the plan of a spread backup is: `bucket` and `key` of its list of groups, one JSON line each.

    `sha256` is that of the plan's header, which has the hashes of all other files of the plan.
    """

    bucket: str = Field(min_length=1)
    key: str = Field(min_length=1)
    sha256: str = Field(pattern=r"^[0-9a-f]{64}$", description="a SHA-256 in hexadecimal")


class CaughtError(Event):
    """What a state machine caught: the name of the error, and its text."""

    error: str = Field(default="", alias="Error")
    cause: str = Field(default="", alias="Cause", repr=False)


class SpreadStepEvent(Event):
    """One step of a backup that is spread over several invocations (docs/adr/0046): the state machine sends it.

    `hold` keeps the snapshot alive as holder `a` or `b`, until its time is over or the run is; `work` stores one
    group of parts; `seal` commits the backup; `settle` ends a run that failed or was stopped, whose error is `caught`.
    """

    step: Literal["hold", "work", "seal", "settle"]
    target: TargetName
    backup_id: Ulid
    plan: PlanReference
    holder: Literal["a", "b"] | None = None
    group: int | None = Field(default=None, ge=0)
    caught: CaughtError | None = None

    @model_validator(mode="after")
    def _fields_fit_the_step(self) -> Self:
        if (self.step == "hold") != (self.holder is not None):
            raise ValueError("holder goes with the step hold")
        if (self.step == "work") != (self.group is not None):
            raise ValueError("group goes with the step work")
        if self.caught is not None and self.step != "settle":
            raise ValueError("caught goes with the step settle")
        return self


class RangeStepEvent(SpreadStepEvent):
    """One step of a backup of buckets that several functions take together (docs/adr/0060): the state machine sends it.

    `work` stores one range of names of the list `ranges`; `seal` divides what is not stored into the next list, or
    commits the backup; `settle` is as that of a database. `plan` is the plan's header.
    """

    ranges: PlanReference | None = None

    @model_validator(mode="after")
    def _ranges_fit_the_step(self) -> Self:
        if self.step == "hold":
            raise ValueError("a backup of buckets has no step hold")
        if self.step == "work" and self.ranges is None:
            raise ValueError("ranges goes with the step work")
        return self


class SpreadStoppedEvent(Event):
    """The state machine of the backup with the id `stopped` has ended with this status: by a person, or by an error."""

    stopped: Ulid
    status: Literal["ABORTED", "TIMED_OUT", "FAILED"]
