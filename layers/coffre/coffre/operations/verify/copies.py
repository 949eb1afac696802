"""Inventory and reading of a copy of the vault. No key is needed: whole packs are compared with their SHA-256.

The plaintext was proven in the vault. In a copy it is enough that each pack is byte by byte the one that the manifest
names, and that the manifest is the one that the catalog recorded.
"""

from __future__ import annotations

import hashlib
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Mapping
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, field
from functools import reduce
from typing import Final

from coffre.model.backup import Backup
from coffre.model.copies import Destination
from coffre.model.errors import IntegrityError, ObjectMissingError
from coffre.model.manifest import Manifest
from coffre.model.rotation import Amount
from coffre.model.verification import Damage, DamageReport, Level, Share, VerificationReport
from coffre.operations.stored_backup.open_backup import manifest_of
from coffre.operations.verify.copy_records import CopyState
from coffre.operations.verify.damages import read_pack
from coffre.operations.verify.inventory import look
from coffre.operations.verify.job import RESERVE_SECONDS, VerifyJob
from coffre.operations.verify.journals import JournalLook
from coffre.operations.verify.read_journals import JournalReading
from coffre.stores.store import ObjectInfo
from coffre.vault.entry_files import lists_apart
from coffre.vault.layout import PACKS
from coffre.vault.pack_references import References

# A pack has 16 MiB, at most 64: four of them fit into the memory of the smallest function.
_READERS: Final = 4
# Of the time of a reading; the packs of backups have the rest.
_SHARE_FOR_JOURNALS: Final = 1 / 4


def inventory_of_copy(
    job: VerifyJob,
    destination: Destination,
    share: Share,
    *,
    target: str | None = None,
    backup_id: str | None = None,
) -> VerificationReport:
    """Look for everything that the backups of a copy need, and record of each whether it is complete there.

    Manifests that the catalog has no record of are recorded (the owner's own replication has brought them).

    Parameters
    ----------
    job
        Its `vault` is the copy.
    share
        Of these packs the store's checksums are compared, which takes one request each.

    Raises
    ------
    BackupStateError
        `NOTHING_TO_VERIFY`, `BACKUP_UNKNOWN`
    """
    state = CopyState.read(job, destination, target, backup_id)
    packs = _Counted(job.vault.store.list(PACKS))
    looked = look(job, state.living, share, packs, records=state.records)
    packs.drain()
    damages = [*looked.damages, *_read_again(state, looked.own)]
    reports = state.reports(Level.INVENTORY, damages, looked.own)
    state.record(Level.INVENTORY, reports, whole=looked.tally.unfinished is None)
    journals = JournalLook(job, state.living, job.catalog.latest.damaged_of_journals(destination.name))
    problems = tuple(journals.run(target)) if backup_id is None else ()
    report = _report(job, destination, Level.INVENTORY, state, reports, share)
    return report.model_copy(
        update={
            "status": 500 if reports or problems or looked.tally.unfinished else 200,
            "stored": packs.amount.plus_all(journals.stored),
            "journal_problems": problems,
            "target": target,
            "packs": looked.tally.packs,
            "checksums": looked.heads.compared,
            "checksums_not_kept": looked.heads.not_kept,
            "unfinished": looked.tally.unfinished,
        }
    )


def read_copy(
    job: VerifyJob,
    destination: Destination,
    share: Share,
    *,
    target: str | None = None,
    backup_id: str | None = None,
) -> VerificationReport:
    """Read a share of the packs and lists of entries that the backups of a copy need, and compare their SHA-256.

    So it does with the packs of its journals, unless only one backup is meant.

    Raises
    ------
    BackupStateError
        `NOTHING_TO_VERIFY`, `BACKUP_UNKNOWN`
    """
    state = CopyState.read(job, destination, target, backup_id)
    journals = _read_journals(job, destination, state, share) if backup_id is None else []
    problems = tuple(problem for one in journals for problem in one.run())
    reading = _Reading(job, share)
    own: dict[str, list[Damage]] = {}
    references = References(job.scratch)
    for backup in state.living:
        own[backup.id] = []
        manifest = _manifest(job, backup, own[backup.id])
        if manifest is not None:
            references.add(manifest.packs)
            lists = (file for file in lists_apart(manifest.entries) if share.holds(file.key))
            own[backup.id] += [found for file in lists if (found := _twice(_read_list, job, file.key, file.sha256))]
    wanted = ((pack.key, pack.length, pack.sha256) for pack in references.in_order() if share.holds(pack.key))
    damages = [*reading.run(wanted), *_read_again(state, own)]
    reports = state.reports(Level.READ, damages, own)
    state.record(Level.READ, reports, whole=share.parts == 1 and reading.unfinished is None)
    report = _report(job, destination, Level.READ, state, reports, share)
    unfinished = reading.unfinished or next((one.unfinished for one in journals if one.unfinished), None)
    return report.model_copy(
        update={
            "status": 500 if reports or problems or unfinished else 200,
            "target": target,
            "packs": reading.packs,
            "journal": reduce(Amount.plus_all, (one.packs for one in journals), Amount()),
            "journal_problems": problems,
            "unfinished": unfinished,
        }
    )


