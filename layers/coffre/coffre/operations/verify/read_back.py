"""Read back: every byte is fetched, decrypted, decompressed and hashed, and nothing of it is kept.

One backup is read completely. Of a target, each day: first what new backups have stored, so that they count as
verified; then a share of everything, a different one each day, so that every pack is read in a month (docs/adr/0010).
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import closing
from typing import Final

from ulid import ULID

from coffre.model.backup import Backup
from coffre.model.errors import BackupStateError, EncryptionError, IntegrityError
from coffre.model.manifest import Frame, Manifest
from coffre.model.rotation import Amount, Problem
from coffre.model.verification import Damage, DamageReport, Level, Share, VerificationReport
from coffre.operations.stored_backup.open_backup import manifest_of
from coffre.operations.stored_backup.totals import refuse_forged_totals
from coffre.operations.verify.job import RESERVE_SECONDS, CatalogSnapshot, VerifyJob, record_damage
from coffre.operations.verify.read_journals import JournalReading
from coffre.operations.verify.read_tally import (
    Tally,
    note_damaged,
    note_refused,
    note_share_unfinished,
    note_unfinished,
)
from coffre.vault.codec import FrameDecoder
from coffre.vault.damage import heal_damage, put_back, read_findings, together
from coffre.vault.layout import writer_of
from coffre.vault.readback import ReadEntry, read_back

# Share of the time that new backups get at most, before the day's share is read.
_SHARE_FOR_NEW: Final = 0.5
# Of the time that is left then, the target's journal gets this share at most.
_SHARE_FOR_JOURNAL: Final = 0.25

type _Wanted = Callable[[Frame], bool]
type _IsOver = Callable[[], bool]


def read_backup(job: VerifyJob, backup_id: str) -> VerificationReport:
    """Read all of one backup. If the time is not enough, the next call continues.

    Raises
    ------
    BackupStateError
        `BACKUP_UNKNOWN`, or `BACKUP_STATE`: it is not COMPLETED.
    """
    known = CatalogSnapshot.read(job.catalog)
    (backup,) = known.required(backup_id=backup_id)
    tally = Tally()
    _prove(job, backup, tally, lambda _: True, job.is_time_over, heals=True)
    if any(one.outcome == "deleted" for one in tally.examined):
        raise BackupStateError(
            f"Backup {backup.id} of {backup.target} was deleted while it was being read.",
            hint=f"Choose another one: coffre list {backup.target} --status COMPLETED",
        )
    return _report(job, known, tally, backup.target, "all")


def read_target(job: VerifyJob, target: str, share: Share) -> VerificationReport:
    """Read what the target's new backups have stored, its journal, then a share of all packs that its backups need.

    Raises
    ------
    BackupStateError
        `NOTHING_TO_VERIFY`: it has no COMPLETED backup.
    """
    known = CatalogSnapshot.read(job.catalog)
    known.required(target)
    tally = Tally()
    limit = RESERVE_SECONDS + (job.remaining_seconds() - RESERVE_SECONDS) * (1 - _SHARE_FOR_NEW)
    _prove_new(job, known, target, tally, lambda: job.remaining_seconds() <= limit)
    enough = RESERVE_SECONDS + (job.remaining_seconds() - RESERVE_SECONDS) * (1 - _SHARE_FOR_JOURNAL)
    journal = JournalReading(job, known.living(target), target, share, lambda: job.remaining_seconds() <= enough)
    problems = journal.run()
    _read_share(job, known, target, share, tally)
    tally.unfinished = tally.unfinished or journal.unfinished
    report = _report(job, known, tally, target, str(share))
    status = 500 if problems else report.status
    return report.model_copy(update={"status": status, "journal": journal.packs, "journal_problems": problems})


# --- all of a backup ---


def _prove_new(job: VerifyJob, known: CatalogSnapshot, target: str, tally: Tally, is_over: _IsOver) -> None:
    """Read back what no verification has seen yet, the oldest backup first.

    Packs of a verified backup were read back with it: they need not be read again for each backup that references
    them.
    """
    proven = {one.id for one in known.records.values() if one.verified_at is not None and one.damaged_at is None}
    for backup in reversed(known.living(target)):
        if backup.id in proven or backup.damaged_at is not None:
            continue
        if is_over():
            tally.note(backup, "unfinished", "There was no time for it; the next verification begins with it.")
            continue
        if _prove(job, backup, tally, lambda frame: writer_of(frame.pack) not in proven, is_over, heals=False):
            proven.add(backup.id)


def _prove(job: VerifyJob, backup: Backup, tally: Tally, wanted: _Wanted, is_over: _IsOver, *, heals: bool) -> bool:
    """Read the wanted frames of all entries, and mark the backup as verified if everything is as recorded."""
    tally.backups.add(backup.id)
    opened = _open(job, backup, tally)
    if opened is None:
        return False
    manifest, decoder = opened
    findings = _findings(job, backup) if heals else {}
    before = len(tally.damages)
    start = last = backup.read_until or ""
    skip, cut, is_whole = backup.read_frames or 0, None, True
    try:
        entries = (entry for entry in job.vault.entries(manifest, start) if entry.name > start)
        with closing(read_back(job.vault, decoder, entries, wanted, is_over=is_over, skip=skip)) as reading:
            for read in _until(is_over, reading):
                if read is not None:
                    tally.add(backup, read)
                if read is None or read.cut is not None:
                    is_whole, cut = False, read.cut if read is not None else None
                    break
                last = read.entry.name
        if is_whole and backup.damaged_at is not None:  # a drill can have found that they do not agree
            refuse_forged_totals(backup, manifest, job.vault.entries(manifest))
    except IntegrityError as error:
        tally.add_damage(backup, Damage.of(error))
    if len(tally.damages) > before or backup.id in tally.own:
        tally.note(backup, "damaged")
        return False
    if not is_whole:
        note_unfinished(job, backup, tally, last, cut)
        return False
    return _note_verified(job, backup, tally, findings, heals=heals)


def _note_verified(
    job: VerifyJob, backup: Backup, tally: Tally, findings: Mapping[str, DamageReport], *, heals: bool
) -> bool:
    known = together(findings.values())
    if backup.damaged_at is not None and not (known and known.is_of_stored_bytes):
        text = f"Every byte is as it was stored, but that does not solve what a drill found: {backup.damage}"
        note_damaged(backup, tally, text)
        return False
    try:
        now = job.now()
        job.catalog.keeping.mark_verified(backup.id, now, seen=backup, heals=heals)
    except BackupStateError as error:
        note_refused(job, backup, tally, error)
        return False
    # The catalog decides; the mark serves to rebuild it.
    job.vault.mark_verified(backup.target, backup.id, str(ULID.from_datetime(now)), now)
    heal_damage(job.vault, findings, job.now())
    if findings and job.catalog.get_backup(backup.id).damage_count != backup.damage_count:
        put_back(job.vault, findings)  # another verification marked the backup just now, with one of these reports
    tally.note(backup, "verified")
    return True


def _findings(job: VerifyJob, backup: Backup) -> dict[str, DamageReport]:
    try:
        return read_findings(job.vault, backup.target, backup.id)
    except IntegrityError:
        if backup.damaged_at is not None:
            raise
        return {}  # nothing can be healed


def _open(job: VerifyJob, backup: Backup, tally: Tally) -> tuple[Manifest, FrameDecoder] | None:
    try:
        manifest = manifest_of(job.vault, backup)
        return manifest, job.decoder.of_recipients(manifest.recipients)
    except IntegrityError as error:
        tally.own.setdefault(backup.id, []).append(Damage.of(error))
        tally.note(backup, "damaged", error.message)
    except EncryptionError as error:
        # No byte of it is known to be wrong: only the key is missing here.
        text = f"Backup {backup.id} of {backup.target} cannot be read: {error.message}"
        tally.problems.append(Problem(code=error.code, target=backup.target, text=text))
        tally.note(backup, "unreadable", error.message)
    tally.closed.add(backup.id)
    return None


def _until(is_over: _IsOver, reading: Iterator[ReadEntry]) -> Iterator[ReadEntry | None]:
    """Yield what is read, and None if the time is over before the end."""
    for read in reading:
        yield read
        if is_over():
            yield None
            return


# --- a share of everything ---


def _read_share(job: VerifyJob, known: CatalogSnapshot, target: str, share: Share, tally: Tally) -> None:
    """Read the frames of a share of the packs, each once, for all backups that reference them."""
    seen: set[tuple[str, int]] = set()

    def wanted(frame: Frame) -> bool:
        place = frame.pack, frame.offset
        if not share.holds(frame.pack) or place in seen:
            return False
        seen.add(place)
        return True

    for backup in known.living(target):
        if job.is_time_over():
            note_share_unfinished(tally)
            return
        opened = _open(job, backup, tally) if backup.id not in tally.closed else None
        if opened is not None and any(share.holds(pack.key) for pack in opened[0].packs):
            tally.backups.add(backup.id)
            _read_some(job, backup, opened, wanted, tally)


def _read_some(
    job: VerifyJob, backup: Backup, opened: tuple[Manifest, FrameDecoder], wanted: _Wanted, tally: Tally
) -> None:
    manifest, decoder = opened
    try:
        entries = job.vault.entries(manifest)
        with closing(read_back(job.vault, decoder, entries, wanted, is_over=job.is_time_over)) as reading:
            for read in _until(job.is_time_over, reading):
                if read is not None:
                    tally.add(backup, read)
                if read is None or read.cut is not None:
                    note_share_unfinished(tally)
                    return
    except IntegrityError as error:
        tally.add_damage(backup, Damage.of(error))


def _report(job: VerifyJob, known: CatalogSnapshot, tally: Tally, target: str, share: str) -> VerificationReport:
    damaged = record_damage(job, Level.READ, known, tally.damages, tally.own)
    packs = Amount(objects=len(tally.packs), size_bytes=tally.frames.size_bytes)
    return VerificationReport(
        id=job.id,
        level=Level.READ,
        status=500 if damaged or tally.problems or tally.unfinished else 200,
        target=target,
        share=share,
        backups=len(tally.backups),
        packs=packs,
        entries=tally.entries,
        frames=tally.frames,
        examined=tuple(tally.examined),
        damaged=damaged,
        problems=tuple(tally.problems),
        unfinished=tally.unfinished,
    )
