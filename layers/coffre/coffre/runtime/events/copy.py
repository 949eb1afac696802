"""The event of the function `copy`."""

from __future__ import annotations

from typing import Any, Self

from pydantic import ConfigDict, Field, model_validator

from coffre.model.copies import DestinationName
from coffre.model.document import Document
from coffre.model.target import TargetName
from coffre.runtime.events.event import SentEvent, Ulid


class CopiedElsewhere(Document):
    """Backups that a command has copied into a directory of the configuration, and found complete."""

    to: DestinationName
    backups: tuple[Ulid, ...] = Field(min_length=1, max_length=1000)


class CopyEvent(SentEvent):
    """Copy backups to the configured destinations: what is due of every target, or of one, or one backup, or `all`.

    `to` is one destination. `after` is the backup whose end started this. `continue` is for the function itself: this
    number of invocations did not finish. `doctor` copies nothing: it looks at every destination; with `probe` it may
    store a few bytes to know whether it can. `copied` copies nothing either: it records what a command has copied.
    """

    model_config = ConfigDict(serialize_by_alias=True, validate_by_name=True, validate_by_alias=True, defer_build=True)

    target: TargetName | None = None
    to: DestinationName | None = None
    backup_id: Ulid | None = None
    all: bool = False
    doctor: bool = False
    probe: bool = False
    copied: CopiedElsewhere | None = None
    after: Ulid | None = None
    after_invocations: int = Field(default=0, alias="continue", ge=0)

    @model_validator(mode="after")
    def _says_one_thing(self) -> Self:
        if self.backup_id is not None and (self.all or self.target is None):
            raise ValueError("backup_id goes with its target, and without all")
        if self.doctor and (self.target or self.to or self.all):
            raise ValueError("doctor looks at every destination: it goes with probe alone")
        if self.copied is not None and (self.target or self.to or self.all or self.doctor):
            raise ValueError("copied goes with no other field: it names its destination itself")
        if self.probe and not self.doctor:
            raise ValueError("probe goes with doctor")
        return self

    def of(self, target: str, to: str) -> dict[str, Any]:
        """Return the event that starts the invocation for one target and one destination."""
        changed = self.model_copy(update={"target": target, "to": to})
        return changed.model_dump(mode="json", exclude_defaults=True)