def _read_journals(job: VerifyJob, destination: Destination, state: CopyState, share: Share) -> list[JournalReading]:
    """Return what reads the journals of the copy's targets, within a part of the time."""
    enough = RESERVE_SECONDS + (job.remaining_seconds() - RESERVE_SECONDS) * (1 - _SHARE_FOR_JOURNALS)

    def is_over() -> bool:
        return job.remaining_seconds() <= enough

    targets = sorted({copy.target for copy in state.copies.values()})
    return [JournalReading(job, state.living, name, share, is_over, destination.name) for name in targets]


def _report(
    job: VerifyJob,
    destination: Destination,
    level: Level,
    state: CopyState,
    reports: Mapping[str, DamageReport],
    share: Share,
) -> VerificationReport:
    targets = sorted({copy.target for copy in state.copies.values()})
    return VerificationReport(
        id=job.id,
        level=Level.INVENTORY if level is Level.INVENTORY else Level.READ,
        copy_name=destination.name,
        share=str(share),
        backups=len(state.copies),
        damaged=tuple(reports.values()),
        healthy={
            name: next((one.id for one in state.living if one.target == name and one.id not in reports), None)
            for name in targets
        }
        if reports
        else {},
    )


def _manifest(job: VerifyJob, backup: Backup, own: list[Damage]) -> Manifest | None:
    try:
        return manifest_of(job.vault, backup)
    except IntegrityError as error:
        own.append(Damage.of(error))
        return None


def _read_again(state: CopyState, own: dict[str, list[Damage]]) -> Iterator[Damage]:
    """Read what an earlier look found damaged: only its own bytes can show that it was mended."""
    for backup in state.living:
        copy = state.copies[backup.id]
        if copy.damaged is None:
            continue
        manifest = _manifest(state.job, backup, [])
        if manifest is None:
            continue  # this look has found it
        for file in lists_apart(manifest.entries):
            if (found := _twice(_read_list, state.job, file.key, file.sha256)) is not None:
                own.setdefault(backup.id, []).append(found)
        for pack in manifest.packs:
            if pack.key in copy.damaged_packs:
                found = read_pack(state.job.vault, pack.key, pack.length, pack.sha256)
                if found is not None:
                    yield found


def _twice[**P](read: Callable[P, Damage | None], *args: P.args, **kwargs: P.kwargs) -> Damage | None:
    """Return the damage that a second reading finds too: then it is in the stored bytes."""
    return read(*args, **kwargs) and read(*args, **kwargs)


def _read_list(job: VerifyJob, key: str, sha256: str) -> Damage | None:
    try:
        body = job.vault.store.get(key)
    except ObjectMissingError:
        return Damage(code="ENTRIES_MISSING", text=f"The list of entries {key} is not in the vault.")
    if hashlib.sha256(body).hexdigest() == sha256:
        return None
    return Damage(code="ENTRIES_SWAPPED", text=f"The list of entries {key} is not the one that was recorded.")


@dataclass
class _Reading:
    """Reads packs, several in parallel, until the time is over."""

    job: VerifyJob
    share: Share
    packs: Amount = field(default_factory=Amount)
    unfinished: str | None = None

    def run(self, packs: Iterable[tuple[str, int, str]]) -> list[Damage]:
        found: list[Damage] = []
        under_way: deque[tuple[int, Future[Damage | None]]] = deque()

        def take() -> None:
            length, reading = under_way.popleft()
            damage = reading.result()
            self.packs = self.packs.plus(length)
            if damage is not None:
                found.append(damage)

        with ThreadPoolExecutor(_READERS, thread_name_prefix="read") as pool:
            for key, length, sha256 in packs:
                if self.job.is_time_over():
                    self.unfinished = f"The time was over after {self.packs.objects:,} packs were read."
                    break
                if len(under_way) >= _READERS:
                    take()
                under_way.append((length, pool.submit(read_pack, self.job.vault, key, length, sha256)))
            while under_way:
                take()
        return found


class _Counted:
    """A listing that counts what goes through it."""

    def __init__(self, listed: Iterable[ObjectInfo]) -> None:
        self._listed = iter(listed)
        self.amount = Amount()

    def __iter__(self) -> Iterator[ObjectInfo]:
        for info in self._listed:
            self.amount = self.amount.plus(info.size)
            yield info

    def drain(self) -> None:
        """Count the rest."""
        for _ in self:
            pass
