"""Facts that a service was asked for: each is known, or it is known why not."""

from __future__ import annotations

from dataclasses import dataclass

from coffre.policy.checks.check import Unread


@dataclass(frozen=True, slots=True)
class Refused:
    """An answer that did not come.

    Attributes
    ----------
    action
        The IAM action of the call, such as `s3:GetBucketVersioning`.
    why
        The other side's words.
    is_denied
        The caller lacks the permission `action`; otherwise the call failed in another way.
    """

    action: str
    why: str
    is_denied: bool = False

    def unread(self, what: str) -> Unread:
        """Return that a check could not look, with the permission that it takes. `what` begins the sentence."""
        if self.is_denied:
            return Unread(f"{what} could not be read: {self.action} was denied to the caller ({self.why}).")
        return Unread(f"{what} could not be read with {self.action}: {self.why}")


type Answer[T] = T | Refused


@dataclass(frozen=True, slots=True)
class Trouble:
    """An error of Coffre's as a fact: its stable code, the message, and what to do."""

    code: str
    message: str
    hint: str | None = None

    def __str__(self) -> str:
        return f"{self.code}: {self.message}"
