"""What is known of all targets, from the catalog alone: little is read, however many backups a target has had."""

from __future__ import annotations

from collections.abc import Callable, Container, Iterator, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import suppress
from dataclasses import dataclass, replace
from datetime import datetime
from itertools import islice
from typing import TYPE_CHECKING, Final

from coffre.alerts.alert import AlertKind, Severity
from coffre.catalog.catalog import Catalog
from coffre.model.any_target import AnyTarget, is_gone
from coffre.model.audit import KEY_OPENED, NO_TARGET
from coffre.model.backup import Backup
from coffre.model.configuration import Configuration
from coffre.model.copies import Copy, Destination
from coffre.model.drill import DrillSummary, Rehearsal
from coffre.model.errors import BackupStateError, CoffreError, IntegrityError
from coffre.model.incident import Incident
from coffre.model.kinds import Status
from coffre.model.status_facts import CheckupSummary, CopyFacts, Facts, OpenAlert, Schedule, Source, TargetFacts, Unread
from coffre.model.usage import Spent, Usage
from coffre.model.vault_use import VaultUse
from coffre.operations.status.schedules import ReadSchedule, SchedulesUnreadError
from coffre.policy.cost import month_of, spent
from coffre.policy.freshness import newest_of
from coffre.policy.journal_health import has_journal
from coffre.policy.prices import Prices

if TYPE_CHECKING:
    from coffre.model.journal import JournalState

# Of a target this many of the newest runs are looked at: they nearly always have a good and a verified backup.
RECENT: Final = 10
# Of a copy: the newest records of all targets together, which run unequally often. One call returns about as many.
_MOST_COPIES: Final = 2_000
# Requests that wait in parallel: as many as the client has connections.
_THREADS: Final = 10
_NO_RULES: Final = "the stack does not name them, it is of an earlier version."


@dataclass(frozen=True)
class StatusJob:
    """What is asked, and where.

    Parameters
    ----------
    prices
        Those of the stack's region; None: the cost is not asked for.
    schedule
        Reads a schedule: of a job, by the name of its rule, at a time (`read_schedule`, given the client).
    rules
        The rules of the stack by job; None: it does not name them.
    only
        Names of targets; none: all.
    """

    catalog: Catalog
    configuration: Configuration
    schedule: ReadSchedule
    rules: Mapping[str, str] | None
    now: datetime
    prices: Prices | None = None
    only: tuple[str, ...] = ()


def gather(job: StatusJob) -> Facts:
    """Read the facts, in a few requests for each target.

    Raises
    ------
    CatalogError
        The table did not answer about the backups of a target: nothing is known.
    TargetUnknownError
        One that is asked for is not configured.
    """
    named = [target for name in job.only for target in job.configuration.named(name)]
    wanted = named or [target for target in job.configuration.targets if not is_gone(target)]
    unread: list[Unread] = []
    with ThreadPoolExecutor(_THREADS, thread_name_prefix="status") as pool:
        # The first call makes the client, which others then share.
        nothing: tuple[dict[str, DrillSummary], dict[str, Rehearsal]] = ({}, {})
        proofs = _or_unread(job.catalog.latest.drills_and_rehearsals, Source.DRILLS, unread, nothing)
        recent = pool.submit(_recent, job, wanted)
        alerts = pool.submit(_alerts, job.catalog, unread)
        vault = pool.submit(job.catalog.latest.vault)
        used = pool.submit(_used, job)
        keys = pool.submit(job.catalog.recipients.all)
        checkups = pool.submit(_checkups, job.catalog, {target.name for target in wanted})
        journals = pool.submit(_journals, job, wanted)
        opened = pool.submit(_opened, job.catalog)
        rules = [pool.submit(job.schedule, *rule, job.now) for rule in (job.rules or {}).items()]
        newest = recent.result()
        asked = [pool.submit(_target, job, target, newest.get(target.name), *proofs) for target in wanted]
        targets = tuple(one.result() for one in asked)
        copies = [pool.submit(_copy, job, one, targets) for one in job.configuration.copies]
        return Facts(
            now=job.now,
            targets=targets,
            alerts=_or_unread(alerts.result, Source.ALERTS, unread, ()),
            schedules=_or_unread(lambda: _schedules(job, rules), Source.SCHEDULES, unread, ()),
            vault=_or_unread(vault.result, Source.VAULT, unread, None),
            cost=_or_unread(lambda: _cost(job, used.result(), vault.result()), Source.COST, unread, None),
            first_used=_or_unread(keys.result, Source.KEYS, unread, {}),
            opened=_or_unread(opened.result, Source.TRIALS, unread, {}),
            copies=_or_unread(lambda: tuple(one.result() for one in copies), Source.COPIES, unread, ()),
            journals=_or_unread(journals.result, Source.JOURNALS, unread, {}),
            checkups=_or_unread(checkups.result, Source.CHECKUPS, unread, ()),
            unread=tuple(unread),
        )


def _or_unread[T](read: Callable[[], T], what: Source, unread: list[Unread], otherwise: T) -> T:
    try:
        return read()
    except IntegrityError as error:
        unread.append(_damaged(what, error))
    except CoffreError as error:
        unread.append(Unread(what=what, why=f"{error.message} {error.detail or ''}".rstrip()))
    except SchedulesUnreadError as error:
        unread.append(Unread(what=what, why=str(error)))
    return otherwise


def _damaged(what: Source, error: IntegrityError) -> Unread:
    return Unread(what=what, why=error.message, cure=error.hint)


# --- one target ---


