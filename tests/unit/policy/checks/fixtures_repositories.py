"""Facts about the repositories of a target."""

from __future__ import annotations

from typing import Final

from tests.unit.policy.checks.bench import Fixture

from coffre.policy.checks.answers import Trouble
from coffre.policy.checks.check import Facts, facts_of
from coffre.policy.checks.repositories import RepositoryFacts

REFUSED: Final = Trouble("TOKEN_REFUSED", "It was refused.", "Make a new one.")

HEALTHY: Final[Facts] = facts_of(RepositoryFacts())
FIXTURES: Final = (
    Fixture(
        "REPOSITORY_UNREADABLE",
        provokes=(RepositoryFacts(listed=REFUSED), RepositoryFacts(unread=(("github.com/acme/web.git", REFUSED),))),
        spares=(RepositoryFacts(),),
    ),
)
