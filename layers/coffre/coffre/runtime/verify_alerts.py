"""What people hear of a verification: which targets were looked at, and what of them is not in order."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from datetime import datetime, timedelta

from coffre.alerts.alert import EVERY_TARGET, Alert, AlertKind
from coffre.alerts.runs import backup_overdue
from coffre.alerts.verification import (
    journal_damaged,
    locks_too_short,
    verification_overdue,
    verification_stopped,
    verify_failed,
)
from coffre.catalog.catalog import Catalog
from coffre.model.backup import Backup, Failure
from coffre.model.configuration import Configuration
from coffre.model.freshness import Check, Checked, FreshReport
from coffre.model.verification import Level, VerificationReport
from coffre.operations.monitoring.alerting import Review, what_is_safe
from coffre.policy.freshness import newest_of
from coffre.runtime.events.verify import VerifyEvent

_KINDS = {Checked.BACKUP: AlertKind.BACKUP_OVERDUE, Checked.VERIFIED: AlertKind.VERIFY_OVERDUE}


def review_of_fresh(report: FreshReport, catalog: Catalog, configuration: Configuration) -> Review:
    """Return the alerts that a check of the level `fresh` is reason for."""
    of_targets = [check for check in report.checks if not check.is_ok and check.check is not Checked.OFFSITE]
    alerts = [_alert(check, report.checked_at, catalog, configuration) for check in of_targets]
    checked = {(_KINDS[check.check], check.target) for check in report.checks if check.check in _KINDS}
    return Review(tuple(alerts), frozenset(checked))


def review_of_damage(report: VerificationReport, catalog: Catalog, targets: Iterable[str], request_id: str) -> Review:
    """Return the alerts for `inventory` and `read`: one for each target that has damaged backups.

    A backup that was found damaged before and still exists keeps its alert open, even if this verification did not read
    it.
    """
    looked_at = sorted(set(targets))
    alerts = [alert for name in looked_at for alert in _damage_of(name, report, catalog, request_id)]
    if report.unfinished is not None:
        alerts.append(_unfinished(report, report.unfinished, request_id))
    # An inventory without problems does not end the alert about a reading that stopped.
    well = looked_at if report.level is Level.READ else [EVERY_TARGET]
    is_whole = report.unfinished is None and not report.problems
    checked = {(AlertKind.VERIFY_FAILED, name) for name in well} if is_whole else set()
    return Review(tuple(alerts), frozenset(checked))


def review_of_locks(report: VerificationReport, wanted: VerifyEvent, request_id: str) -> Review:
    """Return the alert about locks. An inventory of everything that finds none ends it."""
    alerts = (locks_too_short(report.lock_problems, request_id=request_id),) if report.lock_problems else ()
    is_whole = report.level is Level.INVENTORY and wanted.target is None and wanted.backup_id is None
    ends = is_whole and report.unfinished is None
    return Review(alerts, frozenset({(AlertKind.LOCK_TOO_SHORT, EVERY_TARGET)} if ends else ()))


def review_of_journals(
    report: VerificationReport, wanted: VerifyEvent, targets: Iterable[str], request_id: str
) -> Review:
    """Return the alerts about journals, one for each target. An inventory of a target that finds nothing ends its."""
    found = report.journal_problems
    named = sorted({problem.target for problem in found if problem.target is not None})
    alerts = tuple(
        journal_damaged(name, [one for one in found if one.target == name], request_id=request_id) for name in named
    )
    is_whole = report.level is Level.INVENTORY and wanted.backup_id is None and report.unfinished is None
    return Review(alerts, frozenset((AlertKind.JOURNAL_DAMAGED, name) for name in targets) if is_whole else frozenset())


def _alert(check: Check, now: datetime, catalog: Catalog, configuration: Configuration) -> Alert:
    late = timedelta(hours=(check.age_hours or 0) - (check.limit_hours or 0))
    since = now - max(late, timedelta()) if check.age_hours is not None else now
    if check.check is Checked.VERIFIED:
        return verification_overdue(check.target, since=since, now=now, safe=what_is_safe(catalog, check.target))
    if check.check is Checked.COPY and check.last_backup is not None:
        backup = catalog.get_backup(check.last_backup)
        older = [one for one in _completed(catalog, check.target) if one.id != backup.id]
        return verify_failed(backup, [check.text or ""], level="fresh", healthy=newest_of(older, now))
    kind = configuration.target(check.target).kind
    return backup_overdue(check.target, due=since, now=now, safe=what_is_safe(catalog, check.target), kind=kind)


def _damage_of(target: str, report: VerificationReport, catalog: Catalog, request_id: str) -> Iterator[Alert]:
    damaged = [backup for backup in _completed(catalog, target) if backup.damaged_at is not None]
    unreadable = [problem.text for problem in report.problems if problem.target == target]
    if damaged:
        more = [f"{len(damaged) - 1} older backups of {target} are damaged as well."] if len(damaged) > 1 else []
        problems = [damaged[0].damage or "", *more, *unreadable]
        yield _failed(damaged[0], problems, report, catalog, request_id)
    elif unreadable:
        about = next(one for one in report.examined if one.target == target and one.outcome == "unreadable")
        yield _failed(catalog.get_backup(about.backup_id), unreadable, report, catalog, request_id)


def _unfinished(report: VerificationReport, what: str, request_id: str) -> Alert:
    hint = "Raise MemorySize, which also adds cores. Or give the rule's event a smaller share."
    failure = Failure(code="DEADLINE", message=what, hint=hint)
    return verification_stopped(report.target, failure, level=report.level.value, request_id=request_id)


def _failed(
    backup: Backup, problems: Sequence[str], report: VerificationReport, catalog: Catalog, request_id: str
) -> Alert:
    healthy = catalog.latest_completed(backup.target)
    return verify_failed(backup, problems, level=report.level.value, healthy=healthy, request_id=request_id)


def _completed(catalog: Catalog, target: str) -> list[Backup]:
    return catalog.completed_backups(target)
