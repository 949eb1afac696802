"""Checks of the objectives against the schedules."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass

from coffre.model.checkup import Severity
from coffre.policy.checks.check import Finding, check


@dataclass(frozen=True, slots=True)
class ObjectivesFacts:
    """Which targets cannot meet their RPO even if every run is good, a sentence each (`coffre.policy.objectives`)."""

    unreachable: Mapping[str, str]


@check(
    "OBJECTIVE_UNREACHABLE",
    Severity.WARNING,
    ObjectivesFacts,
    fine="Every schedule can meet its objective.",
    cure="Back it up more often (schedule), or promise less (objectives): coffre config edit.",
)
def objective_unreachable(objectives: ObjectivesFacts) -> Iterator[Finding]:
    """Find objectives that no good run can meet."""
    for target, sentence in objectives.unreachable.items():
        yield Finding(sentence, subject=target)
