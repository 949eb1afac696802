"""Checks of what is remembered of a target: backups, verifications, drills."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import datetime, timedelta
from typing import Final

from coffre.model.checkup import Severity
from coffre.policy.checks.answers import Trouble
from coffre.policy.checks.check import Finding, Unread, check
from coffre.policy.checks.history_facts import DrillSeen, NewestBackup, Proofs

DRILL_MAX_AGE: Final = timedelta(days=14)
"""Drills run weekly: when the newest is older, at least one did not happen."""
_RUNBOOKS: Final = {"failed": "DRILL_FAILED", "not_possible": "DRILL_NOT_POSSIBLE"}

type Found = Iterator[Finding | Unread]


@check(
    "NO_BACKUP",
    Severity.WARNING,
    NewestBackup,
    fine="The target has a good backup.",
    cure="Take one: coffre backup.",
)
def no_backup(newest: NewestBackup) -> Found:
    """Find a target without any good backup."""
    if newest.at is None:
        yield Finding(
            f"{newest.target} has no good backup.",
            "none in the catalog",
            f"coffre backup {newest.kind.word} {newest.target}",
        )


@check(
    "NO_VERIFIED_BACKUP",
    Severity.WARNING,
    Proofs,
    fine="A backup was verified recently.",
    cure="coffre verify --level read; and look at coffre alerts list, why the daily one does not run.",
)
def no_verified_backup(proofs: Proofs) -> Found:
    """Find a target none of whose backups was read back, or not for a long time."""
    limit = timedelta(hours=proofs.verified_within_hours)
    if proofs.verified_at is None:
        yield Finding(f"No backup of {proofs.target} was ever verified.", "none is marked as verified")
    elif (age := proofs.now - proofs.verified_at) > limit:
        yield Finding(
            f"No backup of {proofs.target} was verified for {span(age)}; at most {span(limit)} are expected.",
            f"the last on {moment(proofs.verified_at)}",
        )


@check(
    "DRILL_NEVER_RUN",
    Severity.WARNING,
    Proofs,
    fine="A backup was restored in a drill, or drills are switched off.",
    cure="Run one: coffre verify --level drill.",
)
def drill_never_run(proofs: Proofs) -> Found:
    """Find a target of which no backup was ever restored."""
    if isinstance(proofs.drill, Trouble):
        yield _unseen(proofs.drill)
    elif proofs.drill is None and not proofs.drills_off:
        yield Finding(
            f"No backup of {proofs.target} was ever restored in a drill.",
            "the vault has no report of one",
            _again(proofs),
        )


@check(
    "DRILL_FAILING",
    Severity.BLOCKER,
    Proofs,
    fine="The newest drill did not fail.",
    cure="Look at the report, and drill again: coffre verify --level drill.",
)
def drill_failing(proofs: Proofs) -> Found:
    """Find a target whose newest drill failed, or could not run."""
    drill = proofs.drill
    if isinstance(drill, Trouble):
        yield _unseen(drill)
    elif drill is not None and drill.outcome in _RUNBOOKS:
        yield Finding(
            f"The newest drill of {proofs.target} {'failed' if drill.outcome == 'failed' else 'could not run'}.",
            _described(drill),
            f"coffre report {drill.backup_id}; docs/runbooks/{_RUNBOOKS[drill.outcome]}.md; then {_again(proofs)}",
            severity=None if drill.outcome == "failed" else Severity.WARNING,
        )


@check(
    "DRILL_STALE",
    Severity.WARNING,
    Proofs,
    fine="No weekly drill was missed.",
    cure="Look whether the schedules WeeklyDrillRule and MonthlyDrillRule run, and drill now.",
)
def drill_stale(proofs: Proofs) -> Found:
    """Find a target whose newest drill is old."""
    if isinstance(proofs.drill, Trouble):
        yield _unseen(proofs.drill)
    elif proofs.drill is not None and not proofs.drills_off and proofs.now - proofs.drill.completed_at > DRILL_MAX_AGE:
        yield Finding(
            f"The newest drill of {proofs.target} is {span(proofs.now - proofs.drill.completed_at)} old; "
            "one runs every week.",
            _described(proofs.drill),
            _again(proofs),
        )


def _unseen(trouble: Trouble) -> Unread:
    return Unread(f"The reports of drills could not be read: {trouble}")


def _again(proofs: Proofs) -> str:
    return f"coffre verify --level drill --target {proofs.target}"


def _described(drill: DrillSeen) -> str:
    problem = f": {drill.problem}" if drill.problem else ""
    return f"{drill.outcome.replace('_', ' ')}, {moment(drill.completed_at)}, backup {drill.backup_id}{problem}"


def moment(at: datetime) -> str:
    """Return a time for a person."""
    return f"{at:%Y-%m-%d %H:%M} UTC"


def span(time: timedelta) -> str:
    """Return how long something is, in days or hours."""
    hours = int(time.total_seconds() // 3600)
    return f"{hours // 24} days" if hours >= 48 else f"{hours} hours"
