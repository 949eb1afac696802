"""What `coffre doctor` found: each check's result, and all of one look at a target."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import datetime
from enum import StrEnum
from typing import Final, Literal

from pydantic import field_validator

from coffre.model.document import FrozenModel
from coffre.model.names import visible

VERSION: Final = 1
"""Of the JSON that `--json` prints and the catalog keeps."""


class Severity(StrEnum):
    """How bad a finding is.

    `BLOCKER`: no backup, or none that restores. `WARNING`: a backup that lacks something, or soon none. `NOTE`: worth
    knowing; nothing has to be done.
    """

    BLOCKER = "blocker"
    WARNING = "warning"
    NOTE = "note"

    @property
    def rank(self) -> int:
        """0 is the worst."""
        return list(Severity).index(self)


class State(StrEnum):
    """Whether a check found something. `COULD_NOT_LOOK` is never taken for `OK`."""

    OK = "ok"
    FINDING = "finding"
    COULD_NOT_LOOK = "could_not_look"


class CheckResult(FrozenModel):
    """What one check said.

    `subject` is what it is about, if that is less than the target. `evidence` is what was seen, `cure` the command or
    SQL to paste, `docs` the file and anchor of the section about the code. Invisible characters of names are written
    out.
    """

    code: str
    severity: Severity
    state: State
    subject: str | None = None
    sentence: str
    evidence: str | None = None
    cure: str | None = None
    docs: str

    @field_validator("subject", "sentence", "evidence", "cure")
    @classmethod
    def _is_visible(cls, text: str | None) -> str | None:
        return visible(text, breaks=True) if text else text

    @property
    def is_blocker(self) -> bool:
        """Whether backups do not work, or do not restore."""
        return self.state is State.FINDING and self.severity is Severity.BLOCKER


class Checkup(FrozenModel):
    """One look at a target, or (`target` is None) at what all targets share. The results come worst first."""

    version: Literal[1] = VERSION
    at: datetime
    target: str | None
    results: tuple[CheckResult, ...] = ()

    @classmethod
    def of(cls, at: datetime, target: str | None, results: Iterable[CheckResult]) -> Checkup:
        """Put results in order."""
        return cls(at=at, target=target, results=tuple(sorted(results, key=_order)))

    @property
    def blockers(self) -> tuple[CheckResult, ...]:
        """The findings that prevent backups or restores."""
        return tuple(one for one in self.results if one.is_blocker)

    @property
    def warnings(self) -> tuple[CheckResult, ...]:
        """The findings that are warnings."""
        return tuple(one for one in self.findings if one.severity is Severity.WARNING)

    @property
    def findings(self) -> tuple[CheckResult, ...]:
        """Everything that was found."""
        return tuple(one for one in self.results if one.state is State.FINDING)

    @property
    def unseen(self) -> tuple[CheckResult, ...]:
        """The checks that could not look."""
        return tuple(one for one in self.results if one.state is State.COULD_NOT_LOOK)

    @property
    def is_uncertain(self) -> bool:
        """Whether a blocker or a warning may exist that could not be looked for; one without any result is, too."""
        return not self.results or any(one.severity is not Severity.NOTE for one in self.unseen)


def _order(result: CheckResult) -> tuple[int, int, str, str]:
    states = (State.FINDING, State.COULD_NOT_LOOK, State.OK)
    return states.index(result.state), result.severity.rank, result.code, result.subject or ""
