"""What a check is, and how checks are run over facts.

A check is a function from groups of facts to what it found. Each group is a frozen dataclass of its own; a check names
the groups that it needs, and gets them as its arguments.

A group is one of three things: read (the group itself), not read (`Unread` with the reason; every check that needs it
then says `could_not_look`), or absent, because it does not apply: a target of buckets has no server. Then the check is
not run.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Final

from coffre.model.checkup import CheckResult, Severity, State

_NAMES_SHOWN: Final = 10


@dataclass(frozen=True)
class Unread:
    """A group of facts that could not be read, or what a check could not decide; `why` is a sentence."""

    why: str


@dataclass(frozen=True)
class Finding:
    """What a check found. What is None is the check's own: its cure, its severity.

    Parameters
    ----------
    sentence
        What is wrong, and what follows from it.
    evidence
        The value that was seen.
    cure
        The command or SQL to paste, made for this case.
    subject
        What it is about, if a check has several findings.
    """

    sentence: str
    evidence: str | None = None
    cure: str | None = None
    subject: str | None = None
    severity: Severity | None = None


type Facts = Mapping[type, object]
"""Groups of facts by their type; the value is the group, or `Unread`."""

type Judge = Callable[..., Iterable[Finding | Unread]]


@dataclass(frozen=True)
class Check:
    """One named condition. `fine` is the sentence when it does not hold; `cure` says what to do when it does."""

    code: str
    severity: Severity
    needs: tuple[type, ...]
    fine: str
    cure: str
    judge: Judge

    @property
    def docs(self) -> str:
        """The section about it."""
        return f"docs/doctor.md#{self.code.lower()}"

    def run(self, facts: Facts) -> Iterator[CheckResult]:
        """Yield a result for each finding, or the one result that all is well; nothing if it does not apply."""
        groups = [facts.get(group) for group in self.needs]
        if None in groups:
            return
        unread = next((group for group in groups if isinstance(group, Unread)), None)
        found = [unread] if unread else list(self.judge(*groups))
        if not found:
            yield self._result(State.OK, self.severity, sentence=self.fine)
        for one in found:
            if isinstance(one, Unread):
                yield self._result(State.COULD_NOT_LOOK, self.severity, sentence=one.why)
            else:
                yield self._result(
                    State.FINDING,
                    one.severity or self.severity,
                    sentence=one.sentence,
                    subject=one.subject,
                    evidence=one.evidence,
                    cure=one.cure or self.cure,
                )

    def _result(self, state: State, severity: Severity, **texts: Any) -> CheckResult:
        return CheckResult(code=self.code, state=state, severity=severity, docs=self.docs, **texts)


def check(code: str, severity: Severity, *needs: type, fine: str, cure: str) -> Callable[[Judge], Check]:
    """Make a check of a function, which gets the groups of `needs` in this order."""
    return lambda judge: Check(code, severity, needs, fine, cure, judge)


def facts_of(*groups: object) -> dict[type, object]:
    """Return facts of groups that were read."""
    return {type(group): group for group in groups}


def names(found: Iterable[str], total: int | None = None) -> str:
    """Return names for a person: the first ten, and how many more (`total` are all)."""
    every = list(found)
    shown = every[:_NAMES_SHOWN]
    more = (len(every) if total is None else total) - len(shown)
    return f"{', '.join(shown)} and {more:,} more" if more > 0 else ", ".join(shown)
