"""Inventory: everything that backups need exists, has the recorded length, and the checksum that the store keeps.

Of a backup, only the manifest is read. Names are merged with the listing of the vault, both sorted, so that memory does
not grow with their number; a listing returns a thousand packs in one request.
"""

from __future__ import annotations

import contextlib
import hashlib
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from datetime import datetime

from coffre.model.backup import Backup
from coffre.model.errors import IntegrityError, ObjectMissingError
from coffre.model.manifest import EntriesFile
from coffre.model.rotation import Amount
from coffre.model.vault_use import JournalDamage
from coffre.model.verification import Damage, Level, Share, VerificationReport
from coffre.operations.stored_backup.open_backup import manifest_of
from coffre.operations.verify.damages import pack_swapped
from coffre.operations.verify.head_requests import Heads, confirmed
from coffre.operations.verify.job import CatalogSnapshot, VerifyJob, record_damage
from coffre.operations.verify.journals import JournalLook
from coffre.operations.verify.lock_check import LockCheck
from coffre.stores.store import ObjectInfo
from coffre.vault.entry_files import lists_apart
from coffre.vault.layout import PACKS, segment_of, writer_of
from coffre.vault.pack_references import LivingPack, References


def inventory(
    job: VerifyJob, share: Share, *, target: str | None = None, backup_id: str | None = None
) -> VerificationReport:
    """Look for everything that COMPLETED backups need: all of them, those of a target, or one.

    Parameters
    ----------
    share
        Of these packs, the store's checksums are compared, which takes one request each.

    Raises
    ------
    BackupStateError
        `BACKUP_UNKNOWN`, `BACKUP_STATE` (it is not COMPLETED, or not any more), `NOTHING_TO_VERIFY`.
    """
    known = CatalogSnapshot.read(job.catalog)
    living = known.required(target, backup_id)
    locks = job.lock_check()
    looked = look(job, living, share, job.vault.store.list(PACKS), records=known.records, locks=locks)
    damages, own, heads, tally = looked.damages, looked.own, looked.heads, looked.tally
    if backup_id is not None:
        CatalogSnapshot.read(job.catalog).required(backup_id=backup_id)
    journals = JournalLook(job, living, job.catalog.latest.damaged_of_journals())
    problems = tuple(journals.run(target)) if backup_id is None else ()
    _note_records(job, journals)
    unfinished = tally.unfinished or journals.unfinished
    damaged = record_damage(job, Level.INVENTORY, known, damages, own)
    short = locks.problems() if locks is not None else ()
    return VerificationReport(
        id=job.id,
        level=Level.INVENTORY,
        status=500 if damaged or unfinished or short or problems else 200,
        target=target,
        share=str(share),
        backups=len(living),
        packs=tally.packs,
        checksums=heads.compared,
        checksums_not_kept=heads.not_kept,
        living={name: tally.living(name) for name in tally.objects},
        damaged=damaged,
        journal=journals.stored,
        journal_problems=problems,
        lock_problems=short,
        unfinished=unfinished,
    )


def _note_records(job: VerifyJob, journals: JournalLook) -> None:
    """Remember which records of segments cannot be read, next to the packs that a reading has found damaged."""
    for target, records in journals.records.items():
        known = job.catalog.latest.damaged_of_journal(target)
        packs = {key for key in known if segment_of(key) is None or journals.unfinished}
        if packs | records != known:
            found = JournalDamage(target=target, at=job.now(), packs=tuple(sorted(packs | records)))
            job.catalog.latest.note_damaged_of_journal(found)


@dataclass
class Looked:
    """What a look at everything that some backups need has found.

    `damages` are of packs; `own`, by backup, are of its manifest and its lists of entries.
    """

    damages: list[Damage]
    own: dict[str, list[Damage]]
    heads: Heads
    tally: _Tally


def look(
    job: VerifyJob,
    living: Iterable[Backup],
    share: Share,
    listed: Iterable[ObjectInfo],
    *,
    records: Mapping[str, Backup],
    locks: LockCheck | None = None,
) -> Looked:
    """Look for everything that these backups need; nothing is recorded.

    Parameters
    ----------
    listed
        The packs of the vault, sorted.
    records
        Every backup by id: which target wrote a pack.
    """
    own: dict[str, list[Damage]] = {}
    tally = _Tally()
    with Heads(job, locks) as heads:
        references = _read_manifests(job, living, heads, own, tally)
        for pack, stored in _merged(references.in_order(), listed):
            writer = records.get(writer_of(pack.key) or "")
            name = writer.target if writer else "-"
            tally.add(pack, name)
            if stored is None or stored.size != pack.length:
                tally.suspects.append(pack)
            elif share.holds(pack.key) or (locks is not None and locks.is_new(pack.key)):
                heads.ask(pack, name)
            if tally.is_stopped_at(job):
                break
    damages = [*heads.damages, *confirmed(job, tally.suspects)]
    damages += _read_unkept(job, heads, own, tally)
    return Looked(damages, own, heads, tally)


