"""Runs of a target that did not finish: what they have stored is known to the next run (ADR 51)."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING, Final

from coffre.catalog.catalog import Catalog
from coffre.model.backup import Backup, Status
from coffre.model.errors import BackupStateError, CatalogError
from coffre.model.kinds import TargetKind
from coffre.model.words import counted, size
from coffre.vault.history import Unfinished
from coffre.vault.part_records import HISTORY_FROM
from coffre.vault.unfinished import count_bytes, read_unfinished
from coffre.vault.vault import Vault

if TYPE_CHECKING:
    from coffre.vault.bucket_progress import EarlierRun

# Rotation keeps what they have stored for a day (`operations/rotate`). Its clock may be some minutes ahead.
KEPT: Final = timedelta(hours=24) - timedelta(minutes=5)
# Each run names what it used of the ones before.
_MOST: Final = 3
# Each has about 20,000 entries, which take 0.6 s and 1 MB of scratch space. What older ones name is stored again.
_MOST_RECORDS: Final = 256
_MOST_OF_A_RANGE: Final = 64


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
    """Return the runs since the previous backup that failed within a day and have records, the newest first.

    A run that pointed at a backup which has been deleted or is damaged does not count: what is wrong with the packs of
    that backup is known no more, or not looked at.
    """

    def with_records() -> Iterator[UnfinishedRun]:
        for backup in catalog.backups(target=target, status=Status.FAILED, since=_since(previous, now)):
            is_kept = now - ended_at(backup) < KEPT and (previous is None or backup.created_at > previous.created_at)
            if not is_kept or _has_lost_its_past(catalog, backup, previous):
                continue
            if records := _history(backup, catalog.parts.of(backup.id)):
                yield UnfinishedRun(backup, records)

    try:
        return _newest(list(islice(with_records(), _MOST)), _MOST_RECORDS)
    except CatalogError:
        return ()  # as for a caller who may not read them: everything is stored


def _has_lost_its_past(catalog: Catalog, run: Backup, previous: Backup | None) -> bool:
    """Tell whether there was another previous backup when a run began."""
    since = previous.created_at if previous else None
    return any(
        status is Status.DELETED or backup.damaged_at is not None
        for status in (Status.DELETED, Status.COMPLETED)
        for backup in catalog.backups(target=run.target, status=status, since=since)
        if backup.created_at < run.created_at and (previous is None or backup.id != previous.id)
    )


def is_history(backup: Backup, number: int) -> bool:
    """Tell whether the record of this number names entries: of a run of buckets, others are ranges for its seal."""
    return backup.kind is TargetKind.DATABASE or number >= HISTORY_FROM


def _history(backup: Backup, records: Mapping[int, str]) -> dict[int, str]:
    return {number: sha256 for number, sha256 in records.items() if is_history(backup, number)}


def reopened(
    catalog: Catalog, runs: Sequence[EarlierRun], after: str = "", end: str | None = None
) -> tuple[UnfinishedRun, ...]:
    """Return unfinished runs that an earlier step of this run has found, with their newest records of names in a range.

    What vouches for them is read from the catalog again.
    """
    found = []
    with contextlib.suppress(CatalogError, BackupStateError):
        for run in runs:
            wanted = {one.number for one in run.records if after < one.last and (end is None or one.first <= end)}
            known = catalog.parts.of(run.id) if wanted else {}
            records = {number: sha256 for number, sha256 in known.items() if number in wanted}
            found.append(UnfinishedRun(catalog.get_backup(run.id), records))
    return _newest(found, _MOST_OF_A_RANGE)


def _newest(runs: Sequence[UnfinishedRun], most: int) -> tuple[UnfinishedRun, ...]:
    """Return runs with so few of their records, the newest ones, that reading them leaves time for the run itself."""
    found = []
    for run in runs:
        numbers = sorted(run.records, reverse=True)[:most]
        most -= len(numbers)
        found.append(replace(run, records={number: run.records[number] for number in sorted(numbers)}))
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
