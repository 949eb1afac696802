"""Put a backup on hold, or release it: rotation and people cannot delete it meanwhile (docs/immutability.md).

The record comes first when a hold begins and last when it ends, so that whatever is interrupted, the backup is held.
With Object Lock every object that the backup refers to gets an S3 legal hold. That can take minutes: the record says
how far it is, and a repeated call, or the next rotation, continues there.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Final

from ulid import ULID

from coffre.catalog.catalog import Catalog
from coffre.model.audit import Actor
from coffre.model.backup import Backup, HoldProgress, Status
from coffre.model.errors import BackupStateError, CatalogError, DeadlineError, ObjectMissingError, StoreError
from coffre.model.hold import HoldReport
from coffre.model.words import counted
from coffre.operations.stored_backup.open_backup import manifest_of
from coffre.vault.entry_files import lists_apart
from coffre.vault.locks import VaultLocks
from coffre.vault.vault import Vault

# One hold at a time: whether a shared object keeps its legal hold depends on all others. No target has this name.
_LOCK: Final = "*holds"
_STALE_AFTER: Final = timedelta(minutes=3)
_RESERVE_SECONDS: Final = 30.0
# About three seconds of requests: as often the record says how far it is, and names batches by their first object.
_BATCH: Final = 1000


@dataclass(frozen=True)
class HoldJob:
    """What a hold needs. `id` names this run; `actor` is who asked."""

    id: str
    catalog: Catalog
    vault: Vault
    actor: Actor
    now: Callable[[], datetime]
    remaining_seconds: Callable[[], float]


def hold(job: HoldJob, backup_id: str, reason: str | None) -> HoldReport:
    """Put a backup on hold, or finish what was begun. It can be repeated.

    Raises
    ------
    BackupStateError
        `BACKUP_UNKNOWN`, or `BACKUP_STATE`: it is not COMPLETED. Nothing was changed.
    """
    with _alone(job):
        backup = _held(job, job.catalog.get_backup(backup_id), reason)
        if job.vault.read_marks(backup.target, backup.id).held_at is None:
            mark = str(ULID.from_datetime(job.now()))
            job.vault.mark_hold(backup.target, backup.id, mark, backup.held_at, backup.hold)
        if job.vault.locks is None:
            return HoldReport(backup=backup)
        return _legal_holds(job, job.vault.locks, backup, released=False)


def _held(job: HoldJob, backup: Backup, reason: str | None) -> Backup:
    if backup.held_at is not None or backup.status is not Status.COMPLETED:
        return job.catalog.protection.hold(backup.id, reason, job.now())
    with job.catalog.audit.recorded(job.now(), job.actor, "backup.held", backup.target, backup.id, reason):
        return job.catalog.protection.hold(backup.id, reason, job.now())


def release(job: HoldJob, backup_id: str) -> HoldReport:
    """End a hold. Of a backup that is not on hold nothing changes.

    Raises
    ------
    BackupStateError
        `BACKUP_UNKNOWN`
    StoreError
        `LOCKS_OFF`: its objects have legal holds, and the stack's parameter ObjectLock is off now.
    """
    with _alone(job):
        backup = job.catalog.get_backup(backup_id)
        if backup.held_at is None:
            return HoldReport(backup=backup)
        report = HoldReport(backup=backup)
        if job.vault.locks is not None or backup.hold_progress is not None:
            report = _legal_holds(job, _locks_of(job, backup), backup, released=True)
        if report.unfinished is not None:
            return report
        job.vault.mark_hold(backup.target, backup.id, str(ULID.from_datetime(job.now())), None, None)
        job.catalog.audit.record(job.now(), job.actor, "backup.released", backup.target, backup.id)
        return report.model_copy(update={"backup": job.catalog.protection.release(backup.id)})


def unfinished_holds(catalog: Catalog) -> list[Backup]:
    """Return the backups whose legal holds are set, or removed, only in part."""
    return [
        backup
        for backup in catalog.backups(status=Status.COMPLETED)
        if (at := backup.hold_progress) is not None and (at.released or at.refused or at.done < at.total)
    ]


def resume(job: HoldJob, backup: Backup) -> HoldReport:
    """Continue what was interrupted; raises what `hold` and `release` raise."""
    if backup.hold_progress is not None and backup.hold_progress.released:
        return release(job, backup.id)
    return hold(job, backup.id, backup.hold)


def _legal_holds(job: HoldJob, locks: VaultLocks, backup: Backup, *, released: bool) -> HoldReport:
    """Set or remove the holds batch by batch. What was refused before comes last, and stops nothing else."""
    keys = _keys(job.vault, backup)
    shared = _held_by_others(job, backup) & set(keys) if released else set()
    wanted = [key for key in keys if key not in shared]
    at = backup.hold_progress
    if at is None or at.released is not released or at.total != len(wanted):
        at = HoldProgress(released=released, total=len(wanted))
    report = HoldReport(backup=backup, legal_holds=True, shared=len(shared))
    count, tried, refused = 0, (*range(at.done, len(wanted), _BATCH), *at.refused), dict[str, StoreError]()
    try:
        _note(job, backup, at)
        for first in tried:
            _check(job)
            batch = wanted[first : first + _BATCH]
            found = _but_gone(locks.hold_all(batch, lambda: None, on=not released), released=released)
            refused |= found
            count += len(batch) - len(found)
            waiting = {*at.refused, first} if found else {*at.refused} - {first}
            at = at.model_copy(update={"done": max(at.done, first + len(batch)), "refused": tuple(sorted(waiting))})
            _note(job, backup, at)
    except DeadlineError as error:
        report = report.model_copy(update={"unfinished": f"{_so_far(at)}: {error.message}"})
    if refused:
        left = f"{_so_far(at)}, but for {counted(len(refused), 'refused one')}: {refused[min(refused)].message}"
        report = report.model_copy(update={"unfinished": left, "refused": len(refused)})
    return report.model_copy(update={"objects": count, "backup": job.catalog.get_backup(backup.id)})


def _but_gone(refused: dict[str, StoreError], *, released: bool) -> dict[str, StoreError]:
    """Leave out what does not exist any more, if holds are removed: it has none."""
    return {key: error for key, error in refused.items() if not (released and isinstance(error, ObjectMissingError))}


def _so_far(at: HoldProgress) -> str:
    return f"{at.done:,} of {at.total:,} objects are done"


def _note(job: HoldJob, backup: Backup, progress: HoldProgress) -> None:
    job.catalog.protection.note_hold(backup.id, progress)


def _keys(vault: Vault, backup: Backup) -> list[str]:
    """Return everything that a backup refers to, always in the same order: the manifest last."""
    manifest = manifest_of(vault, backup)
    packs = sorted(pack.key for pack in manifest.packs)
    return [*packs, *(file.key for file in lists_apart(manifest.entries)), backup.manifest_key or ""]


def _held_by_others(job: HoldJob, backup: Backup) -> set[str]:
    """Return what other backups on hold refer to. Memory: 0.2 KB for each object of a backup on hold."""
    others = [one for one in job.catalog.backups() if one.held_at is not None and one.id != backup.id]
    return {key for other in others for key in _keys(job.vault, other)}


def _locks_of(job: HoldJob, backup: Backup) -> VaultLocks:
    if job.vault.locks is not None:
        return job.vault.locks
    raise StoreError(
        f"The objects of backup {backup.id} have legal holds, and the parameter ObjectLock of the stack is off.",
        code="LOCKS_OFF",
        hint="Nothing was changed. Deploy with ObjectLock=governance (or compliance), then release it again.",
    )


def _check(job: HoldJob) -> None:
    if job.remaining_seconds() <= _RESERVE_SECONDS:
        raise DeadlineError("the function's time is nearly over", hint="Repeat the command: it continues.")
    job.catalog.locks.renew(_LOCK, job.id, job.now())


@contextlib.contextmanager
def _alone(job: HoldJob) -> Iterator[None]:
    lock = job.catalog.locks.acquire(_LOCK, job.id, job.now(), stale_after=_STALE_AFTER)
    if not lock.acquired:
        raise BackupStateError(
            "Another hold is being set or released.",
            code="HOLD_BUSY",
            hint="Nothing was changed. Repeat the command when that one has ended; it takes minutes at most.",
        )
    try:
        yield
    finally:
        with contextlib.suppress(CatalogError):
            job.catalog.locks.release(_LOCK, job.id)
