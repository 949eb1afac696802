"""The report of a period, from facts that others read: what ran, what was proven, what is left to do."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence
from datetime import datetime, timedelta
from typing import Final

from coffre.model.backup import Backup, Restore
from coffre.model.copies import Copy, CopyStatus
from coffre.model.kinds import Status
from coffre.model.objectives import Objective
from coffre.model.report import Act, CopyReport, Jobs, Period, PeriodReport, ReportFacts, TargetReport
from coffre.model.status import TargetStatus
from coffre.model.words import duration
from coffre.policy.anomaly import keys_due
from coffre.policy.checklist import checklist
from coffre.policy.objectives import WINDOW, measure, was_good

_FAILURES: Final = 5
_RESTORES: Final = 20
_ACTS: Final = 30
_SIZES: Final = 60
# What functions record of their own runs says nothing about accesses.
_FUNCTIONS: Final = {"backup", "verify", "rotate", "drill", "restore", "unknown"}


def due_periods(now: datetime) -> tuple[Period, ...]:
    """Return what the report of a week contains: with the first one of a month, or of a year, their checklists too."""
    found = [Period.WEEKLY]
    if now.day <= 7:
        found.append(Period.MONTHLY)
        if now.month == 1:
            found.append(Period.YEARLY)
    return tuple(found)


def report_of(facts: ReportFacts) -> PeriodReport:
    """Put the report together."""
    now = facts.status.at
    known = {one.name: one for one in facts.status.targets}
    by_target: dict[str, list[Backup]] = {name: [] for name in known}
    for backup in facts.backups:
        by_target.setdefault(backup.target, []).append(backup)
    restores = [one for one in facts.restores if one.created_at >= facts.since and not (one.dry_run or one.is_export)]
    return PeriodReport(
        period=facts.period,
        periods=facts.periods or (facts.period,),
        since=facts.since,
        at=now,
        status=facts.status,
        targets=tuple(_target(name, known[name], by_target[name], facts) for name in known),
        jobs=_jobs(facts),
        restores=tuple(_restore(one) for one in restores[:_RESTORES]),
        copies=tuple(_copies(facts, now)),
        cost=facts.cost,
        keys_due=_keys_due(facts, now),
        acts=_acts(facts),
        todos=checklist(facts),
        contacts=facts.configuration.contacts,
    )


def _target(name: str, status: TargetStatus, backups: Sequence[Backup], facts: ReportFacts) -> TargetReport:
    now, since = facts.status.at, facts.since
    recent = [one for one in backups if one.created_at >= since and not one.is_safety]
    failed = [one for one in recent if one.status is Status.FAILED]
    good = sorted((one for one in recent if was_good(one)), key=lambda one: one.created_at)
    sizes = [one.plaintext_bytes for one in good if one.plaintext_bytes is not None]
    drill = status.drill if status.drill is not None and status.drill.completed_at >= since else None
    objective = status.measured.objective if status.measured is not None else Objective()
    is_wanted = objective != Objective()
    return TargetReport(
        name=name,
        backups=len(good),
        failed=len(failed),
        failures=tuple(_failure(one) for one in failed[:_FAILURES]),
        verified=sum(one.verified_at is not None and one.verified_at >= since for one in backups),
        drill=f"{drill.outcome.value.replace('_', ' ')}, {drill.completed_at:%Y-%m-%d}" if drill else None,
        measured=measure(objective, backups, status.drill, now, now - WINDOW, status.rehearsal) if is_wanted else None,
        sizes=tuple(sizes[-_SIZES:]),
        stored_bytes=sum(one.stored_bytes or 0 for one in good),
    )


def _failure(backup: Backup) -> str:
    why = f"{backup.failure.message} [{backup.failure.code}]" if backup.failure else "no reason is recorded"
    return f"{backup.created_at:%Y-%m-%d %H:%M}: {why}"


def _restore(one: Restore) -> str:
    words = "failed" if one.status is Status.FAILED else one.status.value.lower().replace("_", " ")
    took = f" in {duration(one.duration_ms)}" if one.duration_ms is not None else ""
    return f"{one.created_at:%Y-%m-%d %H:%M}: {one.target} into {one.destination}: {words}{took}"


def _jobs(facts: ReportFacts) -> tuple[Jobs, ...]:
    counts = Counter(one.job.value for one in facts.usages if one.at >= facts.since)
    return tuple(Jobs(job=job, runs=counts[job]) for job in sorted(counts))


def _copies(facts: ReportFacts, now: datetime) -> Iterator[CopyReport]:
    living = [one for one in facts.backups if one.is_healthy]
    for destination in facts.configuration.copies:
        targets = {
            one.name for one in facts.configuration.targets if destination in facts.configuration.copies_of(one.name)
        }
        wanted = {one.id: one for one in living if one.target in targets}
        found: dict[str, Copy] = {one.backup_id: one for one in facts.copies.get(destination.name, ())}
        complete = {backup_id for backup_id, one in found.items() if one.status is CopyStatus.COMPLETED}
        limit = now - timedelta(minutes=destination.complete_within_minutes)
        yield CopyReport(
            name=destination.name,
            wanted=len(wanted),
            complete=len(complete & wanted.keys()),
            verified=sum(found[one].verified_at is not None for one in complete & wanted.keys()),
            failed=sum(one.status is CopyStatus.FAILED for one in found.values()),
            overdue=sum((one.completed_at or now) < limit for id_, one in wanted.items() if id_ not in complete),
        )


def _keys_due(facts: ReportFacts, now: datetime) -> tuple[str, ...]:
    days = facts.configuration.alerts.key_rotation_days
    since = {
        key: one.keys_since for one in facts.status.targets if one.keys_since is not None for key in one.recipients
    }
    return tuple(sorted(keys_due(since, days, now))) if days is not None else ()


def _acts(facts: ReportFacts) -> tuple[Act, ...]:
    counts = Counter(
        (event.actor, event.verified, event.action)
        for event in facts.events
        if event.at >= facts.since and not (event.verified and event.actor in _FUNCTIONS)
    )
    return tuple(
        Act(actor=actor, verified=verified, action=action, count=count)
        for (actor, verified, action), count in counts.most_common(_ACTS)
    )
