"""What `coffre doctor` found (docs/doctor.md)."""

from __future__ import annotations

from datetime import datetime
from enum import StrEnum

from pydantic import BaseModel, ConfigDict


class Severity(StrEnum):
    """How bad a finding is: backups or restores fail or are in danger; it will hurt later; worth knowing."""

    BLOCKER = "blocker"
    WARNING = "warning"
    NOTE = "note"


class State(StrEnum):
    """What a check says. What could not be looked at is never taken for fine."""

    OK = "ok"
    FINDING = "finding"
    COULD_NOT_LOOK = "could_not_look"


class CheckResult(BaseModel):
    """What one check says about one thing (`subject`): a sentence, what was seen, and what cures it.

    `code` is stable; `docs` is the section that explains it.
    """

    model_config = ConfigDict(frozen=True)

    code: str
    severity: Severity
    state: State
    subject: str | None = None
    sentence: str
    evidence: str
    cure: str | None = None
    docs: str


class Checkup(BaseModel):
    """Everything that was looked at: of one target, or (`target` is None) of the stack."""

    model_config = ConfigDict(frozen=True)

    version: int = 1
    at: datetime
    target: str | None
    results: tuple[CheckResult, ...]
