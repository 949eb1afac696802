"""Checks of the repositories that are backed up."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from coffre.model.checkup import Severity
from coffre.policy.checks.answers import Trouble
from coffre.policy.checks.check import Finding, check


@dataclass(frozen=True, slots=True)
class RepositoryFacts:
    """The repositories of a target as the backup function sees them.

    Attributes
    ----------
    listed
        What finding them raised; None: nothing.
    unread
        Names of repositories whose refs could not be read, each with what that raised.
    """

    listed: Trouble | None = None
    unread: tuple[tuple[str, Trouble], ...] = ()


@check(
    "REPOSITORY_UNREADABLE",
    Severity.BLOCKER,
    RepositoryFacts,
    fine="The repositories can be listed and read.",
    cure="Correct its URL, or the token in its secret. One that only your machine reaches is backed up with --here.",
)
def repository_unreadable(facts: RepositoryFacts) -> Iterator[Finding]:
    """Find repositories that the function may not list or read."""
    if facts.listed is not None:
        yield Finding("The repositories cannot be found.", str(facts.listed), facts.listed.hint)
    for name, trouble in facts.unread:
        yield Finding(f"{name} cannot be read.", str(trouble), trouble.hint, name)
