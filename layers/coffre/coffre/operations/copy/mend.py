"""Mend a backup in the vault: what is damaged or missing there is put back from a copy, byte by byte.

Packs, lists of entries and the manifest are alike here: objects whose SHA-256 is recorded. Nothing is removed before
its good bytes are in memory and checked. Whatever is interrupted, the same call continues.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Protocol

from coffre.model.backup import Backup, Status
from coffre.model.errors import IntegrityError, ObjectMissingError, StoreError, StoreTransientError
from coffre.model.locks import LockMode, stricter
from coffre.model.manifest import Manifest
from coffre.operations.copy.missing import missing_packs
from coffre.operations.copy.put_back import UNKNOWN_MODE, Need, PutBack, stored_sha256
from coffre.operations.stored_backup.open_backup import manifest_of, refuse_other_backups, refuse_unrestorable
from coffre.stores.body import sha256_of
from coffre.stores.store import Store
from coffre.vault.damage import read_findings
from coffre.vault.entry_files import lists_apart
from coffre.vault.pack_list import PackList
from coffre.vault.vault import Vault


class Backups(Protocol):
    """Knows the backups of a target: a catalog, or a vault alone."""

    def backups(self, *, target: str) -> Iterable[Backup]:
        """Yield them, in any state."""
        ...


@dataclass(frozen=True)
class MendJob:
    """One backup to be mended.

    Parameters
    ----------
    vault
        Where it is damaged: this is written.
    whole
        The same vault, read together with its copies (`stored_backup.read_copies`).
    dry_run
        Only look for what is damaged, and for good bytes of it.
    check
        Called before each object; what it raises stops the work between two objects.
    """

    backups: Backups
    vault: Vault
    whole: Vault
    backup: Backup
    now: Callable[[], datetime]
    dry_run: bool = False
    check: Callable[[], None] = lambda: None


@dataclass(frozen=True)
class Mended:
    """What came of it: `lost` are the objects of which no copy has good bytes, each with the reason.

    `marked` are the backups, this one too, that count as damaged and name a mended object: only reading them proves
    that they are whole.
    """

    keys: tuple[str, ...] = ()
    size_bytes: int = 0
    lost: Mapping[str, str] = field(default_factory=dict)
    marked: tuple[str, ...] = ()


def mend(job: MendJob) -> Mended:
    """Put back what is damaged or missing of a backup. Running it again is right at any time, and after any error.

    Looked at are the packs that verification has found damaged, those that the vault does not list with their length,
    and the backup's own records. Other backups that share an object are mended with it.

    Raises
    ------
    BackupStateError
        `BACKUP_NOT_COMPLETED`
    IntegrityError
        No place has its manifest; or `REPORT_DAMAGED`.
    StoreError, StoreTransientError
        The vault refuses, or does not answer.
    """
    refuse_unrestorable(job.backup)
    key = job.backup.manifest_key or ""
    packs = PackList.of(job.whole.manifest_bytes(key, sha256=job.backup.manifest_sha256 or ""), key)
    refuse_other_backups(packs.manifest, key, job.backup.target, job.backup.id)
    damaged = dict(_damaged(job, packs))
    if not damaged:
        return Mended()
    needs, marked = _needs(job, damaged.keys())
    writer = PutBack(job.vault.store, job.now())
    keys, size, lost = list[str](), 0, dict[str, str]()
    for one, sha256 in damaged.items():
        job.check()
        try:
            body = _good_bytes(job.whole, one, sha256)
        except (IntegrityError, StoreError, StoreTransientError) as error:
            lost[one] = " ".join([error.message, *getattr(error, "__notes__", ())])
            continue
        if not job.dry_run:
            writer.put(one, body, needs.get(one, Need()))
        keys.append(one)
        size += len(body)
    named = sorted({backup_id for one in keys for backup_id in marked.get(one, ())}, reverse=True)
    return Mended(tuple(keys), size, lost, tuple(named))


def _damaged(job: MendJob, packs: PackList) -> Iterator[tuple[str, str]]:
    """Yield what is not in the vault as it was recorded, with the right SHA-256; what commits the backup comes last."""
    store = job.vault.store
    findings = read_findings(job.vault, job.backup.target, job.backup.id)
    suspects = {pack for report in findings.values() for pack in report.packs}
    suspects |= {packs.at(place).key for place in missing_packs(store, packs)}  # a listing may be behind
    lists = {file.key for file in packs.manifest.entries}
    if suspects & lists:
        suspects |= lists  # a reading of the backup ends at the first bad one
    yield from (
        (pack.key, pack.sha256)
        for _, pack in packs
        if pack.key in suspects and not _is_good(store, pack.key, pack.sha256)
    )
    records = [(file.key, file.sha256) for file in lists_apart(packs.manifest.entries)]
    records.append((job.backup.manifest_key or "", job.backup.manifest_sha256 or ""))
    yield from (one for one in records if not _is_good(store, *one))


def _is_good(store: Store, key: str, sha256: str) -> bool:
    """Return whether an object is as it was recorded."""
    return stored_sha256(store, key, sha256) == sha256


def _good_bytes(whole: Vault, key: str, sha256: str) -> bytes:
    """Return an object's bytes from the first place that has them as they were recorded; raises what `checked` does."""

    def read(store: Store) -> bytes:
        body = store.get(key)
        if sha256_of(body) != sha256:
            raise IntegrityError(f"{key} is not the object that was stored.", code="OBJECT_SWAPPED")
        return body

    return whole.checked(key, read)


def _needs(job: MendJob, keys: Collection[str]) -> tuple[dict[str, Need], dict[str, set[str]]]:
    """Return which locks the backups that name these objects need, and which of those backups are marked as damaged."""
    needs: dict[str, Need] = {}
    marked: dict[str, set[str]] = {}
    for backup in job.backups.backups(target=job.backup.target):
        if backup.status is not Status.COMPLETED:
            continue
        try:
            named = _modes(backup, manifest_of(job.whole, backup))
        except (IntegrityError, ObjectMissingError):
            continue  # its own damage: it is mended by its own id
        for key in named.keys() & set(keys):
            known = needs.get(key, Need())
            until = max((end for end in (known.until, *_lock_ends(backup)) if end is not None), default=None)
            mode = stricter(known.mode, named[key])
            needs[key] = Need(until, mode, is_held=known.is_held or backup.held_at is not None)
            if backup.damaged_at is not None:
                marked.setdefault(key, set()).add(backup.id)
    return needs, marked


def _lock_ends(backup: Backup) -> tuple[datetime | None, datetime | None]:
    """Return until when its objects are locked, and until when an extension that is under way has locked some."""
    return backup.locked_until, backup.lock_progress.until if backup.lock_progress else None


def _modes(backup: Backup, manifest: Manifest) -> dict[str, LockMode]:
    """Return everything that a backup refers to, with the mode of its lock: that of a pack is in the manifest."""
    mode = next((pack.lock_mode for pack in manifest.packs if pack.lock_mode is not None), UNKNOWN_MODE)
    records = [backup.manifest_key or "", *(file.key for file in lists_apart(manifest.entries))]
    return {**dict.fromkeys(records, mode), **{pack.key: pack.lock_mode or mode for pack in manifest.packs}}
