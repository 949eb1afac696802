"""Recovery objectives against what really happened: gaps between good backups, and how long the last restore took.

Pure: the caller gives the records and the time.
"""

from __future__ import annotations

from collections.abc import Iterable
from datetime import datetime, timedelta
from typing import Final

from coffre.model.any_target import AnyTarget
from coffre.model.backup import Backup
from coffre.model.configuration import Configuration
from coffre.model.drill import DrillSummary, Rehearsal
from coffre.model.kinds import Status
from coffre.model.objectives import Objective
from coffre.model.status import Gap, Measured
from coffre.model.words import span
from coffre.policy.freshness import usual_hours
from coffre.policy.schedule import next_run

WINDOW: Final = timedelta(days=30)
# Scheduled runs begin some seconds, and those of an own schedule up to a tick of five minutes, late.
_LATE: Final = timedelta(minutes=5)
_LATE_SHARE: Final = 10
# Enough to see a night, a weekend, and the end of a month.
_LOOKED_AHEAD: Final = timedelta(days=62)
_MOST_RUNS: Final = 2_000
_VERDICTS: Final = {None: ": not known", False: ": met", True: ": MISSED"}


def was_good(backup: Backup) -> bool:
    """Return whether a backup could be restored once it was complete. One that has expired since could be, too."""
    is_complete = backup.status is Status.COMPLETED or (
        backup.status is Status.DELETED and backup.completed_at is not None
    )
    return is_complete and backup.damaged_at is None and not backup.is_safety


def gaps(backups: Iterable[Backup], now: datetime, since: datetime) -> list[Gap]:
    """Return the times between consecutive good backups that end after `since`, in order; the last one ends now.

    What was before the first backup is no gap: nothing was protected yet.
    """
    times = sorted({one.created_at for one in backups if was_good(one) and one.created_at <= now})
    pairs = zip(times, [*times[1:], now], strict=True) if times else ()
    return [Gap(since=begin, until=end) for begin, end in pairs if end > since]


def measure(
    objective: Objective,
    backups: Iterable[Backup],
    drill: DrillSummary | None,
    now: datetime,
    since: datetime,
    rehearsal: Rehearsal | None = None,
) -> Measured:
    """Measure one target: the longest gap that ends after `since`, and the time of the last restore.

    That is the newer one of the drill, and of the rehearsal of a recovery, which counts all that a person waits for.
    """
    found = gaps(backups, now, since)
    worst = max(found, key=lambda gap: gap.length, default=None)
    seconds, at = _last_restore(drill, rehearsal)
    return Measured(
        objective=objective,
        age=found[-1].length if found else None,
        worst=worst,
        restore_seconds=seconds,
        restored_at=at,
        rpo_missed=_is_missed(objective, worst),
        rto_missed=_is_late(objective, seconds),
    )


def _last_restore(
    drill: DrillSummary | None, rehearsal: Rehearsal | None
) -> tuple[float, datetime] | tuple[None, None]:
    times = [(drill.completed_at, drill.restore_seconds)] if drill and drill.restore_seconds is not None else []
    if rehearsal is not None:
        times.append((rehearsal.completed_at, rehearsal.seconds))
    if not times:
        return None, None
    at, seconds = max(times)
    return seconds, at


def _is_missed(objective: Objective, worst: Gap | None) -> bool | None:
    """Return None when there is no objective, or nothing to measure."""
    if objective.rpo_minutes is None or worst is None:
        return None
    limit = timedelta(minutes=objective.rpo_minutes)
    return worst.length > limit + min(_LATE, limit / _LATE_SHARE)


def _is_late(objective: Objective, seconds: float | None) -> bool | None:
    if objective.rto_minutes is None or seconds is None:
        return None
    return seconds > max(1, objective.rto_minutes) * 60


def longest_pause(target: AnyTarget, now: datetime) -> timedelta | None:
    """Return the longest time between two scheduled runs; None: the schedule has no second run.

    Without a schedule of its own, `freshness.every_hours` says how often the template's rules start a backup.
    """
    if target.schedule is None:
        return timedelta(hours=usual_hours(target))
    longest, previous = None, next_run(target.schedule, now)
    for _ in range(_MOST_RUNS):
        following = next_run(target.schedule, previous) if previous is not None else None
        if previous is None or following is None:
            break
        longest = max(longest or timedelta(), following - previous)
        previous = following
        if following - now > _LOOKED_AHEAD:
            break
    return longest


def unreachable(configuration: Configuration, now: datetime) -> dict[str, str]:
    """Return by target, in a sentence, which schedules cannot meet their RPO even if every run is good."""
    found = {}
    for target in configuration.targets:
        minutes = configuration.objective_of(target).rpo_minutes
        pause = longest_pause(target, now) if minutes is not None else None
        if minutes is not None and pause is not None and pause > timedelta(minutes=minutes):
            found[target.name] = (
                f"{target.name} is backed up every {span(pause.total_seconds())} at most, "
                f"and may lose {span(minutes * 60)} (objectives): the schedule cannot meet that."
            )
    return found


def words_of(measured: Measured) -> list[str]:
    """Return what was measured against the objectives: `up to 2 h 5 min between backups (objective 1 h): MISSED`."""
    rpo, rto = measured.objective.rpo_minutes, measured.objective.rto_minutes
    lines = []
    if rpo is not None:
        lost = (
            f"up to {span(measured.worst.length.total_seconds())} between backups"
            if measured.worst
            else "no backup yet"
        )
        lines.append(f"{lost} (objective {span(rpo * 60)}){_VERDICTS[measured.rpo_missed]}")
    if rto is not None:
        took = measured.restore_seconds
        back = f"restored in {span(took)}" if took is not None else "no whole restore measured"
        limit = f"{span(rto * 60)}" if rto else "under a minute"
        lines.append(f"{back} (objective {limit}){_VERDICTS[measured.rto_missed]}")
    return lines
