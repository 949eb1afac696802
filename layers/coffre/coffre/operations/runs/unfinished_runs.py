"""Runs of a target that did not finish: what they have stored is known to the next run (ADR 51)."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from itertools import islice
from pathlib import Path
from typing import Final

from coffre.catalog.catalog import Catalog
from coffre.model.backup import Backup, Status
from coffre.model.errors import BackupStateError, CatalogError
from coffre.model.kinds import TargetKind
from coffre.model.words import counted, size
from coffre.vault.bucket_progress import EarlierRun
from coffre.vault.history import Unfinished
from coffre.vault.part_records import HISTORY_FROM
from coffre.vault.unfinished import count_bytes, read_unfinished
from coffre.vault.vault import Vault

# Rotation keeps what they have stored for a day (`operations/rotate`). Its clock may be some minutes ahead.
KEPT: Final = timedelta(hours=24) - timedelta(minutes=5)
# Each run names what it used of the ones before.
_MOST: Final = 3


@dataclass(frozen=True)
class UnfinishedRun:
    """A run that did not finish, and the SHA-256 of its records by number."""

    backup: Backup
    records: Mapping[int, str]

    @property
    def ended_at(self) -> datetime:
        """When it ended, as far as it is known."""
        return ended_at(self.backup)


def ended_at(backup: Backup) -> datetime:
    """Return when a run that is over ended; of one that was killed, when it was last heard of."""
    return backup.completed_at or backup.heartbeat_at or backup.created_at


def find_unfinished(catalog: Catalog, target: str, previous: Backup | None, now: datetime) -> tuple[UnfinishedRun, ...]:
    """Return the runs since the previous backup that failed within a day and have records, the newest first."""

    def with_records() -> Iterator[UnfinishedRun]:
        for backup in catalog.backups(target=target, status=Status.FAILED, since=_since(previous, now)):
            is_kept = now - ended_at(backup) < KEPT and (previous is None or backup.created_at > previous.created_at)
            if is_kept and (records := _history(backup, catalog.parts.of(backup.id))):
                yield UnfinishedRun(backup, records)

    try:
        return tuple(islice(with_records(), _MOST))
    except CatalogError:
        return ()  # as for a caller who may not read them: everything is stored


def is_history(backup: Backup, number: int) -> bool:
    """Tell whether the record of this number names entries: of a run of buckets, others are ranges for its seal."""
    return backup.kind is TargetKind.DATABASE or number >= HISTORY_FROM


def _history(backup: Backup, records: Mapping[int, str]) -> dict[int, str]:
    return {number: sha256 for number, sha256 in records.items() if is_history(backup, number)}


def reopened(
    catalog: Catalog, runs: Sequence[EarlierRun], after: str = "", end: str | None = None
) -> tuple[UnfinishedRun, ...]:
    """Return unfinished runs that an earlier step of this run has found, with their records of names in a range.

    What vouches for them is read from the catalog again.
    """
    found = []
    with contextlib.suppress(CatalogError, BackupStateError):
        for run in runs:
            wanted = {one.number for one in run.records if after < one.last and (end is None or one.first <= end)}
            known = catalog.parts.of(run.id) if wanted else {}
            records = {number: sha256 for number, sha256 in known.items() if number in wanted}
            found.append(UnfinishedRun(catalog.get_backup(run.id), records))
    return tuple(found)


def _since(previous: Backup | None, now: datetime) -> datetime:
    """Ids hold the time of their run's beginning. One over several functions can take hours."""
    earliest = now - 2 * KEPT
    return max(earliest, previous.created_at) if previous else earliest


def read_runs(
    vault: Vault, runs: Sequence[UnfinishedRun], recipients: Sequence[str], scratch: Path
) -> tuple[list[Unfinished], tuple[str, ...]]:
    """Read what runs have stored, and say what of it cannot be used."""
    found, notes = [], []
    for run in runs:
        backup = run.backup
        read = read_unfinished(vault, backup.target, backup.id, run.records, recipients, scratch)
        found.append(read.run)
        if read.ignored:
            notes.append(
                f"{counted(len(read.ignored), 'record')} of the unfinished run {backup.id} cannot be used: what they "
                f"name was stored again. The first: {read.ignored[0]}"
            )
    return found, tuple(notes)


def stored_before(
    runs: Sequence[UnfinishedRun], live_bytes: Mapping[str, int], unfinished: Mapping[str, str]
) -> tuple[str, ...]:
    """Say how much of a backup was stored already by which run that did not finish.

    Parameters
    ----------
    live_bytes
        What the backup uses of each pack.
    unfinished
        See `History`.
    """
    counts = count_bytes(live_bytes, unfinished)
    return tuple(
        f"{size(counts[run.backup.id])} were stored already by the run that ended at "
        f"{run.ended_at:%Y-%m-%d %H:%M:%S} UTC without finishing ({run.backup.id})."
        for run in runs
        if run.backup.id in counts
    )
