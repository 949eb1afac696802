"""The answer of `coffre status`: the decision of `policy.safety`, and what one wants to see of each target."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from datetime import datetime
from typing import Final

from coffre.model.any_target import is_gone
from coffre.model.kinds import Status
from coffre.model.objectives import Objective
from coffre.model.status import CopyState, JournalStatus, Measured, Reason, Standing, StatusReport, TargetStatus
from coffre.model.status_facts import JOURNAL_SCHEDULE, CopyFacts, Facts, Source, TargetFacts
from coffre.policy.copy_health import newest_copied
from coffre.policy.freshness import age_hours, overdue_after_hours
from coffre.policy.journal_health import has_journal
from coffre.policy.journal_status import journal_status
from coffre.policy.objectives import WINDOW, measure
from coffre.policy.safety import headline, of_copy, reasons, standing
from coffre.policy.schedule import next_run

# As many sizes as a person sees at a glance, and as a narrow column has room for.
_SIZES: Final = 10


def report_of(facts: Facts) -> StatusReport:
    """Decide, and put together what was read."""
    found = reasons(facts)
    return StatusReport(
        at=facts.now,
        standing=standing(found),
        headline=headline(found, facts.names),
        reasons=found,
        targets=tuple(_target(one, facts, found) for one in facts.targets),
        alerts=facts.alerts,
        schedules=facts.schedules,
        vault=facts.vault,
        saved_bytes=facts.vault.saved_bytes if facts.vault else None,
        cost=facts.cost,
        checkups=facts.checkups,
        copies=tuple(_copy(one, facts) for one in facts.copies),
        journals=tuple(_journals(facts)),
        unread=facts.unread,
    )


def _target(one: TargetFacts, facts: Facts, found: Sequence[Reason]) -> TargetStatus:
    good = one.good
    completed = [run for run in one.recent if run.status is Status.COMPLETED and not run.is_safety]
    sizes = [run.plaintext_bytes for run in completed[:_SIZES] if run.plaintext_bytes is not None]
    since = [facts.first_used[key] for key in one.recipients if key in facts.first_used]
    return TargetStatus(
        name=one.name,
        kind=one.kind,
        standing=standing(found, one.name),
        last_backup=good.id if good else None,
        last_backup_at=good.created_at if good else None,
        age_hours=round(age_hours(good, facts.now), 2) if good else None,
        limit_hours=overdue_after_hours(one.target, facts.now) if one.target and not is_gone(one.target) else None,
        running_since=next((run.created_at for run in one.recent if run.status is Status.IN_PROGRESS), None),
        verified_at=one.verified.verified_at if one.verified else None,
        drill=one.drill,
        rehearsal=one.rehearsal,
        size_bytes=good.plaintext_bytes if good else None,
        stored_bytes=good.stored_bytes if good else None,
        sizes=tuple(reversed(sizes)),
        has_own_schedule=one.has_own_schedule,
        next_run_at=_next_run(one, facts),
        recipients=one.recipients,
        keys_since=min(since, default=None),
        keys_opened={key: facts.opened.get(key) for key in one.recipients},
        measured=_measured(one, facts.now),
    )


def _measured(one: TargetFacts, now: datetime) -> Measured | None:
    """Measure the newest runs alone, which were read anyway: the report has those of 30 days."""
    if one.objective == Objective() or (one.target is not None and is_gone(one.target)):
        return None
    return measure(one.objective, one.recent, one.drill, now, now - WINDOW, one.rehearsal)


def _copy(one: CopyFacts, facts: Facts) -> CopyState:
    """Return one line about a copy: complete, or what is missing."""
    wrong = [*of_copy(one, facts)]
    with_backups = [target for target in facts.targets if target.name in one.targets and target.good is not None]
    newest = [newest_copied(one.backups_of(target), one.copies) for target in with_backups]
    times = [one.copies[backup.id].verified_at for backup in newest if backup is not None]
    verified_at = min((at for at in times if at is not None), default=None) if None not in times else None
    if wrong or not with_backups:
        sentence = " ".join(reason.sentence for reason in wrong) or "no target has a backup to copy."
        state = Standing.NOT_SAFE if wrong else Standing.UNKNOWN
        return CopyState(name=one.destination.name, standing=state, sentence=sentence, verified_at=verified_at)
    sentence = f"complete, verified on {verified_at:%Y-%m-%d}" if verified_at else "complete, not verified yet"
    return CopyState(name=one.destination.name, standing=Standing.SAFE, sentence=sentence, verified_at=verified_at)


def _journals(facts: Facts) -> Iterator[JournalStatus]:
    if not facts.is_read(Source.JOURNALS):
        return
    knows_rules = facts.is_read(Source.SCHEDULES)
    is_drained = not knows_rules or any(schedule.job == JOURNAL_SCHEDULE for schedule in facts.schedules)
    for one in facts.targets:
        if has_journal(one.target):
            yield journal_status(one.target, facts.journals.get(one.name), facts.now, is_drained=is_drained)


def _next_run(one: TargetFacts, facts: Facts) -> datetime | None:
    if one.target is not None and is_gone(one.target):
        return None
    rules = [schedule for schedule in facts.schedules if schedule.starts_backups_of(one)]
    if one.target is not None and one.target.schedule is not None:
        fires = any(rule.state == "enabled" for rule in rules)
        return next_run(one.target.schedule, facts.now) if fires else None
    return min((rule.next_at for rule in rules if rule.next_at is not None), default=None)
