"""The event of the function `journal`."""

from __future__ import annotations

from typing import Any, Self

from pydantic import model_validator

from coffre.model.target import TargetName
from coffre.runtime.events.event import SentEvent, Utc


class JournalEvent(SentEvent):
    """Store what changed in one database, or in every one that has a journal when none is named.

    `scheduled_time` is the time of a tick: only the journals that are due then are drained. `guard` stores nothing: it
    drops a slot whose WAL is a danger to its server. Both switch off what the configuration has no more. `off` drops
    the slot of a target that has no journal any more.
    """

    target: TargetName | None = None
    scheduled_time: Utc | None = None
    guard: bool = False
    off: bool = False

    @model_validator(mode="after")
    def _one_thing_is_asked(self) -> Self:
        if self.scheduled_time is not None and (self.target is not None or self.guard or self.off):
            raise ValueError("scheduled_time goes alone: schedules say what is due")
        if self.off and (self.target is None or self.guard):
            raise ValueError("off needs a target, and goes without guard")
        return self

    def for_target(self, target: str, *, off: bool = False) -> dict[str, Any]:
        """Return the event that starts one target's own invocation."""
        guard = self.guard and not off
        changed = self.model_copy(update={"target": target, "scheduled_time": None, "guard": guard, "off": off})
        return changed.model_dump(mode="json", exclude_defaults=True)
