"""What the levels of verification share: the job, the catalog's records, and the recording of damage."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path

from coffre.catalog.catalog import Catalog
from coffre.model.backup import Backup, Status
from coffre.model.errors import BackupStateError, IntegrityError
from coffre.model.manifest import Manifest
from coffre.model.retention import Retention
from coffre.model.verification import Damage, DamageReport, Level
from coffre.operations.stored_backup.open_backup import manifest_of
from coffre.operations.verify.damages import Place, once, place_of
from coffre.operations.verify.lock_check import LockCheck
from coffre.policy.recency import completion
from coffre.vault.codec import FrameDecoder
from coffre.vault.damage import put_back, write_damage
from coffre.vault.layout import writer_of
from coffre.vault.vault import Vault

# Time to record the findings.
RESERVE_SECONDS = 30.0


@dataclass(frozen=True)
class VerifyJob:
    """What a verification needs.

    Parameters
    ----------
    decoder
        Opens frames; the level `inventory` reads none.
    now
        The clock.
    remaining_seconds
        Time until the platform kills the function.
    retentions
        Of the configured targets, by name: how long locks have to last.
    journal_since
        Returns since when every moment of a target's journal has to be there; None: it is not known.
    """

    id: str
    catalog: Catalog
    vault: Vault
    decoder: FrameDecoder
    scratch: Path
    now: Callable[[], datetime]
    remaining_seconds: Callable[[], float]
    retentions: Mapping[str, Retention] = field(default_factory=dict)
    journal_since: Callable[[str], datetime | None] = lambda _: None

    def lock_check(self) -> LockCheck | None:
        """Return the check of the locks, after a look at the bucket; None in a vault without Object Lock."""
        if self.vault.locks is None:
            return None
        check = LockCheck(self.vault.locks, self.retentions, self.now())
        check.check_bucket()
        return check

    def is_time_over(self) -> bool:
        """Tell whether only the time for recording is left."""
        return self.remaining_seconds() <= RESERVE_SECONDS


@dataclass(frozen=True)
class CatalogSnapshot:
    """The catalog at the start of a verification: every backup by id, of any status."""

    records: Mapping[str, Backup]

    @classmethod
    def read(cls, catalog: Catalog) -> CatalogSnapshot:
        """Read the whole table, consistently."""
        return cls({backup.id: backup for backup in catalog.backups()})

    def living(self, target: str | None = None, backup_id: str | None = None) -> list[Backup]:
        """Return the COMPLETED backups, newest first: of all targets, of one, or the one of this id."""
        living = (
            backup
            for backup in self.records.values()
            if backup.status is Status.COMPLETED and target in (None, backup.target) and backup_id in (None, backup.id)
        )
        return sorted(living, key=completion, reverse=True)

    def required(self, target: str | None = None, backup_id: str | None = None) -> list[Backup]:
        """Return the same backups, at least one: a verification of nothing proves nothing.

        Raises
        ------
        BackupStateError
            `BACKUP_UNKNOWN`; `BACKUP_STATE`: the one of this id is not COMPLETED; `NOTHING_TO_VERIFY`.
        """
        if found := self.living(target, backup_id):
            return found
        of = f' of "{target}"' if target else ""
        if backup_id is None:
            raise BackupStateError(
                f"No completed backup{of} exists: nothing can be verified.",
                code="NOTHING_TO_VERIFY",
                hint="See which backups exist (coffre list), or take one.",
            )
        backup = self.records.get(backup_id)
        if backup is None or target not in (None, backup.target):
            hint = "`coffre list` shows the backups and their ids."
            raise BackupStateError(f'No backup "{backup_id}"{of} exists.', code="BACKUP_UNKNOWN", hint=hint)
        raise BackupStateError(
            f"Backup {backup.id} of {backup.target} is {backup.status}: only a COMPLETED one can be verified.",
            hint=f"Choose another one: coffre list {backup.target} --status COMPLETED",
        )


@dataclass(frozen=True)
class BadPacks:
    """Damage that was found in packs: of whole packs, and of single frames."""

    packs: Mapping[str, Damage]
    frames: Mapping[Place, Damage]

    @classmethod
    def among(cls, damages: Iterable[Damage]) -> BadPacks:
        """Sort damage by what it is of."""
        packs: dict[str, Damage] = {}
        frames: dict[Place, Damage] = {}
        for damage in damages:
            if damage.pack is not None and damage.offset is None:
                packs.setdefault(damage.pack, damage)
            elif damage.pack is not None and damage.offset is not None:
                frames.setdefault((damage.pack, damage.offset), damage)
        return cls(packs, frames)

    def in_backup(self, vault: Vault, manifest: Manifest) -> list[Damage]:
        """Return the damage that affects a backup. Entries are read only if single frames of its packs are bad.

        Where the entries cannot be read, it is not known which frames the backup uses: all bad ones in its packs count.
        """
        named = {pack.key for pack in manifest.packs}
        found = [damage for pack, damage in self.packs.items() if pack in named]
        frames = {place: damage for place, damage in self.frames.items() if damage.pack in named}
        if not frames:
            return found
        used: dict[Place, str] = {}
        try:
            for entry in vault.entries(manifest):
                for frame in entry.frames:
                    if place_of(frame) in frames:
                        used.setdefault(place_of(frame), entry.name)
        except IntegrityError as error:
            unknown = [damage for place, damage in frames.items() if place not in used]
            found += [Damage.of(error), *(damage.model_copy(update={"entry": None}) for damage in unknown)]
        return found + [frames[place].model_copy(update={"entry": name}) for place, name in used.items()]


def record_damage(
    job: VerifyJob, level: Level, known: CatalogSnapshot, damages: Sequence[Damage], own: Mapping[str, Sequence[Damage]]
) -> tuple[DamageReport, ...]:
    """Mark every damaged backup, and store the findings next to it; newest first.

    Parameters
    ----------
    damages
        Found in packs: it affects every backup that references them.
    own
        By backup, damage that only it has: of its manifest, of its entries.
    """
    bad = BadPacks.among(damages)
    reports = _mark_each(job, level, known.living(), bad, own)
    if not reports:
        return ()
    _distrust_writers(job, known, bad, {report.backup_id for report in reports})
    # Backups that were completed meanwhile can reference the same packs. Another verification can have marked them as
    # verified, as it knew the writers of these packs as verified. It read the catalog before the marks above, so these
    # backups are in the catalog by now.
    before = {backup.id for backup in known.living()}
    newer = [backup for backup in CatalogSnapshot.read(job.catalog).living() if backup.id not in before]
    return (*_mark_each(job, level, newer, bad, own), *reports)


def _mark_each(
    job: VerifyJob, level: Level, backups: Iterable[Backup], bad: BadPacks, own: Mapping[str, Sequence[Damage]]
) -> list[DamageReport]:
    marked = []
    for backup in backups:
        found = [*own.get(backup.id, ()), *_shared(job, backup, bad)]
        if found and (report := _mark(job, level, backup, found)) is not None:
            marked.append(report)
    return marked


def _shared(job: VerifyJob, backup: Backup, bad: BadPacks) -> list[Damage]:
    if not (bad.packs or bad.frames):
        return []
    try:
        return bad.in_backup(job.vault, manifest_of(job.vault, backup))
    except IntegrityError as error:
        return [Damage.of(error)]


def _mark(job: VerifyJob, level: Level, backup: Backup, found: list[Damage]) -> DamageReport | None:
    """Record the damage, unless a rotation has meanwhile deleted the backup, and its packs with it."""
    if job.catalog.get_backup(backup.id).status is not Status.COMPLETED:
        return None
    report = DamageReport.on(backup.id, backup.target, level, job.now(), once(found))
    record_finding(job.catalog, job.vault, report)
    return report


def record_finding(catalog: Catalog, vault: Vault, report: DamageReport) -> None:
    """Record what is wrong with a backup, next to it in the vault and in the catalog.

    First the vault: as soon as a backup counts as damaged, the next backup must know which packs not to reference. The
    report is written again after the mark, because a verification that ended in between may have removed it.
    """
    key = write_damage(vault, report)
    catalog.keeping.mark_damaged(report.backup_id, report.words, report.found_at)
    put_back(vault, {key: report})


def _distrust_writers(job: VerifyJob, known: CatalogSnapshot, bad: BadPacks, marked: set[str]) -> None:
    """Remove the mark *verified* from deleted backups whose packs are damaged: later ones rely on it (docs/adr)."""
    writers = {writer_of(pack) for pack in (*bad.packs, *(pack for pack, _ in bad.frames))}
    for writer in sorted(writer for writer in writers if writer is not None and writer not in marked):
        if writer in known.records:
            with contextlib.suppress(BackupStateError):  # it was never completed
                job.catalog.keeping.mark_damaged(writer, "A pack that it wrote is damaged.", job.now())