def _recent(job: StatusJob, wanted: Sequence[AnyTarget]) -> Mapping[str, tuple[Backup, ...]]:
    """Return the newest runs of targets, as far as one call for all of them finds them."""
    is_most = len(wanted) > 1 and len(job.configuration.targets) < 2 * len(wanted)
    return job.catalog.newest_of_each([target.name for target in wanted], RECENT) if is_most else {}


def _target(
    job: StatusJob,
    target: AnyTarget,
    recent: tuple[Backup, ...] | None,
    drills: Mapping[str, DrillSummary],
    rehearsals: Mapping[str, Rehearsal],
) -> TargetFacts:
    known = TargetFacts(
        name=target.name,
        kind=target.kind,
        target=target,
        drill=drills.get(target.name),
        rehearsal=rehearsals.get(target.name),
        recipients=job.configuration.recipients_of(target.name),
        objective=job.configuration.objective_of(target),
    )
    try:
        return _with_records(job.catalog, known, recent, job.now)
    except IntegrityError as error:
        return replace(known, unread=error.message)


def _with_records(
    catalog: Catalog, known: TargetFacts, recent: tuple[Backup, ...] | None, now: datetime
) -> TargetFacts:
    if recent is None:
        recent = catalog.newest(known.name, RECENT)
    completed = [run for run in recent if run.status is Status.COMPLETED]
    good = newest_of(completed, now)
    verified = newest_of((backup for backup in completed if backup.verified_at is not None), now)
    if len(recent) == RECENT:  # older ones may exist
        good = good or catalog.newest_good(known.name)
        verified = verified or catalog.newest_good(known.name, verified=True)
    never_proven = recent and (verified is None or known.drill is None)
    first = catalog.oldest(known.name) if never_proven else None
    return replace(known, recent=recent, good=good, verified=verified, first_at=first.created_at if first else None)


# --- all of them ---


def _copy(job: StatusJob, destination: Destination, known: Sequence[TargetFacts]) -> CopyFacts:
    """Return what is recorded of a copy: the newest records, down to a good one of each target that has a backup."""
    of = {one.name: one for one in known if destination in job.configuration.copies_of(one.name)}
    lacking = {name for name, one in of.items() if one.good is not None}
    copies: dict[str, Copy] = {}
    older: list[Backup] = []
    for number, copy in enumerate(islice(job.catalog.copies.of(destination.name), _MOST_COPIES)):
        if number >= RECENT * max(1, len(of)) and not lacking:
            break
        if copy.target not in of:
            continue
        copies[copy.backup_id] = copy
        if copy.is_good and copy.target in lacking:
            lacking.discard(copy.target)
            if all(copy.backup_id != one.id for one in of[copy.target].recent):
                older += _found(job.catalog, copy.backup_id)
    return CopyFacts(destination, tuple(of), copies, tuple(older))


def _found(catalog: Catalog, backup_id: str) -> Iterator[Backup]:
    with suppress(BackupStateError):
        yield catalog.get_backup(backup_id)


def _journals(job: StatusJob, wanted: Sequence[AnyTarget]) -> Mapping[str, JournalState]:
    """Return how far journals are; nothing is read where none is configured."""
    return job.catalog.journals.all() if any(map(has_journal, wanted)) else {}


def _used(job: StatusJob) -> list[Usage]:
    return list(job.catalog.usages.between(*month_of(job.now))) if job.prices is not None else []


def _cost(job: StatusJob, used: Sequence[Usage], vault: VaultUse | None) -> Spent | None:
    """Return what this month cost; None before anything was counted."""
    return spent(used, vault, job.prices, job.now) if job.prices is not None and used else None


def _alerts(catalog: Catalog, unread: list[Unread]) -> tuple[OpenAlert, ...]:
    damaged: list[IntegrityError] = []
    found = [_alert(incident) for incident in catalog.incidents.open(damaged=damaged)]
    unread += [_damaged(Source.ALERTS, one) for one in damaged]
    return tuple(sorted(found, key=lambda alert: ([*Severity].index(Severity(alert.severity)), alert.since)))


def _alert(incident: Incident) -> OpenAlert:
    try:
        severity = AlertKind(incident.kind).severity
    except ValueError:  # of a later version: this version does not know how bad it is
        severity = Severity.CRITICAL
    return OpenAlert(
        kind=incident.kind,
        severity=severity.value,
        target=incident.target,
        subject=incident.subject,
        since=incident.since,
        runbook=f"docs/runbooks/{incident.kind}.md",
    )


def _checkups(catalog: Catalog, names: Container[str]) -> tuple[CheckupSummary, ...]:
    return tuple(
        CheckupSummary(
            target=one.target,
            at=one.at,
            blockers=tuple(found.code for found in one.blockers),
            warnings=tuple(found.code for found in one.warnings),
            unseen=len(one.unseen),
        )
        for one in catalog.checkups.all()
        if one.target is None or one.target in names
    )


def _opened(catalog: Catalog) -> dict[str, datetime]:
    """Return when each private key was last seen to open a backup, by its public key."""
    newest: dict[str, datetime] = {}
    for event in catalog.audit.of_action(NO_TARGET, KEY_OPENED):
        if event.subject is not None:
            newest[event.subject] = max(event.at, newest.get(event.subject, event.at))
    return newest


def _schedules(job: StatusJob, rules: Sequence[Future[Schedule]]) -> tuple[Schedule, ...]:
    if job.rules is None:
        raise SchedulesUnreadError(_NO_RULES)
    return tuple(rule.result() for rule in rules)
