"""An open problem: what the catalog remembers of it, so that it is reported once and not every time."""

from __future__ import annotations

from datetime import datetime

from coffre.model.document import FrozenModel


class Incident(FrozenModel):
    """One problem: the same kind, target and fingerprint, from when it was first seen until it is over.

    `seen` is how often it was noticed since then. An invocation claims it before it sends the alert (`claimed_at`);
    `told_at` is when the alert was sent. `version` counts the changes of the record. `recorded` of the `seen` are in
    the audit since `recorded_at`, where it counts them.
    """

    target: str
    kind: str
    fingerprint: str
    subject: str
    since: datetime
    seen_at: datetime
    seen: int = 1
    claimed_at: datetime | None = None
    told_at: datetime | None = None
    ended_at: datetime | None = None
    version: int = 1
    recorded: int = 0
    recorded_at: datetime | None = None

    @property
    def is_open(self) -> bool:
        """Whether the problem is open."""
        return self.ended_at is None
