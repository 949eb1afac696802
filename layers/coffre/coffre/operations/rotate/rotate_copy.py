"""Rotate a copy of the vault: by the same rules, on the records of the backups in it (docs/copies-care.md).

What the vault has lost, or no longer has, stays in the copy for as long as the copy's own retention says: no deletion
in the vault reaches a copy, whether a rotation or a thief deleted it.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime
from itertools import chain
from typing import Final

from coffre.catalog.catalog import Catalog
from coffre.model.any_target import AnyTarget
from coffre.model.audit import Actor
from coffre.model.backup import Backup, Restore, Status
from coffre.model.copies import Copy, CopyStatus, Destination
from coffre.model.errors import IntegrityError, ObjectMissingError
from coffre.model.locks import LockProgress
from coffre.model.points import PointRecord
from coffre.model.retention import Retention
from coffre.model.rotation import Action, Decision, LockReport, Problem, RotationReport
from coffre.model.vault_use import JournalKept
from coffre.operations.rotate.delete_damaged import MakingWay
from coffre.operations.rotate.extend_locks import LockKeeper, LockNeed, needs_of
from coffre.operations.rotate.keep_points import PointKeeper, in_use
from coffre.operations.rotate.rotate import SWEEP_SECONDS, RotateJob, decide_by_size, unless_in_use
from coffre.operations.rotate.rotation_lock import Turn
from coffre.operations.rotate.sweep import sweep
from coffre.operations.rotate.sweep_job import GRACE, BackupSummary, SweepJob, running_restores
from coffre.operations.stored_backup.backup_in_copy import as_copied, described_copy
from coffre.operations.stored_backup.kept_journal import journal_since, unless_needed
from coffre.operations.stored_backup.known_locks import KnownLocks
from coffre.vault.layout import manifest_key
from coffre.vault.vault import Vault

_ACTOR: Final = Actor("rotate", verified=True)


def rotate_copy(
    job: RotateJob, destination: Destination, source: Vault, *, only: str | None = None, dry_run: bool = False
) -> RotationReport:
    """Rotate one copy: the backups of every target that it has, or of one.

    Parameters
    ----------
    job
        Its `vault` is the copy.
    source
        The vault that it is a copy of. It is read only where the copy is damaged.
    dry_run
        Decide and measure, but change nothing.

    Raises
    ------
    CoffreError
        The rotation stopped there; the next one continues.
    """
    report = RotationReport(id=job.id, dry_run=dry_run, copy_name=destination.name)
    if (why := not_rotated(destination)) is not None:
        return report.model_copy(update={"skipped": why})
    lock = f"*rotation of {destination.name}"
    turn = Turn(job.catalog, lock, job.id, job.now, job.remaining_seconds, dry_run=dry_run)
    if (owner := turn.begin()) is not None:
        return report.model_copy(update={"skipped": f"rotation {owner} is running"})
    try:
        rotation = _Rotation(job, destination, turn, dry_run=dry_run)
        if only is None and not dry_run:
            rotation.make_way(source)
        return rotation.run(only, report)
    finally:
        turn.end()


def not_rotated(destination: Destination) -> str | None:
    """Return why Coffre deletes nothing in a copy, in words; None: it does."""
    if destination.copied_by == "replication":
        return f'the copy "{destination.name}" is made by your own replication, whose rules delete there'
    if destination.deleted_by == "receiver":
        return f'the receiving account deletes in the copy "{destination.name}"'
    return None


def unless_locked(vault: Vault, decision: Decision, now: datetime) -> Decision:
    """Keep a backup whose manifest is locked in the copy: the store knows, and no record needs to."""
    if decision.action is Action.KEEP or vault.locks is None:
        return decision
    try:
        state = vault.locks.state(manifest_key(decision.target, decision.backup_id))
    except ObjectMissingError:
        return decision
    if (kept := state.why_kept(now)) is None:
        return decision
    until = state.lock.until if state.lock is not None else None
    update = {"action": Action.KEEP, "held_back": True, "waits_until": until}
    return decision.model_copy(update=update | {"reason": f"{kept} in the copy: it goes then"})


def _locked_by_hold(backup: Backup) -> Backup:
    """Return a backup whose hold locks as a pin does: in a copy no object gets a legal hold."""
    return backup.model_copy(update={"pinned_at": backup.pinned_at or backup.held_at})


@dataclass
class _Rotation:
    job: RotateJob
    destination: Destination
    turn: Turn
    dry_run: bool
    problems: list[Problem] = field(default_factory=list)
    copied_again: tuple[str, ...] = ()

    def make_way(self, source: Vault) -> None:
        """Delete what is damaged in the copy and whole in the vault, for the copier to send it again."""
        way = MakingWay(self.job, source, self.destination.name, _ACTOR, self.turn)
        self.copied_again = way.run(self.problems)

    def run(self, only: str | None, report: RotationReport) -> RotationReport:
        job, problems = self.job, self.problems
        targets = job.configuration.targets if only is None else job.configuration.named(only)
        found = self._found(problems)
        since = journal_since(job.configuration, job.now())
        decisions, needs = self._decide(targets, found, since)
        gone = frozenset(decision.backup_id for decision in decisions if decision.action is Action.DELETE)
        locks = self._keep_locked(needs, found, problems)
        records = CopyRecords(job.catalog, self.destination.name, job.now())
        swept = sweep(
            SweepJob(
                records,
                job.vault,
                job.scratch,
                job.now(),
                self.turn.check,
                dry_run=self.dry_run,
                gone=gone,
                copy=self.destination.name,
                journal_since=since,
            )
        )
        known = {target.name for target in job.configuration.targets}
        return report.model_copy(
            update={
                "decisions": tuple(decisions),
                "not_configured": () if only is not None else tuple(sorted(found.keys() - known)),
                "problems": tuple(problems),
                "to_copy_again": self.copied_again,
                "locks": locks,
                "sweep": swept,
            }
        )

    def _decide(
        self, targets: Sequence[AnyTarget], found: dict[str, list[Backup]], since: Callable[[str], datetime | None]
    ) -> tuple[list[Decision], list[LockNeed]]:
        """Decide about every backup, mark what goes as DELETED, and return which locks the others need."""
        job = self.job
        decisions: list[Decision] = []
        needs: list[LockNeed] = []
        restores = in_use(found, running_restores(job.catalog, job.now(), self.destination.name))
        points = PointKeeper(
            found,
            {target.name: self._retention(target) for target in (*job.configuration.targets, *targets)},
            lambda backups, retention: decide_by_size(job.vault, job.now(), backups, retention, self.problems),
        )
        for target in targets:
            backups, retention = found.get(target.name, []), self._retention(target)
            judged = points.decide(target.name)
            judged = unless_needed(job.vault, backups, judged, since(target.name))
            needs += needs_of(map(_locked_by_hold, backups), retention, judged, job.now())
            decisions += self._delete(
                [unless_locked(job.vault, unless_in_use(one, restores), job.now()) for one in judged]
            )
        return decisions, needs

    def _retention(self, target: AnyTarget) -> Retention:
        return self.destination.retention or target.retention

    def _found(self, problems: list[Problem]) -> dict[str, list[Backup]]:
        """Return by target the backups of the copy, in its own state of them."""
        known = {backup.id: backup for backup in self.job.catalog.backups()}
        found: dict[str, list[Backup]] = {}
        for copy in self.job.catalog.copies.of(self.destination.name):
            if copy.status is not CopyStatus.COMPLETED:
                continue
            try:
                backup = as_copied(known.get(copy.backup_id) or described_copy(self.job.vault, copy), copy)
            except IntegrityError as error:
                problems.append(Problem(code=error.code, target=copy.target, text=error.message))
                continue
            found.setdefault(copy.target, []).append(backup)
        return found

    def _record(self, backup_id: str) -> Copy | None:
        return self.job.catalog.copies.find(self.destination.name, backup_id)

    def _delete(self, decided: Iterable[Decision]) -> list[Decision]:
        """Mark copies as DELETED, unless they have changed since the decision."""
        if self.dry_run:
            return list(decided)
        return [self._deleted(one) if one.action is Action.DELETE else one for one in decided]

    def _deleted(self, decision: Decision) -> Decision:
        self.turn.check()
        copies, name, now = self.job.catalog.copies, self.destination.name, self.job.now()
        seen = self._record(decision.backup_id)
        changed = seen is None or seen.status is not CopyStatus.COMPLETED
        if seen is not None and not changed:
            deleted = seen.model_copy(update={"status": CopyStatus.DELETED})
            detail = f"in the copy {name}: {decision.reason}"
            with self.job.catalog.audit.recorded(
                now, _ACTOR, "copy.deleted", decision.target, decision.backup_id, detail
            ):
                changed = not copies.change(seen, deleted)
        if changed:
            reason = "its copy has changed since the decision"
            return decision.model_copy(update={"action": Action.KEEP, "reason": reason})
        return decision

    def _keep_locked(
        self, needs: Iterable[LockNeed], found: Mapping[str, Sequence[Backup]], problems: list[Problem]
    ) -> LockReport | None:
        if self.job.vault.locks is None:
            return None
        keeper = LockKeeper(
            _CopyNotes(self.job.catalog, self.destination.name),
            self.job.vault,
            self.job.vault.locks,
            self.job.now(),
            self.turn.check,
            has_time=lambda: self.job.remaining_seconds() > SWEEP_SECONDS,
            known=KnownLocks(self.job.vault, lambda: chain.from_iterable(found.values())).of,
            dry_run=self.dry_run,
        )
        report = keeper.keep(needs)
        problems += keeper.problems
        return report


@dataclass(frozen=True)
class CopyRecords:
    """The catalog's records of one copy: what a sweep of it goes by."""

    catalog: Catalog
    destination: str
    now: datetime

    def summaries(self) -> dict[str, BackupSummary]:
        """Read the record of each backup there. A copier that is silent for a day is dead."""
        found = {}
        for copy in self.catalog.copies.of(self.destination):
            ended_at = copy.completed_at or copy.started_at
            status, is_healthy = Status(copy.status.value), copy.damaged is None
            summary = BackupSummary(copy.target, status, copy.manifest_sha256, ended_at, is_healthy)
            if copy.status is CopyStatus.IN_PROGRESS and self.now - copy.started_at > GRACE:
                summary = replace(summary, status=Status.FAILED)
            found[copy.backup_id] = summary
        return found

    def points(self) -> dict[str, PointRecord]:
        """Return the restore points by id."""
        return {point.id: point for point in self.catalog.points.all()}

    def running_restores(self, now: datetime, /) -> list[Restore]:
        """Return the running restores that may read this copy."""
        return running_restores(self.catalog, now, self.destination)

    def note_journal_kept(self, target: str, since: datetime, /) -> None:
        """Remember it for the inventory of this copy."""
        kept = JournalKept(target=target, copy_name=self.destination, since=since)
        self.catalog.latest.note_journal_kept(kept)


@dataclass(frozen=True)
class _CopyNotes:
    """Records locks on the record of the copy."""

    catalog: Catalog
    destination: str

    def note_locked(self, backup_id: str, until: datetime) -> None:
        seen = self.catalog.copies.find(self.destination, backup_id)
        if seen is not None and (seen.locked_until is None or seen.locked_until < until):
            locked = {"locked_until": until, "lock_progress": None}
            self.catalog.copies.change(seen, seen.model_copy(update=locked))

    def note_locking(self, backup_id: str, progress: LockProgress) -> None:
        seen = self.catalog.copies.find(self.destination, backup_id)
        if seen is not None:
            self.catalog.copies.change(seen, seen.model_copy(update={"lock_progress": progress}))
