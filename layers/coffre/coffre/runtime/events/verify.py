"""The event of the function `verify`."""

from __future__ import annotations

from typing import Any, Literal, Self

from pydantic import Field, model_validator

from coffre.model.copies import DestinationName
from coffre.model.target import TargetName
from coffre.model.verification import Level
from coffre.runtime.events.event import SentEvent, Ulid


class VerifyEvent(SentEvent):
    """Verify backups at one level (docs/verification.md): of every target, of one, or (not `fresh`) one backup.

    `doctor` asks the functions that back up what they see there, and waits for none (docs/doctor.md).

    `report` keeps and sends the report of the week (docs/report.md).

    `share` is of what the level looks closely at: packs whose checksums are compared (`inventory`), packs that are read
    (`read` of a target). Another share is taken each day. `at` is the name of a copy of the vault: `inventory` and
    `read` then look there.
    """

    level: Literal[Level.FRESH, Level.INVENTORY, Level.READ, Level.DOCTOR, Level.REPORT]
    target: TargetName | None = None
    backup_id: Ulid | None = None
    share: float | None = Field(default=None, gt=0, le=1)
    at: DestinationName | None = None

    @model_validator(mode="after")
    def _fields_fit_the_level(self) -> Self:
        if self.level is Level.REPORT and self.target is not None:
            raise ValueError("a report is about all targets")
        is_about_targets = self.level in (Level.FRESH, Level.DOCTOR, Level.REPORT)
        if self.backup_id is not None and (is_about_targets or self.target is not None):
            raise ValueError("backup_id goes with inventory and read, and without a target")
        if self.share is not None and (is_about_targets or (self.level is Level.READ and self.backup_id is not None)):
            raise ValueError("share goes with inventory, and with read of a target: of one backup all is read")
        if self.at is not None and is_about_targets:
            raise ValueError("at goes with inventory and read; fresh looks at every copy")
        return self

    def for_copy(self, name: str) -> dict[str, Any]:
        """Return the event that starts one copy's own invocation."""
        return self.model_copy(update={"at": name}).model_dump(mode="json", exclude_defaults=True)

    def for_target(self, target: str) -> dict[str, Any]:
        """Return the event that starts one target's own invocation."""
        changed = self.model_copy(update={"target": target})
        return changed.model_dump(mode="json", exclude_defaults=True)
