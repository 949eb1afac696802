"""Are all targets safe, and each of them."""

from __future__ import annotations

from datetime import datetime

from coffre.model.kinds import TargetKind
from coffre.model.status import Measured, Standing, StatusReport
from coffre_console.access.permissions import Permission
from coffre_console.api.answers import Shown, TargetName
from coffre_console.api.routes import ApiRoutes
from coffre_console.reading.overview import read_status

_TAG = "status"


class Target(Shown):
    """One target: how it stands, and the age of its newest good backup next to what it may be."""

    name: str
    kind: TargetKind
    standing: Standing
    last_backup: str | None
    last_backup_at: datetime | None
    age_hours: float | None
    limit_hours: float | None
    verified_at: datetime | None
    next_run_at: datetime | None
    size_bytes: int | None


class TargetList(Shown):
    """The targets that the caller may see."""

    targets: tuple[Target, ...]


class JournalStretch(Shown):
    """A stretch of a journal: the moments that can be restored (null: none), and why there are no later ones.

    Up to `rows_stored_to` there are moments of which it is not known whether definitions were changed before them.
    """

    interval: str
    restorable_from: datetime | None
    restorable_to: datetime | None
    rows_stored_to: datetime | None
    bases: tuple[str, ...]
    why: str


class TargetJournal(Shown):
    """The journal of a target: its stretches, the newest first, and what of it is damaged."""

    target: str
    stored_up_to: datetime | None
    stretches: tuple[JournalStretch, ...]
    damage: tuple[str, ...]


class Goal(Shown):
    """What happened to a target, next to its objectives; `measured` is absent for a target without objectives."""

    target: str
    measured: Measured | None


class GoalList(Shown):
    """The objectives of targets."""

    objectives: tuple[Goal, ...]


def register(routes: ApiRoutes) -> None:
    """Register the routes."""

    @routes.add("GET", "/api/v1/status", summary="Whether all targets are safe, and what is not", tag=_TAG)
    def status() -> StatusReport:
        visit = routes.visit
        return read_status(visit.source, visit.may())

    @routes.add("GET", "/api/v1/targets", summary="Targets, and how each stands", tag=_TAG)
    def targets() -> TargetList:
        visit = routes.visit
        found = read_status(visit.source, visit.may()).targets
        return TargetList(
            targets=tuple(
                Target.model_validate({name: getattr(one, name) for name in Target.model_fields}) for one in found
            )
        )

    @routes.add("GET", "/api/v1/targets/<target>/journal", summary="Which moments can be restored", tag=_TAG)
    def journal(target: TargetName) -> TargetJournal:
        from coffre_console.reading.journals import read_journal

        visit = routes.visit
        visit.target(target, Permission.READ)
        found = read_journal(visit.source, target)
        return TargetJournal(
            target=target,
            stored_up_to=found.stored_up_to,
            stretches=tuple(
                JournalStretch(
                    interval=one.interval.id,
                    restorable_from=one.since,
                    restorable_to=one.until,
                    rows_stored_to=one.tail_until,
                    bases=one.bases,
                    why=one.why,
                )
                for one in found.stretches
            ),
            damage=tuple(found.damage),
        )

    @routes.add("GET", "/api/v1/objectives", summary="What happened, next to the objectives", tag=_TAG)
    def objectives() -> GoalList:
        visit = routes.visit
        found = read_status(visit.source, visit.may()).targets
        return GoalList(objectives=tuple(Goal(target=one.name, measured=one.measured) for one in found))
