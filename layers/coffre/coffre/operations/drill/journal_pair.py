"""Which earlier base proves the journal up to a backup that is drilled."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass

from coffre.model.backup import Backup
from coffre.model.errors import CoffreError, IntegrityError, ObjectMissingError
from coffre.model.journal import JournalInterval
from coffre.model.journal_proof import JournalProof, ProofVerdict
from coffre.model.kinds import TargetKind
from coffre.model.manifest import JournalBase
from coffre.operations.drill.findings import Found
from coffre.operations.drill.job import DrillJob, Proving
from coffre.operations.restore_database.interval_parts import parts_of
from coffre.operations.restore_database.job import Source
from coffre.operations.stored_backup.open_backup import manifest_of
from coffre.policy.journal import is_base
from coffre.policy.journal_proof import pair_for
from coffre.policy.moments import Chosen, Stretch
from coffre.vault.journal import intervals


@dataclass(frozen=True)
class Pair:
    """The backup that is drilled, as a base, and how it is made from an earlier one of the same interval."""

    stretch: Stretch[str]
    chosen: Chosen[str]
    older: Backup
    newer: JournalBase


def plan_proof(job: DrillJob, source: Source, found: Found) -> Pair | None:
    """Return what is compared; None: nothing, and what was found says why if the target has a journal."""
    proving, newer = job.proving, source.content.journal
    if proving is None:
        return None
    try:
        known = intervals(job.vault, job.backup.target)
        if not known:
            return None
        if newer is None:
            why: str | None = "the backup is no base of the journal"
        else:
            pair, why = _pair(job, proving, known, source, newer)
            if pair is not None:
                found.hashes_rows = True
                return pair
    except CoffreError as error:
        job.children.check()
        why = words_of(error)
    at = newer.at if newer is not None else job.backup.created_at
    found.journal = JournalProof(
        verdict=ProofVerdict.NOT_PROVEN,
        target=job.backup.target,
        drill_id=job.id,
        proven_at=job.now(),
        newer=job.backup.id,
        until=at,
        why=why,
    )
    return None


def _pair(
    job: DrillJob, proving: Proving, known: list[JournalInterval], source: Source, newer: JournalBase
) -> tuple[Pair | None, str | None]:
    content = source.content
    for interval in reversed(known):
        if interval.database != content.database or not is_base(newer, interval.fingerprint, interval.from_lsn):
            continue
        backups = {one.id: one for one in _usable(job.backup, proving.backups(), interval)}
        bases = [(one.id, *_base(job, one)) for one in backups.values()]
        parts = parts_of(job.vault, interval, bases, proving.state)
        stretch = next((part for part in reversed(parts) if job.backup.id in dict(part.bases)), None)
        if stretch is None:
            continue
        pair = pair_for(stretch, job.backup.id, proving.before)
        if pair.chosen is None:
            return None, pair.why
        return Pair(stretch, pair.chosen, backups[pair.chosen.backup], newer), None
    return None, "the backup is no base of an interval of the journal"


def _usable(own: Backup, backups: Iterable[Backup], interval: JournalInterval) -> Iterator[Backup]:
    yield own
    for one in backups:
        is_sound = one.id != own.id and one.kind is TargetKind.DATABASE and one.is_healthy
        if is_sound and one.created_at >= interval.started_at:
            yield one


def _base(job: DrillJob, backup: Backup) -> tuple[str, JournalBase | None]:
    try:
        content = manifest_of(job.vault, backup).database
    except (IntegrityError, ObjectMissingError):
        return "", None  # verification reports it
    return content.database, content.journal


def words_of(error: Exception) -> str:
    """Return what an error says, as one sentence without a full stop."""
    if not isinstance(error, CoffreError):
        return str(error).strip()
    detail = f" ({error.detail})" if error.detail else ""
    return f"{error.message.rstrip('.')}{detail} [{error.code}]"
