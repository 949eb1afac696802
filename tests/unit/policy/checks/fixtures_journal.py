"""Facts about the server of a journal: a good one, and what provokes each code."""

from __future__ import annotations

from dataclasses import replace
from typing import Final

from tests.unit.policy.checks.bench import Fixture

from coffre.policy.checks.check import Facts, facts_of
from coffre.policy.checks.journal import JournalServer
from coffre.policy.checks.time_limit import Provider

_GIB: Final = 1 << 30
_SERVER: Final = JournalServer("logical", "backup", True, 3, 10, False, 8 * _GIB, 2 * _GIB)

HEALTHY: Final[Facts] = facts_of(_SERVER, Provider("postgresql", "db.example.com"))
FIXTURES: Final = (
    *(
        Fixture("JOURNAL_NOT_POSSIBLE", provokes=(replace(_SERVER, **bad),), spares=(replace(_SERVER, **good),))
        for bad, good in (
            ({"wal_level": "replica"}, {"wal_level": "logical"}),
            ({"may_replicate": False}, {"role": "another"}),
            ({"slots": 10}, {"slots": 10, "has_slot": True}),
            ({"is_standby": True}, {"large_objects": 0}),
            ({"slots": 8, "wanted_slots": 3}, {"slots": 8, "wanted_slots": 2}),
        )
    ),
    Fixture("JOURNAL_WAL_LIMIT", (replace(_SERVER, kept_bytes=None),), (_SERVER,)),
    Fixture("JOURNAL_WAL_LIMIT", (replace(_SERVER, kept_bytes=1 << 20),), (replace(_SERVER, kept_bytes=1 << 28),)),
    Fixture("JOURNAL_WAL_LIMIT", (replace(_SERVER, idle_seconds=60),), (replace(_SERVER, idle_seconds=900),)),
    *(
        Fixture(
            "JOURNAL_AWAKE",
            provokes=(Provider("neon", "ep-1.eu-central-1.aws.neon.tech"), replace(_SERVER, every_minutes=minutes)),
            spares=(Provider("supabase", "db.abc.supabase.co"), _SERVER),
            also=frozenset({"COMPUTE_SUSPENDS"}),
        )
        for minutes in (5, 60)
    ),
    Fixture("JOURNAL_NO_IDENTITY", (replace(_SERVER, without_identity=("public.log",)),), (_SERVER,)),
    Fixture("JOURNAL_LEFT_OUT", (replace(_SERVER, unlogged=("public.cache",)),), (_SERVER,)),
    Fixture("JOURNAL_LEFT_OUT", (replace(_SERVER, large_objects=1),), (_SERVER,)),
)
