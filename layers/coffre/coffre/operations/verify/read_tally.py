"""What a verification has read so far, what it found, and how each backup came out."""

from __future__ import annotations

from dataclasses import dataclass, field

from coffre.model.backup import Backup, Status
from coffre.model.errors import BackupStateError
from coffre.model.rotation import Amount, Problem
from coffre.model.verification import Damage, Examined
from coffre.operations.verify.job import VerifyJob
from coffre.vault.readback import ReadEntry


@dataclass
class Tally:
    """What was read: `own` has the damage of backups' own records, by the backup; `closed` ones cannot be opened."""

    backups: set[str] = field(default_factory=set)
    packs: set[str] = field(default_factory=set)
    entries: int = 0
    frames: Amount = field(default_factory=Amount)
    damages: list[Damage] = field(default_factory=list)
    own: dict[str, list[Damage]] = field(default_factory=dict)
    closed: set[str] = field(default_factory=set)
    examined: list[Examined] = field(default_factory=list)
    problems: list[Problem] = field(default_factory=list)
    unfinished: str | None = None

    def add(self, backup: Backup, read: ReadEntry) -> None:
        """Count what was read of an entry, and keep its damage."""
        self.entries += read.is_read
        for frame in read.frames:
            self.frames = self.frames.plus(frame.length)
            self.packs.add(frame.pack)
        for damage in read.damages:
            self.add_damage(backup, damage)

    def add_damage(self, backup: Backup, damage: Damage) -> None:
        """Keep damage: of the backup's own records, or of a pack, and then of every backup that names it."""
        if damage.pack is None:
            self.own.setdefault(backup.id, []).append(damage)
        else:
            self.damages.append(damage)

    def note(self, backup: Backup, outcome: str, text: str | None = None) -> None:
        """Keep the outcome of a backup that was to be read completely."""
        fields = {"backup_id": backup.id, "target": backup.target, "outcome": outcome, "text": text}
        self.examined.append(Examined.model_validate(fields))


def note_unfinished(job: VerifyJob, backup: Backup, tally: Tally, last: str, cut: int | None) -> None:
    """Note how far a backup was read, so that the next verification continues there."""
    try:
        job.catalog.keeping.note_read(backup, last, cut)
    except BackupStateError as error:
        note_refused(job, backup, tally, error)
        return
    where = f"{last}{f', and {cut:,} frames of the object after it' if cut else ''}"
    tally.note(backup, "unfinished", f"It was good up to {where}; the next verification continues from there.")


def note_refused(job: VerifyJob, backup: Backup, tally: Tally, error: BackupStateError) -> None:
    """Note what happened to a backup meanwhile: a rotation deleted it, or another run found it damaged."""
    if job.catalog.get_backup(backup.id).status is Status.COMPLETED:
        note_damaged(backup, tally, f"While it was being read, another run found damage. {error.message}")
    else:
        tally.note(backup, "deleted", "It was deleted while it was being read.")


def note_damaged(backup: Backup, tally: Tally, text: str) -> None:
    """Note a backup that is damaged."""
    tally.problems.append(Problem(code="BACKUP_DAMAGED", target=backup.target, text=text))
    tally.note(backup, "damaged", text)


def note_share_unfinished(tally: Tally) -> None:
    """Note that the day's share was not read to its end."""
    tally.unfinished = "The time was over before the day's share was read."