def _read_manifests(
    job: VerifyJob, living: Iterable[Backup], heads: Heads, own: dict[str, list[Damage]], tally: _Tally
) -> References:
    """Return the packs that the backups reference, and note the damage of their own records."""
    references = References(job.scratch)
    for backup in living:
        if tally.is_stopped_at(job):
            break
        own[backup.id] = list(_look_at_records(job, backup, references, heads))
    return references


@dataclass
class _Tally:
    packs: Amount = field(default_factory=Amount)
    objects: Counter[str] = field(default_factory=Counter)
    size_bytes: Counter[str] = field(default_factory=Counter)
    suspects: list[LivingPack] = field(default_factory=list)
    unfinished: str | None = None

    def add(self, pack: LivingPack, target: str) -> None:
        self.packs = self.packs.plus(pack.length)
        self.objects[target] += 1
        self.size_bytes[target] += pack.length

    def living(self, target: str) -> Amount:
        return Amount(objects=self.objects[target], size_bytes=self.size_bytes[target])

    def is_stopped_at(self, job: VerifyJob) -> bool:
        if self.unfinished is None and job.is_time_over():
            self.unfinished = f"The time was over after {self.packs.objects:,} packs."
        return self.unfinished is not None


def _read_unkept(job: VerifyJob, heads: Heads, own: dict[str, list[Damage]], tally: _Tally) -> Iterator[Damage]:
    """Read the objects whose checksum is missing, and compare their content with what was recorded."""
    unkept = heads.unkept
    if not unkept.keeps:
        return
    for backup_id, file in unkept.lists:
        if tally.is_stopped_at(job):
            return
        if not _holds(job, file.key, file.sha256):
            own.setdefault(backup_id, []).append(_list_swapped(file))
    for pack in unkept.packs:
        if tally.is_stopped_at(job):
            return
        heads.compared, heads.not_kept = heads.compared + 1, heads.not_kept - 1
        if not _holds(job, pack.key, pack.sha256):
            yield pack_swapped(pack.key)


def _holds(job: VerifyJob, key: str, sha256: str) -> bool:
    """Return whether the stored bytes are these. What is not is read twice before that is said."""
    for _ in range(2):
        with contextlib.suppress(ObjectMissingError):
            if hashlib.sha256(job.vault.store.get(key)).hexdigest() == sha256:
                return True
    return False


def _look_at_records(job: VerifyJob, backup: Backup, references: References, heads: Heads) -> Iterator[Damage]:
    """Note the packs of a backup, and yield what is wrong with its manifest and its list of entries."""
    try:
        manifest = manifest_of(job.vault, backup)
    except IntegrityError as error:
        yield Damage.of(error)
        return
    needed = heads.locks.needed(backup, manifest) if heads.locks is not None else None
    references.add(manifest.packs, needed)
    for file in lists_apart(manifest.entries):
        yield from _look_at_entries(job, backup, file, heads, needed)
    if heads.locks is not None and needed is not None:
        key = backup.manifest_key or ""
        heads.locks.look(key, backup.target, job.vault.store.head(key).locked, needed)


def _look_at_entries(
    job: VerifyJob, backup: Backup, file: EntriesFile, heads: Heads, needed: datetime | None
) -> Iterator[Damage]:
    unkept = heads.unkept
    try:
        info = job.vault.store.head(file.key)
    except ObjectMissingError:
        yield Damage(code="ENTRIES_MISSING", text=f"The list of entries {file.key} is not in the vault.")
        return
    if heads.locks is not None:
        heads.locks.look(file.key, backup.target, info.locked, needed)
    if info.size != file.length or info.sha256 not in (None, file.sha256):
        yield _list_swapped(file)
    elif info.sha256 is None:
        unkept.lists.append((backup.id, file))
    else:
        unkept.keeps = True


def _list_swapped(file: EntriesFile) -> Damage:
    return Damage(code="ENTRIES_SWAPPED", text=f"The list of entries {file.key} is not the one that was recorded.")


def _merged(
    packs: Iterator[LivingPack], listed: Iterable[ObjectInfo]
) -> Iterator[tuple[LivingPack, ObjectInfo | None]]:
    """Yield each pack with what the store lists under its key; both come sorted."""
    pack = next(packs, None)
    for info in listed:
        while pack is not None and pack.key < info.key:
            yield pack, None
            pack = next(packs, None)
        if pack is None:
            return
        if pack.key == info.key:
            yield pack, info
            pack = next(packs, None)
    while pack is not None:
        yield pack, None
        pack = next(packs, None)
