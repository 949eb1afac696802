"""The event of the function `drill`."""

from __future__ import annotations

from typing import Annotated, Any, Final, Self

from pydantic import Field, model_validator

from coffre.model.copies import DestinationName
from coffre.model.document import Document
from coffre.model.drill_report import DrillState
from coffre.model.target import TargetName
from coffre.runtime.events.event import SentEvent, Ulid

# A month: no recovery that is measured takes longer.
_REHEARSAL_SECONDS: Final = 31 * 86_400


class Rehearsed(Document):
    """A rehearsal of a recovery: its id, and by target the seconds until it was restored and checked."""

    id: Ulid
    seconds: dict[TargetName, Annotated[float, Field(ge=0, le=_REHEARSAL_SECONDS)]] = Field(min_length=1)


class DrillEvent(SentEvent):
    """Restore a backup, or some of its objects, and prove it: the one of this id, or the newest of a target.

    With neither, the newest of every target, each in an invocation of its own.
    `from` names a destination of `copies`: its bytes are restored in place of the vault's. `rehearse` does that from
    the first destination that has a copy, as a recovery would; a target without copies is restored from the vault.
    `rehearsed` drills nothing: it notes how long a rehearsal on another machine took (`coffre recover --rehearse`).
    The function continues a drill of several invocations by `drill_id`, `invocation` and `state_sha256`.
    """

    target: TargetName | None = None
    backup_id: Ulid | None = None
    from_: DestinationName | None = Field(default=None, alias="from")
    rehearse: bool = False
    rehearsed: Rehearsed | None = None
    drill_id: Ulid | None = None
    invocation: int = Field(default=1, ge=1, le=1000)
    state_sha256: str | None = Field(default=None, pattern=r"^[0-9a-f]{64}$")

    @model_validator(mode="after")
    def _notes_or_drills(self) -> Self:
        if self.rehearsed is not None and (self.target or self.backup_id or self.from_ or self.rehearse):
            raise ValueError("rehearsed is noted, and nothing is drilled: it goes with no other field")
        return self

    @model_validator(mode="after")
    def _continues_one_drill(self) -> Self:
        given = {self.drill_id is not None, self.invocation > 1, self.state_sha256 is not None}
        if len(given) > 1 or (True in given and self.backup_id is None):
            raise ValueError(
                "drill_id, invocation and state_sha256 go together, with backup_id: the function itself sends them"
            )
        return self

    def next_invocation(self, state: DrillState, sha256: str, copy: str | None) -> dict[str, Any]:
        """Return the event with which a drill continues: from its state, which has this hash, and from its copy."""
        names = {"target": state.target, "backup_id": state.backup_id, "from_": copy, "rehearse": False}
        more = {"drill_id": state.id, "invocation": state.invocation, "state_sha256": sha256}
        changed = self.model_copy(update={**names, **more})
        return changed.model_dump(mode="json", exclude_defaults=True, by_alias=True)

    @model_validator(mode="after")
    def _reads_one_place(self) -> Self:
        if self.from_ is not None and self.rehearse:
            raise ValueError("from and rehearse exclude each other: rehearse chooses the copy itself")
        return self

    def for_target(self, target: str) -> dict[str, Any]:
        """Return the event that starts one target's own invocation."""
        changed = self.model_copy(update={"target": target})
        return changed.model_dump(mode="json", exclude_defaults=True, by_alias=True)
