"""Facts about keys."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta
from typing import Final

from tests.unit.policy.checks.bench import Fixture
from tests.unit.policy.checks.fixtures_history import NOW

from coffre.policy.checks.check import Facts, facts_of
from coffre.policy.checks.history_facts import KeyFacts

KEY: Final = "age1" + "q" * 58
SECOND: Final = "age1" + "p" * 58
KEYS: Final = KeyFacts(
    now=NOW,
    recipients={"main": (KEY, SECOND)},
    opened={KEY: NOW - timedelta(days=2), SECOND: NOW - timedelta(days=90)},
    used_since={KEY: NOW - timedelta(days=400), SECOND: NOW - timedelta(days=400)},
)

HEALTHY: Final[Facts] = facts_of(KEYS)
FIXTURES: Final = (
    Fixture(
        "KEY_ONE_RECIPIENT",
        provokes=(replace(KEYS, recipients={"main": (KEY,)}),),
        spares=(replace(KEYS, recipients={"main": (KEY, SECOND), "files": (SECOND, KEY)}),),
    ),
    Fixture(
        "KEY_NOT_TRIED",
        provokes=(replace(KEYS, opened={KEY: NOW, SECOND: NOW - timedelta(days=91)}),),
        spares=(replace(KEYS, opened={}, used_since={KEY: NOW - timedelta(days=90)}),),
    ),
    Fixture("KEY_IDENTITY_MISSING", provokes=(replace(KEYS, identity=False),), spares=(KEYS,)),
)
