"""The backups of a copy, in its own state of them, and what a look at them records (docs/copies-care.md).

The catalog's record of each copy is written, and nothing at the destination: verification only reads there.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import timedelta
from typing import Final

from coffre.model.backup import Backup
from coffre.model.copies import Copy, CopyStatus, Destination
from coffre.model.errors import BackupStateError, IntegrityError
from coffre.model.verification import Damage, DamageReport, Level
from coffre.operations.stored_backup.backup_in_copy import as_copied, described_copy
from coffre.operations.stored_backup.open_backup import manifest_of
from coffre.operations.verify.damages import once
from coffre.operations.verify.job import BadPacks, CatalogSnapshot, VerifyJob
from coffre.vault.layout import BACKUPS, MANIFEST, record_of

# Of a copy with more damaged packs than this, the rest is found again when these are mended.
_PACKS_KEPT: Final = 1_000
# Replication keeps no order: a manifest can be faster than what it names.
_MAY_COME: Final = frozenset({"PACK_MISSING", "ENTRIES_MISSING"})


@dataclass
class CopyState:
    """The backups of one copy.

    Parameters
    ----------
    job
        Its `vault` is the copy.

    Attributes
    ----------
    backups
        By id, each as it is in the copy; the newest first.
    unreadable
        By id, damage of those that cannot be described at all.
    arriving
        Those without a record whose manifest is so new that their packs may still be on their way.
    """

    job: VerifyJob
    destination: Destination
    backups: dict[str, Backup] = field(default_factory=dict)
    unreadable: dict[str, Damage] = field(default_factory=dict)
    copies: dict[str, Copy] = field(default_factory=dict)
    records: Mapping[str, Backup] = field(default_factory=dict)
    new: set[str] = field(default_factory=set)
    arriving: set[str] = field(default_factory=set)
    incomplete: set[str] = field(default_factory=set)

    @classmethod
    def read(
        cls, job: VerifyJob, destination: Destination, target: str | None = None, backup_id: str | None = None
    ) -> CopyState:
        """Read which backups the copy has: all of them, those of a target, or one.

        Raises
        ------
        BackupStateError
            `NOTHING_TO_VERIFY`: none. `BACKUP_UNKNOWN`: not this one.
        """
        state = cls(job, destination, records=CatalogSnapshot.read(job.catalog).records)
        known = {copy.backup_id: copy for copy in job.catalog.copies.of(destination.name)}
        wanted = {
            copy.backup_id: copy
            for copy in (*known.values(), *state._found(known))
            if copy.status is CopyStatus.COMPLETED
            and target in (None, copy.target)
            and backup_id in (None, copy.backup_id)
        }
        for one in sorted(wanted, reverse=True):
            state._describe(wanted[one])
        if not state.copies:
            raise _nothing(destination.name, target, backup_id)
        return state

    def _found(self, known: Mapping[str, Copy]) -> Iterator[Copy]:
        """Yield a record for each manifest in the copy that the catalog has no record of."""
        late = timedelta(minutes=self.destination.complete_within_minutes)
        for info in self.job.vault.store.list(BACKUPS):
            record = record_of(info.key)
            if record is None or record.name != MANIFEST or record.backup_id in known:
                continue
            at = info.last_modified or self.job.now()
            self.new.add(record.backup_id)
            if self.job.now() - at < late:
                self.arriving.add(record.backup_id)
            yield Copy(
                destination=self.destination.name,
                backup_id=record.backup_id,
                target=record.target,
                status=CopyStatus.COMPLETED,
                started_at=at,
                completed_at=at,
            )

    def _describe(self, copy: Copy) -> None:
        known = self.records.get(copy.backup_id)
        if known is not None and known.target != copy.target:
            known = None
        try:
            backup = as_copied(known or described_copy(self.job.vault, copy), copy)
        except IntegrityError as error:
            self.unreadable[copy.backup_id] = Damage.of(error)
        else:
            self.backups[copy.backup_id] = backup
            copy = copy.model_copy(update={"manifest_sha256": backup.manifest_sha256})
        self.copies[copy.backup_id] = copy

    @property
    def living(self) -> Sequence[Backup]:
        """The backups that can be looked at, the newest first."""
        return list(self.backups.values())

    def reports(
        self, level: Level, damages: Sequence[Damage], own: Mapping[str, Sequence[Damage]]
    ) -> dict[str, DamageReport]:
        """Return, by id, what is wrong with each damaged backup; those that are still arriving are left out."""
        bad = BadPacks.among(damages)
        found: dict[str, DamageReport] = {}
        for backup_id, copy in self.copies.items():
            wrong = [*own.get(backup_id, ()), *self._shared(backup_id, bad)]
            if backup_id in self.unreadable:
                wrong.append(self.unreadable[backup_id])
            if wrong and backup_id in self.arriving and {damage.code for damage in wrong} <= _MAY_COME:
                self.incomplete.add(backup_id)
            elif wrong:
                said = [self._said(damage) for damage in once(wrong)]
                found[backup_id] = DamageReport.on(backup_id, copy.target, level, self.job.now(), said)
        return found

    def _shared(self, backup_id: str, bad: BadPacks) -> list[Damage]:
        backup = self.backups.get(backup_id)
        if backup is None or not (bad.packs or bad.frames):
            return []
        try:
            manifest = manifest_of(self.job.vault, backup)
        except IntegrityError:
            return []  # the look has found it: it is among what is the backup's own
        return bad.in_backup(self.job.vault, manifest)

    def _said(self, damage: Damage) -> Damage:
        place = f'in the copy "{self.destination.name}"'
        return damage.model_copy(update={"text": damage.text.replace("in the vault", place)})

    def record(self, level: Level, reports: Mapping[str, DamageReport], *, whole: bool) -> None:
        """Record what was found; `whole`: everything was looked at, so that all the others are complete and healed."""
        for backup_id, copy in self.copies.items():
            report = reports.get(backup_id)
            if report is not None:
                packs = report.packs[:_PACKS_KEPT]
                self._keep(copy, {"damaged": report.words, "damaged_packs": packs, "level": level.value})
            elif whole and backup_id not in self.incomplete:
                found = {"verified_at": self.job.now(), "level": level.value}
                self._keep(copy, found | {"damaged": None, "damaged_packs": ()})

    def _keep(self, copy: Copy, fields: Mapping[str, object]) -> None:
        """Write the record, unless a copier or a rotation has changed it since it was read: the next look comes."""
        changed = copy.model_copy(update=dict(fields))
        copies = self.job.catalog.copies
        if copy.backup_id in self.new:
            copies.add(changed)
        else:
            copies.change(copy, changed)


def _nothing(name: str, target: str | None, backup_id: str | None) -> BackupStateError:
    if backup_id is not None:
        return BackupStateError(
            f'The copy "{name}" has no backup {backup_id}.',
            code="BACKUP_UNKNOWN",
            hint=f"Copy it: coffre copy {backup_id} --to {name}",
        )
    of = f" of {target}" if target else ""
    return BackupStateError(
        f'The copy "{name}" has no backup{of}: nothing can be verified.',
        code="NOTHING_TO_VERIFY",
        hint=f"Copy the newest one: coffre copy latest{f' --target {target}' if target else ''} --to {name}",
    )
