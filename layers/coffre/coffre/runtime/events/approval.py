"""The event that approves a plan: `restore` and `rotate` take it."""

from __future__ import annotations

from pydantic import Field

from coffre.runtime.events.event import Event, SentEvent


class ApprovedPlan(Event):
    """The plan that is approved: its id, and its hash as it was shown."""

    plan: str = Field(pattern=r"^[0-9a-f]{64}$", description="the id of a plan")
    sha256: str = Field(pattern=r"^[0-9a-f]{64}$", description="the hash of a plan")


class ApprovalEvent(SentEvent):
    """Approve a plan of another person (docs/confirmation.md)."""

    approve: ApprovedPlan
