"""What is known about the copies of the vault."""

from __future__ import annotations

from dataclasses import dataclass

from coffre.policy.checks.answers import Answer, Trouble


@dataclass(frozen=True, slots=True)
class CopyPlace:
    """One destination.

    Attributes
    ----------
    trouble
        Why it could not be opened or listed; None: it was.
    is_certain
        The trouble is the destination's, and not that of who looks: no other credentials or machine would do better.
    written
        Why nothing can be written there; None: it can, or that was not tried.
    locks
        Why it cannot lock as it is configured to; None: it can, or needs not.
    bucket
        Its bucket in AWS; None: it is elsewhere.
    versioning
        `Enabled`, `Suspended` or `Off`; None: it was not asked, as outside AWS.
    near
        What it shares with the vault, in words; None: nothing that is known.
    twin
        Another copy that is configured for the same place; None: it has its own.
    """

    name: str
    trouble: Trouble | None = None
    is_certain: bool = True
    written: Trouble | None = None
    locks: Trouble | None = None
    near: str | None = None
    twin: str | None = None
    bucket: str | None = None
    versioning: Answer[str] | None = None


@dataclass(frozen=True, slots=True)
class CopiesFacts:
    """All destinations of the configuration."""

    places: tuple[CopyPlace, ...]
