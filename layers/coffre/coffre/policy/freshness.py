"""Is the newest backup of a target young enough? Pure decisions over the records of one target."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from datetime import datetime, timedelta
from typing import Final

from coffre.model.any_target import AnyTarget
from coffre.model.backup import Backup
from coffre.model.freshness import Check, Checked
from coffre.model.kinds import TargetKind
from coffre.policy.configured_since import Changed
from coffre.policy.recency import recency
from coffre.policy.schedule import last_run, next_run

_HOUR: Final = timedelta(hours=1)
_CLOCKS: Final = timedelta(minutes=1)  # by which a function's clock may be behind the time of its schedule
_EVERY_HOURS: Final = {
    TargetKind.DATABASE: 24.0,
    TargetKind.BUCKET: 168.0,
    TargetKind.SETTINGS: 24.0,
    TargetKind.REPOSITORY: 24.0,
}


def check_backup(
    target: AnyTarget,
    backups: Sequence[Backup],
    now: datetime,
    last_changed: Callable[[], Changed | None] = lambda: None,
) -> Check:
    """Decide whether the newest healthy backup is young enough; age counts from the instant whose data it holds.

    Parameters
    ----------
    last_changed
        Returns when the times of its backups were last changed, None if that is not known; asked only where it
        matters. A target that never had a backup is given time until its first one is due.
    """
    limit = overdue_after_hours(target, now)
    newest = newest_of(backups, now)
    if newest is not None and (hours := age_hours(newest, now)) <= limit:
        return _ok(Checked.BACKUP, target.name, newest, hours, limit)
    changed = last_changed()
    limit = overdue_after_hours(target, now, changed)
    if not backups and changed is not None and now <= (due := _first_due(target, changed.at)):
        text = f"{target.name} has no backup yet; one is due by {due:%Y-%m-%d %H:%M} UTC."
        return Check(check=Checked.BACKUP, target=target.name, status="ok", limit_hours=limit, text=text)
    if newest is not None and hours <= limit:
        return _ok(Checked.BACKUP, target.name, newest, hours, limit)
    if newest is None:
        damaged = newest_of(backups, now, healthy=False)
        text = (
            f"Every completed backup of {target.name} is damaged; the newest is {damaged.id}."
            if damaged
            else f"{target.name} has no completed backup at all."
        )
        return Check(check=Checked.BACKUP, target=target.name, status="failed", limit_hours=limit, text=text)
    text = f"The newest good backup of {target.name} is {hours:.1f} hours old; it should be at most {limit:g}."
    return _failed(Checked.BACKUP, target.name, newest, hours, limit, text)


def check_verified(target: AnyTarget, backups: Sequence[Backup], now: datetime) -> Check:
    """Decide whether the newest verified backup is young enough. Before anything is verified nothing is asked for."""
    limit = target.freshness.verified_hours
    newest = newest_of((backup for backup in backups if backup.verified_at is not None), now)
    if newest is None:
        text = "No backup of this target is verified yet."
        return Check(check=Checked.VERIFIED, target=target.name, status="ok", limit_hours=limit, text=text)
    hours = age_hours(newest, now)
    if hours <= limit:
        return _ok(Checked.VERIFIED, target.name, newest, hours, limit)
    text = f"The newest verified backup of {target.name} is {hours:.1f} hours old; it should be at most {limit:g}."
    return _failed(Checked.VERIFIED, target.name, newest, hours, limit, text)


def overdue_after_hours(target: AnyTarget, now: datetime, changed: Changed | None = None) -> float:
    """Return the age from which the newest backup is overdue at an instant.

    With a schedule of its own (and without `every_hours`) the newest has to be from the last scheduled time that is
    `late_hours` old, or from later. When the schedule was changed after that time, what was young enough then is young
    enough until a time of the new one has passed.
    """
    hours = usual_hours(target) + target.freshness.late_hours
    if target.schedule is None or target.freshness.every_hours is not None:
        return hours
    wanted = last_run(target.schedule, now - timedelta(hours=target.freshness.late_hours))
    if wanted is not None and (changed is None or wanted >= changed.at):
        return round((now - wanted + _CLOCKS) / _HOUR, 2)
    if changed is None:
        return hours
    before = overdue_after_hours(changed.before or target, changed.at)
    young = before if changed.before is not None else max(before, hours)
    return round((now - changed.at) / _HOUR + young, 2)


def usual_hours(target: AnyTarget) -> float:
    """Return how often a target without a schedule of its own is backed up."""
    return target.freshness.every_hours or _EVERY_HOURS[target.kind]


def _first_due(target: AnyTarget, configured_at: datetime) -> datetime:
    """Return when the first backup of a target has to be there."""
    first = next_run(target.schedule, configured_at) if target.schedule is not None else None
    if first is None or target.freshness.every_hours is not None:
        return configured_at + timedelta(hours=usual_hours(target) + target.freshness.late_hours)
    return first + timedelta(hours=target.freshness.late_hours)


def newest_of(backups: Iterable[Backup], now: datetime, *, healthy: bool = True) -> Backup | None:
    """Return the newest backup that is healthy; one of the future (a clock was wrong) would be the newest for ever.

    One of the tier SAFETY does not count: it must not hide that regular backups have stopped.
    """
    present = (
        one for one in backups if one.created_at <= now and not one.is_safety and (one.is_healthy or not healthy)
    )
    return max(present, key=lambda backup: recency(backup, now), default=None)


def age_hours(backup: Backup, now: datetime) -> float:
    """Return how old what a backup holds is."""
    return (now - backup.created_at).total_seconds() / 3600


def _ok(check: Checked, target: str, backup: Backup, hours: float, limit: float) -> Check:
    return Check(
        check=check,
        target=target,
        status="ok",
        last_backup=backup.id,
        last_backup_at=backup.created_at,
        age_hours=round(hours, 2),
        limit_hours=limit,
    )


def _failed(check: Checked, target: str, backup: Backup, hours: float, limit: float, text: str) -> Check:
    return _ok(check, target, backup, hours, limit).model_copy(update={"status": "failed", "text": text})
