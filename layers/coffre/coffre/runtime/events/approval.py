"""The event that approves a plan: `restore` and `rotate` take it."""

from __future__ import annotations

from typing import Final

from pydantic import Field

from coffre.runtime.events.event import Event, SentEvent

LONGEST_REASON: Final = 256


class ApprovedPlan(Event):
    """The plan that is approved: its id, and its hash as it was shown. With a reason in `decline` it is declined."""

    plan: str = Field(pattern=r"^[0-9a-f]{64}$", description="the id of a plan")
    sha256: str = Field(pattern=r"^[0-9a-f]{64}$", description="the hash of a plan")
    decline: str | None = Field(
        default=None, min_length=1, max_length=LONGEST_REASON, pattern=r"^[^\x00-\x1f\x7f-\x9f]+$"
    )


class ApprovalEvent(SentEvent):
    """Approve a plan of another person, or decline one (docs/confirmation.md)."""

    approve: ApprovedPlan
