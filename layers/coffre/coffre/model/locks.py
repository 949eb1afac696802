"""Locks of stored objects: S3 Object Lock's retention and legal hold (docs/immutability.md)."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum
from typing import Final

from coffre.model.document import FrozenModel


class LockMode(StrEnum):
    """Who can end a lock early: with `governance` a role that may bypass it, with `compliance` no one."""

    GOVERNANCE = "governance"
    COMPLIANCE = "compliance"


def stricter(one: LockMode, other: LockMode) -> LockMode:
    """Return the mode of an object that backups name with both: it may end no sooner than any of them says."""
    return LockMode.COMPLIANCE if LockMode.COMPLIANCE in (one, other) else LockMode.GOVERNANCE


@dataclass(frozen=True, slots=True)
class Lock:
    """Until `until` (UTC) no version of the object can be deleted or overwritten."""

    mode: LockMode
    until: datetime


class LockProgress(FrozenModel):
    """How many of a backup's objects rotations have locked until then, in batches.

    `refused` are the batches of which not every object was locked, each by the number of its first object. `done`
    counts them too.
    """

    until: datetime
    done: int = 0
    refused: tuple[int, ...] = ()


@dataclass(frozen=True, slots=True)
class LockState:
    """What protects an object: a lock, a legal hold (which has no end), both or neither."""

    lock: Lock | None = None
    held: bool = False

    def protects(self, until: datetime) -> bool:
        """Return whether the object stays at least until then."""
        return self.held or (self.lock is not None and self.lock.until >= until)

    def why_kept(self, now: datetime) -> str | None:
        """Return why the object cannot be deleted now, in words; None: it can."""
        if self.held:
            return "on legal hold"
        if self.lock is not None and self.lock.until > now:
            return f"locked until {self.lock.until:%Y-%m-%d %H:%M} UTC"
        return None


NO_LOCK: Final = LockState()
