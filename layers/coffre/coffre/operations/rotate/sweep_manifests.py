"""The first half of a sweep: collect the packs of living backups' manifests, and delete those of deleted backups."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Final

from coffre.model.backup import Status
from coffre.model.errors import IntegrityError
from coffre.model.manifest import DatabaseContent
from coffre.operations.rotate.batch_delete import Remover
from coffre.operations.rotate.sweep_job import (
    BackupSummary,
    SweepJob,
    SweepTally,
)
from coffre.operations.rotate.sweep_journal import Base
from coffre.operations.runs.parallel_map import ordered_map
from coffre.stores.store import ObjectInfo
from coffre.vault.layout import MANIFEST, part_number, record_of, writer_of
from coffre.vault.pack_references import References
from coffre.vault.part_records import recorded_packs

_READ_TOGETHER: Final = 8
# Of records as they are stored; what is unpacked of each is small.
_READ_BYTES: Final = 32 * 1024 * 1024


@dataclass(frozen=True)
class PackRules:
    """Decides about packs, after all manifests were read: the catalog's records, and why packs of some targets stay.

    `resumable` are the packs of other runs that a run names which did not finish: the next run may continue from them.
    """

    records: Mapping[str, BackupSummary]
    blocked: Mapping[str, str]
    resumable: frozenset[str] = frozenset()


class RecordsWalk:
    """Goes through the folders of all backups, one at a time."""

    def __init__(self, job: SweepJob, remover: Remover, tally: SweepTally) -> None:
        self._job = job
        self._remover = remover
        self._tally = tally
        self._records = job.summaries()
        self._being_restored = {restore.backup_id for restore in job.records.running_restores(job.now)}
        self._read: set[tuple[str, str]] = set()
        self._unlisted: list[tuple[str, str]] = []
        self._doubts: dict[str, str] = {}
        self._resumable: set[str] = set()
        self._completed_at: dict[str, datetime] = {}
        for record in self._records.values():
            if record.status is Status.COMPLETED:
                known = self._completed_at.get(record.target, record.ended_at)
                self._completed_at[record.target] = max(record.ended_at, known)
        self.references = References(job.scratch)
        self.bases: dict[str, list[Base]] = {}
        self.damaged_bases: dict[str, list[Base]] = {}

    def visit(self, target: str, backup_id: str, objects: Iterable[ObjectInfo]) -> None:
        """Note the packs of a living backup, or remove the records of a deleted one."""
        self._job.check()
        own: dict[str, ObjectInfo] = {}
        for info in objects:
            record = record_of(info.key)
            if record is None:
                self._tally.note_foreign(info)
            else:
                own[record.name] = info
        known = self._records.get(backup_id)
        if known is not None and known.target != target:
            known = None  # a copied folder: the packs that it references stay, and so does the copy
        if known is not None and known.status is Status.DELETED:
            if backup_id not in self._being_restored:
                self._remove(own)
        elif MANIFEST in own:
            self._refer(target, backup_id, known)
            if known is not None and known.is_long_over(self._job.now):
                self._remove_parts(own)
        elif known is not None and known.status is Status.FAILED:
            self._visit_failed(target, backup_id, known, own)

    def _visit_failed(self, target: str, backup_id: str, known: BackupSummary, own: Mapping[str, ObjectInfo]) -> None:
        """Remove what a run has left that failed a day ago; until then the next run of the target can continue it."""
        completed_at = self._completed_at.get(target)
        if known.is_long_over(self._job.now):
            self._remove(own)
        elif completed_at is not None and completed_at > known.ended_at:
            self._remove_parts(own)
        else:
            self._keep_resumable(target, backup_id, own.values())

    def _keep_resumable(self, target: str, backup_id: str, own: Iterable[ObjectInfo]) -> None:
        """Keep the packs of other runs that a run's records name. It may have ten thousand of them."""

        def others(record: tuple[int, int]) -> frozenset[str]:
            try:
                packs = recorded_packs(self._job.vault, target, backup_id, record[0])
            except IntegrityError:  # the next run cannot use it either
                return frozenset()
            return frozenset(pack.key for pack in packs if writer_of(pack.key) != backup_id)

        def records() -> Iterator[tuple[int, int]]:
            for info in own:
                number = part_number(info.key)
                if number is not None:
                    self._job.check()
                    yield number, info.size

        for found in ordered_map(
            others, records(), cost_of=lambda record: record[1], width=_READ_TOGETHER, memory_bytes=_READ_BYTES
        ):
            self._resumable |= found

    def settle(self) -> PackRules:
        """Read the catalog again, because runs whose manifest was not listed yet may reference packs."""
        self._remover.finish()  # all records are deleted before the first pack
        records = self._job.summaries()
        blocked = dict(self._doubts)
        for backup_id, known in records.items():
            if not known.status.is_final:
                blocked.setdefault(known.target, f"backup {backup_id} of {known.target} is running")
            elif known.status is Status.COMPLETED and (known.target, backup_id) not in self._read:
                self._explain_unread(backup_id, known, blocked)
            elif known.status is Status.FAILED and self._was_running(backup_id):
                blocked.setdefault(known.target, f"backup {backup_id} of {known.target} has just ended")
        for restore in self._job.records.running_restores(self._job.now):
            blocked.setdefault(restore.target, f"restore {restore.id} of {restore.target} is running")
        for target, backup_id in self._unlisted if self._job.copy is None else ():
            found = records.get(backup_id)
            if found is None or found.status is Status.FAILED:
                text = f"The vault has backup {backup_id} of {target}, but the catalog does not: coffre catalog rebuild"
                self._tally.note_problem("MANIFEST_UNLISTED", target, text)
        return PackRules(records, blocked, frozenset(self._resumable))

    def _was_running(self, backup_id: str) -> bool:
        """Tell whether a run was no FAILED one when its records were visited: what they name is not known."""
        earlier = self._records.get(backup_id)
        return earlier is None or earlier.status is not Status.FAILED

    def _explain_unread(self, backup_id: str, known: BackupSummary, blocked: dict[str, str]) -> None:
        earlier = self._records.get(backup_id)
        if earlier is None or earlier.status is not Status.COMPLETED:
            blocked.setdefault(known.target, f"backup {backup_id} of {known.target} has just ended")
        elif known.target not in self._doubts:
            copy = self._job.copy
            cure = (
                f"Restore it from the bucket's versions, or delete the backup: coffre delete {backup_id}."
                if copy is None
                else f"Copy the backup again: coffre copy {backup_id} --to {copy}"
            )
            text = (
                f"The manifest of backup {backup_id} of {known.target} is not in {self._job.place}. {cure} "
                f"Until then, no pack of {known.target} is deleted."
            )
            blocked[known.target] = text
            self._tally.note_problem("MANIFEST_MISSING", known.target, text)

    def _refer(self, target: str, backup_id: str, known: BackupSummary | None) -> None:
        try:
            found = self._job.vault.find_manifest(target, backup_id)
        except IntegrityError as error:
            self._doubt(error.code, target, error.message)
            return
        if found is None:
            return  # it was deleted after it was listed: `settle` decides whether it should exist
        manifest, committed = found
        self.references.add(manifest.packs)
        self._tally.note_backup(manifest)
        self._read.add((target, backup_id))
        is_its_own = (manifest.target, manifest.backup_id) == (target, backup_id)
        is_recorded = known is None or known.manifest_sha256 in (None, committed.sha256)
        if not (is_its_own and is_recorded):
            self._doubt("MANIFEST_SWAPPED", target, f"The manifest {committed.key} is not the one that was written.")
        elif isinstance(manifest.content, DatabaseContent):
            is_good = known is not None and known.is_healthy
            content, bases = manifest.content, self.bases if is_good else self.damaged_bases
            bases.setdefault(target, []).append((backup_id, content.database, content.journal))
        if known is None or known.status is Status.FAILED:
            self._unlisted.append((target, backup_id))

    def _doubt(self, code: str, target: str, text: str) -> None:
        """Keep every pack of a target, because it is not certain which ones its backups need."""
        self._doubts[target] = f"{text} Until this is corrected, no pack of {target} is deleted."
        self._tally.note_problem(code, target, self._doubts[target])

    def _remove_parts(self, own: Mapping[str, ObjectInfo]) -> None:
        """Remove the records of finished parts: nothing is continued from them."""
        for info in own.values():
            if part_number(info.key) is not None:
                self._remover.remove_soon(info.key)
                self._tally.records_removed = self._tally.records_removed.plus(info.size)

    def _remove(self, own: Mapping[str, ObjectInfo]) -> None:
        """Remove the manifest first: without it, the other records mean nothing. All wait for the last lock."""
        kept = {why for info in own.values() if (why := self._remover.locked(info.key).why_kept(self._job.now))}
        if kept:
            folder = next(iter(own.values())).key.rsplit("/", 1)[0]
            self._tally.note_locked_record(f"records below {folder}: {max(kept)}")
            return
        if MANIFEST in own:
            self._remover.remove(own[MANIFEST].key)
        for name, info in own.items():
            if name != MANIFEST:
                self._remover.remove_soon(info.key)
            self._tally.records_removed = self._tally.records_removed.plus(info.size)
