"""Rotate: decide which backups each target keeps, mark the others DELETED in the catalog, then sweep the vault."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Final

from coffre.catalog.catalog import Catalog
from coffre.model.audit import Actor
from coffre.model.backup import Backup, Status
from coffre.model.configuration import Configuration
from coffre.model.errors import BackupStateError, CoffreError, IntegrityError
from coffre.model.retention import Retention
from coffre.model.rotation import Action, Decision, LockReport, Problem, RotationReport
from coffre.operations.rotate.extend_locks import LockKeeper, LockNeed, needs_of
from coffre.operations.rotate.keep_points import PointKeeper, in_use
from coffre.operations.rotate.rotation_lock import Turn
from coffre.operations.rotate.sweep import sweep
from coffre.operations.rotate.sweep_job import GRACE, SweepJob, VaultRecords, running_restores
from coffre.operations.runs.dead_runs import is_silent, settle_backup
from coffre.operations.stored_backup.kept_journal import journal_since, unless_needed
from coffre.operations.stored_backup.open_backup import manifest_of
from coffre.policy.retention import decide
from coffre.stores.with_copies import VAULT
from coffre.vault.entry_files import lists_apart
from coffre.vault.vault import Vault

# One lock for all targets: a rotation works on the whole vault. No target can have this name.
_LOCK: Final = "*rotation"
# Kept for marks and sweep when many locks have to be extended: the next rotation continues with those.
SWEEP_SECONDS: Final = 300.0
_ACTOR: Final = Actor("rotate", verified=True)


@dataclass(frozen=True)
class RotateJob:
    """What a rotation needs.

    Parameters
    ----------
    now
        The clock.
    remaining_seconds
        Time until the platform kills the function.
    report_died
        Gets the record of a backup whose run died long ago and that was marked FAILED.
    """

    id: str
    catalog: Catalog
    vault: Vault
    configuration: Configuration
    scratch: Path
    now: Callable[[], datetime]
    remaining_seconds: Callable[[], float]
    report_died: Callable[[Backup], None]


def rotate(
    job: RotateJob, *, only: str | None = None, dry_run: bool = False, always_sweep: bool = True
) -> RotationReport:
    """Rotate every configured target, or one.

    Parameters
    ----------
    only
        A target; backups of the others are not marked.
    dry_run
        Decide and measure, but change nothing.
    always_sweep
        False: do not sweep the vault if no backup was deleted just now.

    Raises
    ------
    CoffreError
        The rotation stopped there; the next one continues.
    """
    turn = Turn(job.catalog, _LOCK, job.id, job.now, job.remaining_seconds, dry_run=dry_run)
    if (owner := turn.begin()) is not None:
        return RotationReport(id=job.id, dry_run=dry_run, skipped=f"rotation {owner} is running")
    try:
        return _rotate(job, turn, only, dry_run=dry_run, always_sweep=always_sweep)
    finally:
        turn.end()


def _rotate(job: RotateJob, turn: Turn, only: str | None, *, dry_run: bool, always_sweep: bool) -> RotationReport:
    targets = job.configuration.targets if only is None else job.configuration.named(only)
    copies = _copies(job, settle_dead=not dry_run)
    problems: list[Problem] = []
    decisions: list[Decision] = []
    needs: list[LockNeed] = []
    restores = in_use(copies, running_restores(job.catalog, job.now(), VAULT))
    since = journal_since(job.configuration, job.now())
    points = PointKeeper(
        copies,
        {target.name: target.retention for target in (*job.configuration.targets, *targets)},
        lambda found, retention: decide_by_size(job.vault, job.now(), found, retention, problems),
    )
    for target in targets:
        found = copies.get(target.name, [])
        judged = points.decide(target.name)
        judged = unless_needed(job.vault, found, judged, since(target.name))
        needs += needs_of(found, target.retention, judged, job.now())
        decided = [unless_in_use(one, restores) for one in judged]
        decisions += decided if dry_run else _mark_deleted(job, turn, found, decided)
    gone = frozenset(decision.backup_id for decision in decisions if decision.action is Action.DELETE)
    known = {target.name for target in job.configuration.targets}
    unknown = () if only is not None else tuple(sorted(copies.keys() - known))
    needs += [need for name in unknown for need in needs_of(copies[name], None, (), job.now())]
    locks = _keep_locked(job, turn, needs, problems, dry_run=dry_run)
    report = RotationReport(
        id=job.id,
        dry_run=dry_run,
        decisions=tuple(decisions),
        not_configured=unknown,
        problems=tuple(problems),
        locks=locks,
    )
    if not (gone or always_sweep):
        return report
    records = VaultRecords(job.catalog)
    swept = sweep(
        SweepJob(
            records, job.vault, job.scratch, job.now(), turn.check, dry_run=dry_run, gone=gone, journal_since=since
        )
    )
    return report.model_copy(update={"sweep": swept})


def _keep_locked(
    job: RotateJob, turn: Turn, needs: Iterable[LockNeed], problems: list[Problem], *, dry_run: bool
) -> LockReport | None:
    if job.vault.locks is None:
        return None
    keeper = LockKeeper(
        job.catalog.protection,
        job.vault,
        job.vault.locks,
        job.now(),
        turn.check,
        has_time=lambda: job.remaining_seconds() > SWEEP_SECONDS,
        dry_run=dry_run,
    )
    report = keeper.keep(needs)
    problems += keeper.problems
    return report


def _copies(job: RotateJob, *, settle_dead: bool) -> dict[str, list[Backup]]:
    """Return the COMPLETED backups by target, newest first, from a consistent reading of the whole catalog."""
    copies: dict[str, list[Backup]] = {}
    for backup in job.catalog.backups():
        if backup.status is Status.COMPLETED:
            copies.setdefault(backup.target, []).append(backup)
        elif settle_dead and is_silent(backup, job.now(), GRACE):
            _settle(job, backup)
    return copies


def _settle(job: RotateJob, backup: Backup) -> None:
    # The sweep reports a manifest that cannot be read; a record that has changed is another run's.
    with contextlib.suppress(IntegrityError, BackupStateError):
        failed = settle_backup(job.catalog, job.vault, backup, job.now())
        if failed is not None:
            job.report_died(failed)


def decide_by_size(
    vault: Vault, now: datetime, copies: Sequence[Backup], retention: Retention, problems: list[Problem]
) -> tuple[Decision, ...]:
    """Decide on the backups of one target in this vault; sizes are read if the target has a limit."""
    if retention.maximum_bytes is None:
        return decide(copies, retention, now)
    try:
        sizes = bytes_by_newest_user(vault, copies)
    except CoffreError as error:
        text = f"The size of the target's backups is unknown, so its limit was not applied: {error.message}"
        problems.append(Problem(code=error.code, target=copies[0].target, text=text))
        return decide(copies, retention.model_copy(update={"maximum_bytes": None}), now)
    return decide(copies, retention, now, sizes)


def unless_in_use(decision: Decision, restores: Mapping[str, str]) -> Decision:
    """Keep what is being restored; `restores` are the running ones (`in_use`)."""
    restore_id = restores.get(decision.backup_id)
    if decision.action is Action.KEEP or restore_id is None:
        return decision
    return decision.model_copy(
        update={"action": Action.KEEP, "held_back": True, "reason": f"restore {restore_id} of it is running"}
    )


def bytes_by_newest_user(vault: Vault, copies: Iterable[Backup]) -> dict[str, int]:
    """Return by backup the bytes of packs that no newer one needs: what its deletion frees, after all older ones.

    Memory grows with the packs of one target: 0.2 KB each.
    """
    seen: set[str] = set()
    sizes: dict[str, int] = {}
    for copy in sorted(copies, key=lambda copy: (copy.created_at, copy.id), reverse=True):
        manifest = manifest_of(vault, copy)
        own = [pack for pack in manifest.packs if pack.key not in seen]
        seen.update(pack.key for pack in own)
        sizes[copy.id] = sum(pack.length for pack in own) + sum(file.length for file in lists_apart(manifest.entries))
    return sizes


def _mark_deleted(job: RotateJob, turn: Turn, copies: Iterable[Backup], decided: Iterable[Decision]) -> list[Decision]:
    """Mark backups as DELETED, unless they have changed since the decision."""
    by_id = {copy.id: copy for copy in copies}
    done = []
    for decision in decided:
        if decision.action is Action.DELETE:
            turn.check()
            backup, now = by_id[decision.backup_id], job.now()
            try:
                with job.catalog.audit.recorded(
                    now, _ACTOR, "backup.deleted", backup.target, backup.id, decision.reason
                ):
                    job.catalog.keeping.delete(backup, decision.reason, now)
            except BackupStateError as error:
                done.append(decision.model_copy(update={"action": Action.KEEP, "reason": error.message}))
                continue
        done.append(decision)
    return done
