"""One thing that a check can say: its code, how bad it is, and the result in each of its three states."""

from __future__ import annotations

from dataclasses import dataclass

from coffre.model.checkup import CheckResult, Severity, State
from coffre.policy.checks.answers import Refused


@dataclass(frozen=True, slots=True)
class Code:
    """A stable code with its severity; docs/doctor.md has a section of the same name."""

    name: str
    severity: Severity

    def ok(self, sentence: str, evidence: str, subject: str | None = None) -> CheckResult:
        """Return that nothing is wrong, with what was seen."""
        return self._result(State.OK, sentence, evidence, None, subject)

    def found(self, sentence: str, evidence: str, cure: str, subject: str | None = None) -> CheckResult:
        """Return that it is wrong, with what was seen and what cures it."""
        return self._result(State.FINDING, sentence, evidence, cure, subject)

    def unseen(self, what: str, refused: Refused, subject: str | None = None) -> CheckResult:
        """Return that it could not be looked at. `what` begins the sentence, such as `Versioning of the vault`."""
        if refused.is_denied:
            cure = f"Allow {refused.action} to the identity that was denied it, then run coffre doctor again."
        else:
            cure = f"The call needs {refused.action}. Correct what the answer says, then run coffre doctor again."
        return self._result(State.COULD_NOT_LOOK, f"{what} could not be read.", refused.why, cure, subject)

    def _result(self, state: State, sentence: str, evidence: str, cure: str | None, subject: str | None) -> CheckResult:
        return CheckResult(
            code=self.name,
            severity=self.severity,
            state=state,
            subject=subject,
            sentence=sentence,
            evidence=evidence,
            cure=cure,
            docs=f"docs/doctor.md#{self.name.lower()}",
        )


def blocker(name: str) -> Code:
    """Return the code of something without which backups or restores do not work, or are in danger."""
    return Code(name, Severity.BLOCKER)


def warning(name: str) -> Code:
    """Return the code of something that will hurt later, or makes a bad day worse."""
    return Code(name, Severity.WARNING)


def note(name: str) -> Code:
    """Return the code of something worth knowing."""
    return Code(name, Severity.NOTE)
