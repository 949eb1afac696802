"""Facts about objectives."""

from __future__ import annotations

from typing import Final

from tests.unit.policy.checks.bench import Fixture

from coffre.policy.checks.check import Facts, facts_of
from coffre.policy.checks.objectives import ObjectivesFacts

HEALTHY: Final[Facts] = facts_of(ObjectivesFacts({}))
FIXTURES: Final = (
    Fixture(
        "OBJECTIVE_UNREACHABLE",
        provokes=(ObjectivesFacts({"shop": "shop is backed up every 24 h at most, and may lose 1 h."}),),
        spares=(ObjectivesFacts({}),),
    ),
)
