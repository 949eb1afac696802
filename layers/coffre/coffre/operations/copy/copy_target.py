"""The backups of one target into one destination, each with its record; one copier at a time."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from functools import partial
from typing import Final

from coffre.catalog.catalog import Catalog
from coffre.model.backup import Backup, Status
from coffre.model.copies import Copy, CopyStatus, Destination
from coffre.model.errors import BackupStateError, CoffreError, CopyError, IntegrityError
from coffre.operations.copy.copy_backup import CopyJob, Sent, copy_backup
from coffre.operations.copy.copy_journal import JournalCopy, copy_journal
from coffre.operations.copy.copy_points import copy_point, due_points
from coffre.operations.stored_backup.backup_in_copy import as_copied
from coffre.operations.stored_backup.copied_records import copy_records
from coffre.operations.stored_backup.kept_journal import journal_bases
from coffre.operations.stored_backup.known_locks import KnownLocks
from coffre.policy.copies import due_copies, is_copied
from coffre.vault.vault import Vault

# A pack of 64 MiB takes a slow destination minutes. A copier that died is a nuisance, two at a time do no harm.
_STALE_AFTER: Final = timedelta(minutes=16)
_RENEWED_AFTER: Final = timedelta(minutes=1)


@dataclass(frozen=True)
class Copied:
    """What one run copied.

    `busy`: another copier works on this target and destination, and this one did nothing. `left_out`: why this process
    cannot copy to the destination; others do. `journal_lacks`: what of the journal the copy cannot get, as the vault
    has lost it.
    """

    destination: str
    target: str
    backups: tuple[str, ...] = ()
    packs: int = 0
    bytes: int = 0
    unfinished: str | None = None
    busy: bool = False
    left_out: str | None = None
    journal_lacks: tuple[str, ...] = ()

    def plus(self, backup: Backup, sent: Sent) -> Copied:
        """Return both together."""
        done = replace(self, packs=self.packs + sent.packs, bytes=self.bytes + sent.bytes)
        if sent.is_whole:
            return replace(done, backups=(*self.backups, backup.id))
        return replace(done, unfinished=backup.id)


@dataclass(frozen=True)
class TargetCopyJob:
    """One target and one destination.

    Parameters
    ----------
    run_id
        A ULID: who holds the lock.
    open_at
        Returns the destination's vault for one backup, with the locks that its objects get there.
    records_at
        The destination's vault, to which the records of its backups are brought when all is copied; None: they are not.
    journal
        Where the journal is brought; None: it is not.
    requests
        The number of requests to the destination until now.
    on_progress
        As of `CopyJob`, with the backup.
    on_copied
        Called with each backup when its copy is complete, whatever becomes of the run.
    """

    run_id: str
    catalog: Catalog
    source: Vault
    destination: Destination
    target: str
    open_at: Callable[[Backup], Vault]
    now: Callable[[], datetime]
    is_time_over: Callable[[], bool] = lambda: False
    records_at: Vault | None = None
    journal: JournalCopy | None = None
    requests: Callable[[], int] = lambda: 0
    on_progress: Callable[[Backup, Sent, int, int], None] = lambda _backup, _sent, _packs, _bytes: None
    on_copied: Callable[[Backup], None] = lambda _: None
    _renewed: list[datetime] = field(default_factory=list, repr=False)

    @property
    def lock(self) -> str:
        """The name of the lock. No target can have it."""
        return f"#copy#{self.destination.name}#{self.target}"

    def check(self) -> None:
        """Show that the copier lives; raises `LockLostError` when another one has taken over."""
        now = self.now()
        if not self._renewed or now - self._renewed[-1] >= _RENEWED_AFTER:
            self.catalog.locks.renew(self.lock, self.run_id, now)
            self._renewed[:] = [now]


def copy_target(job: TargetCopyJob, only: Sequence[Backup] | None = None) -> Copied:
    """Copy what is due, the newest first, or these backups.

    A backup that was deleted from the vault meanwhile is passed over. One that is damaged costs itself alone: the
    others are copied, then the journal, and the first such error is raised at the end. Any other error ends the run.
    All are recorded, and the next run tries these backups again. What the vault has lost of a journal is named, and no
    error: it may be gone for good.

    Raises
    ------
    BackupStateError
        `BACKUP_NOT_COMPLETED`: one of the named backups is no good one.
    CopyError, IntegrityError, StoreError, StoreTransientError
        What `copy_backup` raises.
    """
    for named in only or ():
        refuse_uncopied(named)
    lock = job.catalog.locks.acquire(job.lock, job.run_id, job.now(), stale_after=_STALE_AFTER)
    done = Copied(job.destination.name, job.target)
    if not lock.acquired:
        return replace(done, busy=True)
    try:
        damaged: list[CoffreError] = []
        done = _copy_backups(job, only, done, damaged)
        if done.unfinished is not None:
            return done
        if job.records_at is not None:
            copy_records(job.source, job.records_at, job.target, job.check)
        _copy_points(job)
        if (to := job.journal) is not None:
            bases = partial(journal_bases, to.vault, _whole_there(job))
            brought = copy_journal(job.source, to, job.target, bases, job.check, job.is_time_over)
            done = replace(done, journal_lacks=brought.lacking)
        if damaged:
            raise damaged[0]
        return done
    finally:
        job.catalog.locks.release(job.lock, job.run_id)


def _copy_backups(
    job: TargetCopyJob, only: Sequence[Backup] | None, done: Copied, damaged: list[CoffreError]
) -> Copied:
    passed: set[str] = set()
    while (backup := _next(job, only, {*done.backups, *passed})) is not None:
        try:
            sent = _copy_one(job, backup)
        except (CopyError, IntegrityError) as error:
            damaged.append(error)
            sent = None
        if sent is None:
            passed.add(backup.id)
            continue
        done = done.plus(backup, sent)
        if done.unfinished is not None:
            break
        job.on_copied(backup)
    return done


def _copy_points(job: TargetCopyJob) -> None:
    """Copy the restore points whose last part is complete there by now."""
    for point in due_points(job.catalog, job.destination.name, job.target):
        part = job.catalog.get_backup(point.database.backup_id)
        copy_point(job.source.store, job.open_at(part).store, point)


def _next(job: TargetCopyJob, only: Sequence[Backup] | None, done: set[str]) -> Backup | None:
    """Return the next backup: what is due is asked again each time, as backups end while others are copied."""
    if only is not None:
        return next((one for one in only if one.id not in done), None)
    copies = {copy.backup_id: copy for copy in job.catalog.copies.of(job.destination.name)}
    due = due_copies(job.catalog.completed_backups(job.target), copies)
    return next((one for one in due if one.id not in done), None)


def _copy_one(job: TargetCopyJob, backup: Backup) -> Sent | None:
    """Copy one backup and keep the record of it; None: it is not in the vault any more."""
    known = job.catalog.copies.find(job.destination.name, backup.id)
    asked = job.requests()
    is_there = known is not None and known.status is CopyStatus.COMPLETED
    record = _begun(job, backup, known)
    vault = job.open_at(backup)
    if not is_there:
        job.catalog.copies.keep(record)
    sent = Sent()

    def progress(now: Sent, packs: int, size: int) -> None:
        nonlocal sent
        sent = now
        job.on_progress(backup, now, packs, size)

    def ended(status: CopyStatus, error: str | None = None) -> None:
        counted = {
            "packs": record.packs + sent.packs,
            "bytes": record.bytes + sent.bytes,
            "requests": record.requests + job.requests() - asked,
        }
        completed = job.now() if status is CopyStatus.COMPLETED else None
        changes: dict[str, object] = {**counted, "status": status, "completed_at": completed, "error": error}
        if completed is not None and not is_there:
            changes |= {"damaged": None, "damaged_packs": ()}  # what had made way was sent again
        if completed is not None and sent.packs and vault.new_locked_until is not None:
            changes["locked_until"] = vault.new_locked_until
        job.catalog.copies.keep(record.model_copy(update=changes))

    try:
        sent = copy_backup(
            CopyJob(
                source=job.source,
                destination=vault,
                backup=backup,
                name=job.destination.name,
                check=job.check,
                is_time_over=job.is_time_over,
                locked_until=KnownLocks(vault, lambda: _whole_there(job)).until,
                on_progress=progress,
            )
        )
    except CoffreError as error:
        # A copy that was whole before stays one: what is wrong with it, a verification finds.
        if not is_there:
            ended(CopyStatus.FAILED, f"{error.message} [{error.code}]")
        if _was_deleted(job, backup, error):
            return None
        raise
    if sent.is_whole or not is_there:
        ended(CopyStatus.COMPLETED if sent.is_whole else CopyStatus.IN_PROGRESS)
    return sent


def _begun(job: TargetCopyJob, backup: Backup, known: Copy | None) -> Copy:
    """Return the record of a copy that begins now, with what earlier runs have counted."""
    begun = Copy(
        destination=job.destination.name,
        backup_id=backup.id,
        target=backup.target,
        status=CopyStatus.IN_PROGRESS,
        started_at=job.now(),
        manifest_sha256=backup.manifest_sha256,
    )
    if known is None:
        return begun
    kept: dict[str, object] = {name: getattr(known, name) for name in ("packs", "bytes", "requests", "locked_until")}
    # A copier replaces nothing: what was found damaged stays so until a look finds it mended, or it has made way and is
    # sent again.
    kept |= {"damaged": known.damaged, "damaged_packs": known.damaged_packs}
    return begun.model_copy(update=kept)


def _whole_there(job: TargetCopyJob) -> Iterator[Backup]:
    """Yield the backups of the target that are complete at the destination, as the destination has them."""
    copies = {copy.backup_id: copy for copy in job.catalog.copies.of(job.destination.name)}
    for backup in job.catalog.completed_backups(job.target):
        copy = copies.get(backup.id)
        if copy is not None and copy.status is CopyStatus.COMPLETED:
            yield as_copied(backup, copy)


def _was_deleted(job: TargetCopyJob, backup: Backup, error: CoffreError) -> bool:
    gone = isinstance(error, CopyError) and error.code == "COPY_SOURCE_GONE"
    return gone and job.catalog.get_backup(backup.id).status is Status.DELETED


def refuse_uncopied(backup: Backup) -> None:
    """Refuse a backup of which no copy is made; raises `BackupStateError`."""
    if is_copied(backup):
        return
    why = "it holds what a restore has overwritten" if backup.is_safety else f"it is {backup.status.value}"
    raise BackupStateError(
        f"Backup {backup.id} of {backup.target} is not copied: {why}.",
        code="BACKUP_NOT_COMPLETED",
        hint=f"Choose a COMPLETED one: coffre list {backup.target} --status COMPLETED",
    )
