"""Facts about the publication of a journal: a good one, and what provokes its code."""

from __future__ import annotations

from dataclasses import replace
from typing import Final

from tests.unit.policy.checks.bench import Fixture

from coffre.policy.checks.check import Facts, facts_of
from coffre.policy.checks.publication import JournalPublication

_GOOD: Final = JournalPublication("coffre", exists=True, why=None, all_tables=("public.orders",))

HEALTHY: Final[Facts] = facts_of(_GOOD)
FIXTURES: Final = tuple(
    Fixture("JOURNAL_PUBLICATION", provokes=(bad,), spares=(_GOOD,))
    for bad in (
        replace(_GOOD, exists=False, why="It does not exist."),
        replace(_GOOD, why="It has a part.", all_tables=()),
        replace(_GOOD, lacking=("public.orders",)),
        replace(_GOOD, keyless=("public.log",)),
        replace(_GOOD, failing=("public.log",)),
    )
)
