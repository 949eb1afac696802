"""Facts about backups, verifications and drills."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Final

from tests.unit.policy.checks.bench import Fixture

from coffre.model.kinds import TargetKind
from coffre.policy.checks.check import Facts, facts_of
from coffre.policy.checks.history_facts import DrillSeen, NewestBackup, Proofs

NOW: Final = datetime(2026, 11, 28, 12, tzinfo=UTC)
NEWEST: Final = NewestBackup("main", TargetKind.DATABASE, NOW - timedelta(hours=9))
DRILL: Final = DrillSeen("passed", NOW - timedelta(days=13), "01K9X000000000000000000000")
PROOFS: Final = Proofs("main", NOW, NOW - timedelta(hours=8), 192, DRILL)

HEALTHY: Final[Facts] = facts_of(NEWEST, PROOFS)
FIXTURES: Final = (
    Fixture("NO_BACKUP", provokes=(replace(NEWEST, at=None),), spares=(NEWEST,)),
    Fixture(
        "NO_VERIFIED_BACKUP",
        provokes=(replace(PROOFS, verified_at=NOW - timedelta(hours=193)),),
        spares=(replace(PROOFS, verified_at=NOW - timedelta(hours=192)),),
    ),
    Fixture(
        "DRILL_NEVER_RUN",
        provokes=(replace(PROOFS, drill=None),),
        spares=(replace(PROOFS, drill=None, drills_off=True),),
    ),
    Fixture(
        "DRILL_FAILING",
        provokes=(replace(PROOFS, drill=replace(DRILL, outcome="failed", problem="Rows differ.")),),
        spares=(replace(PROOFS, drill=replace(DRILL, outcome="incomplete")),),
    ),
    Fixture(
        "DRILL_STALE",
        provokes=(replace(PROOFS, drill=replace(DRILL, completed_at=NOW - timedelta(days=15))),),
        spares=(replace(PROOFS, drill=replace(DRILL, completed_at=NOW - timedelta(days=14))),),
    ),
)
