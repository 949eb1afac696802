"""Are targets safe? The one decision, over facts that others read; every reason why not names what cures it.

Safe means: a good backup that is young enough, verified and drilled in time, a last run that did not fail, schedules
that are enabled, and no critical alert. What could not be read is a reason too: nothing unknown is ever called safe.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from datetime import datetime, timedelta
from typing import Final

from coffre.model.any_target import is_gone
from coffre.model.copies import CopyStatus
from coffre.model.database_target import DatabaseTarget
from coffre.model.drill import Outcome
from coffre.model.kinds import Status
from coffre.model.status import Reason, Standing
from coffre.model.status_facts import CopyFacts, Facts, OpenAlert, Schedule, Source, TargetFacts, Unread
from coffre.policy.copy_health import DAMAGED, check_copy
from coffre.policy.freshness import check_backup, check_verified, newest_of

# By default each target is drilled every week and on the first of the month: after this long neither has run.
DRILLED_WITHIN: Final = timedelta(days=32)
EVERY_TARGET: Final = "-"
DECIDING: Final = {Source.ALERTS, Source.SCHEDULES, Source.DRILLS, Source.COPIES}
_READ_AGAIN: Final = "attach the stack's ReadersPolicy to your role, or deploy this version of the template"

# The worst first. An alert has its own kind as code.
ORDER: Final = (
    "NO_TARGET",
    "NO_BACKUP",
    "ALL_DAMAGED",
    "BACKUP_OVERDUE",
    "RECORDS_UNREAD",
    "NEWEST_DAMAGED",
    "DRILL_FAILED",
    "LAST_RUN_FAILED",
    "ALERT",
    "SCHEDULE_MISSING",
    "SCHEDULE_DISABLED",
    "COPY_EMPTY",
    "COPY_LATE",
    "COPY_DAMAGED",
    "VERIFY_OVERDUE",
    "DRILL_OVERDUE",
)
# Alerts that say what a reason found in the records says already.
_SAME: Final = {
    "BACKUP_FAILED": {"LAST_RUN_FAILED"},
    "BACKUP_OVERDUE": {"NO_BACKUP", "ALL_DAMAGED", "BACKUP_OVERDUE"},
    "VERIFY_OVERDUE": {"VERIFY_OVERDUE"},
    "DRILL_FAILED": {"DRILL_FAILED"},
    "COPY_OVERDUE": {"COPY_EMPTY", "COPY_LATE"},
    "COPY_FAILED": {"COPY_EMPTY", "COPY_LATE"},
}


_NO_TARGET: Final = Reason.model_construct(
    code="NO_TARGET",
    standing=Standing.NOT_SAFE,
    targets=(),
    sentence="no target is known, so nothing is backed up.",
    cure="coffre config edit",
)


def reasons(facts: Facts) -> tuple[Reason, ...]:
    """Return why targets are not safe, or not known to be safe, the worst first; none: all are safe."""
    if not facts.targets:
        return (_NO_TARGET,)
    found = [reason for target in facts.targets for reason in _of_target(target, facts)]
    found += of_copies(facts)
    found += _of_alerts(facts, found)
    found += _of_schedules(facts)
    found += [_unknown(one, facts.names) for one in facts.unread if one.what in DECIDING]
    if not facts.has_stack:
        found.append(_vault_alone(facts.names))
    return tuple(sorted(found, key=_weight))


def standing(found: Sequence[Reason], target: str | None = None) -> Standing:
    """Return how a target stands, or all together."""
    own = {reason.standing for reason in found if target is None or target in reason.targets}
    return next((worst for worst in (Standing.NOT_SAFE, Standing.UNKNOWN) if worst in own), Standing.SAFE)


def headline(found: Sequence[Reason], names: Sequence[str]) -> str:
    """Return the answer in one sentence: "All 3 targets are safe.", or how many are not, and the worst reason."""
    if not names:
        return f"Nothing is safe: {_NO_TARGET.sentence}"
    by_name = {name: standing(found, name) for name in names}
    worst = standing(found)
    if worst is Standing.SAFE:
        all_of_them = "Both" if len(names) == 2 else f"All {len(names)}"
        return f"{all_of_them} targets are safe." if len(names) > 1 else f"The only target, {names[0]}, is safe."
    if worst is Standing.UNKNOWN:
        those = f"the {len(names)} targets are" if len(names) > 1 else f"the only target, {names[0]}, is"
        return f"Whether {those} safe is not known: {found[0].sentence}"
    bad = sum(one is Standing.NOT_SAFE for one in by_name.values())
    if len(names) == 1:
        those = f"The only target, {names[0]}, is not safe"
    elif bad == len(names):
        those = "Neither target is safe" if bad == 2 else f"None of {bad} targets is safe"
    else:
        those = f"{bad} of {len(names)} targets {'is' if bad == 1 else 'are'} not safe"
    return f"{those}: {found[0].sentence}"


# --- one target ---


def _of_target(one: TargetFacts, facts: Facts) -> Iterator[Reason]:
    if one.unread is not None:
        cure = f"coffre list {one.name}"
        yield _reason("RECORDS_UNREAD", one.name, f"the records of {one.name} could not be read: {one.unread}", cure)
        return
    if one.target is not None and is_gone(one.target):
        return  # nothing more is expected of it
    yield from _of_backups(one, facts.now)
    failed = _failed_last(one)
    if failed is not None:
        yield failed
    if one.target is not None:
        yield from _of_verification(one, facts.now)
        if facts.is_read(Source.DRILLS):
            yield from _of_drill_age(one, facts.now)
    if one.drill is not None and one.drill.outcome is Outcome.FAILED:
        why = f": {one.drill.problem}" if one.drill.problem else "."
        text = f"the last drill of {one.name} failed on {_since(one.drill.completed_at, facts.now)}{why}"
        yield _reason("DRILL_FAILED", one.name, text, f"coffre report {one.drill.backup_id}")


def _of_backups(one: TargetFacts, now: datetime) -> Iterator[Reason]:
    take = f"coffre backup {one.kind.word} {one.name}"
    completed = [backup for backup in one.recent if backup.status is Status.COMPLETED]
    newest = newest_of(completed, now, healthy=False)
    damaged = newest if newest is not None and not newest.is_healthy else None
    if one.good is None:
        if damaged is None:
            yield _reason("NO_BACKUP", one.name, f"{one.name} has no backup.", take)
        else:
            text = f"every backup of {one.name} is damaged; the newest is {damaged.id}."
            yield _reason("ALL_DAMAGED", one.name, text, take)
        return
    if one.target is not None:
        check = check_backup(one.target, [one.good], now)
        if not check.is_ok:
            text = f"{one.name} has had no backup since {_since(one.good.created_at, now)}."
            yield _reason("BACKUP_OVERDUE", one.name, text, take)
    if damaged is not None:
        text = f"the newest backup of {one.name}, {damaged.id}, is damaged."
        yield _reason("NEWEST_DAMAGED", one.name, text, take)


def _failed_last(one: TargetFacts) -> Reason | None:
    """Return the reason when the last run that has ended is a failure."""
    ended = (run for run in one.recent if run.status.is_final and not run.is_safety)
    last = next(ended, None)
    if last is None or last.status is not Status.FAILED:
        return None
    if one.good is not None and one.good.created_at > last.created_at:
        return None  # ids can be chosen: what was begun later counts
    why = f": {last.failure.message} [{last.failure.code}]" if last.failure else "."
    return _reason("LAST_RUN_FAILED", one.name, f"the last backup of {one.name} failed{why}", f"coffre show {last.id}")


def _of_verification(one: TargetFacts, now: datetime) -> Iterator[Reason]:
    """Overdue, or never done though backups are older than what is allowed."""
    target = one.target
    if target is None or one.good is None:
        return
    verify = f"coffre verify --level read --target {one.name}"
    limit = timedelta(hours=target.freshness.verified_hours)
    if one.verified is None:
        if _is_older(one.first_at, limit, now):
            yield _reason("VERIFY_OVERDUE", one.name, f"no backup of {one.name} has ever been verified.", verify)
    elif not check_verified(target, [one.verified], now).is_ok:
        text = f"the newest verified backup of {one.name} is from {_since(one.verified.created_at, now)}."
        yield _reason("VERIFY_OVERDUE", one.name, text, verify)


def _of_drill_age(one: TargetFacts, now: datetime) -> Iterator[Reason]:
    if one.good is None or (not isinstance(one.target, DatabaseTarget | None) and not one.target.drill.objects):
        return
    last = one.drill.completed_at if one.drill else one.first_at
    if _is_older(last, DRILLED_WITHIN, now):
        when = f"since {_since(one.drill.completed_at, now)}" if one.drill else "on record"
        drill = f"coffre verify --level drill latest --target {one.name}"
        yield _reason("DRILL_OVERDUE", one.name, f"{one.name} has no drill {when}.", drill)


# --- copies ---


def of_copies(facts: Facts) -> Iterator[Reason]:
    """Yield why targets are not safe because of a copy of the vault."""
    for one in facts.copies:
        yield from of_copy(one, facts)


def of_copy(one: CopyFacts, facts: Facts) -> Iterator[Reason]:
    """Yield what is wrong with one copy, by target. A target without any good backup has a reason of its own."""
    name = one.destination.name
    for target in facts.targets:
        if target.name not in one.targets or target.good is None:
            continue
        check = check_copy(one.destination, target.name, one.backups_of(target), one.copies, facts.now)
        damaged = [
            copy
            for copy in one.copies.values()
            if copy.target == target.name and copy.status is CopyStatus.COMPLETED and copy.damaged is not None
        ]
        if damaged and check.code in (None, DAMAGED):
            text = f"{len(damaged)} of the backups of {target.name} in the copy {name} are damaged."
            if len(damaged) == 1:
                text = f"the backup {damaged[0].backup_id} of {target.name} is damaged in the copy {name}."
            yield _reason(DAMAGED, target.name, text, f"coffre verify --at {name}")
        elif not check.is_ok and check.code is not None and check.text is not None:
            cure = f"coffre copy latest --target {target.name} --to {name}"
            if one.destination.copied_by == "replication":
                cure = "see docs/copies-care.md#your-own-replication"
            yield _reason(check.code, target.name, f"{check.text[0].lower()}{check.text[1:]}", cure)


def _is_older(time: datetime | None, limit: timedelta, now: datetime) -> bool:
    return time is not None and now - time > limit


# --- all of them ---


def _of_alerts(facts: Facts, known: Sequence[Reason]) -> Iterator[Reason]:
    names = facts.names
    already = {(reason.code, name) for reason in known for name in reason.targets}
    # What is wrong with a copy is said by its records; what they do not say concerns each target that it has.
    copies = {f"copy:{one.destination.name}": one.targets for one in facts.copies if not any(of_copy(one, facts))}
    for alert in facts.alerts:
        of = names if alert.target == EVERY_TARGET else copies.get(alert.target, (alert.target,))
        of = tuple(name for name in of if name in names)
        if alert.severity != "critical" or not of or _is_known(alert, already):
            continue
        text = f"a critical alert is open: {alert.subject}."
        yield Reason(
            code=alert.kind, standing=Standing.NOT_SAFE, targets=of, sentence=text, cure=f"see {alert.runbook}"
        )


def _is_known(alert: OpenAlert, already: set[tuple[str, str]]) -> bool:
    return any((code, alert.target) in already for code in _SAME.get(alert.kind, ()))


def _of_schedules(facts: Facts) -> Iterator[Reason]:
    for schedule in facts.schedules:
        of = tuple(one.name for one in facts.targets if schedule.is_about(one))
        if of and schedule.state != "enabled":
            yield _stopped(schedule, of)


def _stopped(schedule: Schedule, of: tuple[str, ...]) -> Reason:
    is_missing = schedule.state == "missing"
    return Reason(
        code="SCHEDULE_MISSING" if is_missing else "SCHEDULE_DISABLED",
        standing=Standing.NOT_SAFE,
        targets=of,
        sentence=f"the schedule {schedule.job} {'does not exist any more' if is_missing else 'is disabled'}.",
        cure="sam deploy" if is_missing else f"aws events enable-rule --name {schedule.rule}",
    )


def _vault_alone(names: tuple[str, ...]) -> Reason:
    return Reason(
        code="VAULT_ALONE",
        standing=Standing.UNKNOWN,
        targets=names,
        sentence="a vault alone has no schedules, alerts, failed runs or limits of age.",
        cure="coffre status --stack NAME",
    )


def _unknown(unread: Unread, of: tuple[str, ...]) -> Reason:
    text = f"the {unread.what} could not be read: {unread.why}"
    code = f"{unread.what.upper()}_UNREAD"
    return Reason(code=code, standing=Standing.UNKNOWN, targets=of, sentence=text, cure=unread.cure or _READ_AGAIN)


def _reason(code: str, target: str, sentence: str, cure: str) -> Reason:
    return Reason(code=code, standing=Standing.NOT_SAFE, targets=(target,), sentence=sentence, cure=cure)


def _weight(reason: Reason) -> tuple[bool, int, tuple[str, ...]]:
    rank = ORDER.index(reason.code if reason.code in ORDER else "ALERT")
    return reason.standing is Standing.UNKNOWN, rank, reason.targets


def _since(time: datetime, now: datetime) -> str:
    """Return a time as one would name it: `Friday 02:00 UTC` within six days, later the date."""
    if now - time < timedelta(days=6):
        return f"{time:%A %H:%M} UTC"
    return f"{time:%-d %B}" if time.year == now.year else f"{time:%-d %B %Y}"
