"""Rotate a bucket that receives copies from another account (docs/copies-care.md): without a catalog, by age alone.

Nothing that the sender writes can make this delete what it holds. The age of a backup is that of its arrival, by the
store's clock; nothing is kept by number or size, so that no flood of new backups pushes an old one out; a manifest
cannot be replaced, and marks only lengthen a life.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from pathlib import Path

from coffre.model.backup import Backup, Restore, Status
from coffre.model.errors import DeadlineError, IntegrityError
from coffre.model.points import PointRecord
from coffre.model.retention import Retention
from coffre.model.rotation import Action, Decision, Problem, RotationReport
from coffre.operations.rotate.keep_points import PointKeeper
from coffre.operations.rotate.rotate_copy import unless_locked
from coffre.operations.rotate.sweep import sweep
from coffre.operations.rotate.sweep_job import BackupSummary, SweepJob
from coffre.operations.stored_backup.kept_journal import LONGEST_WINDOW, unless_needed
from coffre.operations.stored_backup.open_backup import manifest_of
from coffre.operations.stored_backup.vault_backups import VaultBackups
from coffre.policy.retention import decide
from coffre.vault.layout import BACKUPS, MANIFEST, PACKS, marks_prefix, record_of
from coffre.vault.vault import Vault

_RESERVE = timedelta(seconds=20)


@dataclass(frozen=True)
class ReceivedJob:
    """What the rotation needs.

    Parameters
    ----------
    retention
        For every target; only its days count.
    now
        When it began.
    remaining_seconds
        Time until the platform kills the function.
    """

    id: str
    name: str
    vault: Vault
    retention: Retention
    scratch: Path
    now: datetime
    remaining_seconds: Callable[[], float]

    def check(self) -> None:
        """Raise when the time is nearly over."""
        if self.remaining_seconds() <= _RESERVE.total_seconds():
            raise DeadlineError(
                "The function's time is nearly over and the rotation is not finished; it was stopped cleanly.",
                hint="Nothing has to be done: the next rotation continues.",
            )


def rotate_received(job: ReceivedJob, *, dry_run: bool = False) -> RotationReport:
    """Look at every backup, decide by its arrival, and remove what has outlived its tiers.

    A backup counts as verified when every pack that its manifest names exists with its length. What cannot be read
    stays, and is a problem.

    Raises
    ------
    CoffreError
        The rotation stopped there; the next one continues.
    """
    problems: list[Problem] = []
    by_target = _found(job, problems)
    since = job.now - LONGEST_WINDOW

    def rules(found: Sequence[Backup], retention: Retention) -> list[Decision]:
        decided = unless_needed(job.vault, found, decide(found, retention, job.now), since)
        return [_unless_ever_held(job.vault, unless_locked(job.vault, one, job.now)) for one in decided]

    points = PointKeeper(by_target, dict.fromkeys(by_target, _by_age_alone(job.retention)), rules)
    decisions = [decision for target in by_target for decision in points.decide(target)]
    gone = frozenset(one.backup_id for one in decisions if one.action is Action.DELETE)
    records = _Records([backup for found in by_target.values() for backup in found])
    swept = sweep(
        SweepJob(
            records,
            job.vault,
            job.scratch,
            job.now,
            job.check,
            dry_run=dry_run,
            gone=gone,
            copy=job.name,
            journal_since=lambda _: since,
        )
    )
    return RotationReport(
        id=job.id,
        dry_run=dry_run,
        copy_name=job.name,
        decisions=tuple(decisions),
        problems=tuple(problems),
        sweep=swept,
    )


def _found(job: ReceivedJob, problems: list[Problem]) -> dict[str, list[Backup]]:
    """Return the backups by target, as they were received."""
    arrived = _arrivals(job.vault)
    sizes = {info.key: info.size for info in job.vault.store.list(PACKS)}
    backups = VaultBackups(job.vault)
    by_target: dict[str, list[Backup]] = {}
    for backup in backups.backups():
        job.check()
        received = _received(job, backup, arrived, sizes, problems)
        if (why := backups.problems.get(backup.id)) is not None:  # its marks cannot be read: they may say to keep it
            problems.append(Problem(code="MARKS_UNREAD", target=backup.target, text=f"{backup.id}: {why}"))
            received = received.model_copy(update={"held_at": job.now, "hold": "its marks cannot be read"})
        by_target.setdefault(backup.target, []).append(received)
    for backup_id, (target, text) in backups.unreadable().items():
        problems.append(Problem(code="MANIFEST_DAMAGED", target=target, text=f"{backup_id}: {text}"))
    return by_target


def _arrivals(vault: Vault) -> dict[str, datetime]:
    """Return by backup when its manifest arrived; one without a time is left out."""
    found = {}
    for info in vault.store.list(BACKUPS):
        record = record_of(info.key)
        if record is not None and record.name == MANIFEST and info.last_modified is not None:
            found[record.backup_id] = info.last_modified
    return found


def _received(
    job: ReceivedJob, backup: Backup, arrived: Mapping[str, datetime], sizes: Mapping[str, int], problems: list[Problem]
) -> Backup:
    """Return a backup with the age of its arrival, as verified if it is complete, or as damaged."""
    try:
        packs = manifest_of(job.vault, backup).packs
        missing = [pack.key for pack in packs if sizes.get(pack.key) != pack.length]
        text = f"{backup.id} lacks {len(missing)} packs: {missing[0]}" if missing else None
    except IntegrityError as error:
        text = error.message
    if text is not None:
        problems.append(Problem(code="BACKUP_INCOMPLETE", target=backup.target, text=text))
    return backup.model_copy(
        update={
            "created_at": arrived.get(backup.id, job.now),
            "verified_at": None if text else job.now,
            "damaged_at": job.now if text else None,
        }
    )


def _unless_ever_held(vault: Vault, decision: Decision) -> Decision:
    """Keep a backup that was ever on hold: a thief at the source can add the mark that releases it."""
    prefix = f"{marks_prefix(decision.target, decision.backup_id)}hold-"
    if decision.action is Action.KEEP or next(iter(vault.store.list(prefix)), None) is None:
        return decision
    reason = "it was put on hold, and a release by the sender does not count here (docs/copies-care.md)"
    return decision.model_copy(update={"action": Action.KEEP, "held_back": True, "reason": reason})


def _by_age_alone(retention: Retention) -> Retention:
    names = ("daily_count", "weekly_count", "monthly_count", "safety_count", "maximum_bytes")
    return retention.model_copy(update=dict.fromkeys(names))


@dataclass(frozen=True)
class _Records:
    """The backups of the bucket as records: their manifests are all that is known of them."""

    backups: list[Backup]

    def summaries(self) -> dict[str, BackupSummary]:
        return {
            backup.id: BackupSummary(
                backup.target, Status.COMPLETED, backup.manifest_sha256, backup.created_at, backup.is_healthy
            )
            for backup in self.backups
        }

    def points(self) -> dict[str, PointRecord]:
        """Return none: records of restore points stay here."""
        return {}

    def running_restores(self, _now: datetime, /) -> list[Restore]:
        """Return none: it is not known who reads here. What a rotation deletes stays as a version for 30 days."""
        return []

    def note_journal_kept(self, target: str, since: datetime, /) -> None:
        """Do nothing: the account that has the catalog looks at what is here."""
