"""What the steps of a sweep share: the job, the catalog's records, the counts and the findings."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from pathlib import Path
from typing import Final, Protocol

from coffre.catalog.catalog import Catalog
from coffre.model.backup import Restore, Status
from coffre.model.manifest import Manifest
from coffre.model.points import PointRecord
from coffre.model.rotation import Amount, Problem, SweepReport
from coffre.model.vault_use import JournalKept
from coffre.operations.runs.dead_runs import is_silent
from coffre.stores.store import ObjectInfo
from coffre.stores.with_copies import VAULT
from coffre.vault.vault import Vault

# No function lives longer than 15 minutes: after this time, no function can still write for a failed run.
GRACE: Final = timedelta(hours=24)
# Findings of each kind that are listed; counts have no limit.
_LISTED: Final = 100


@dataclass(frozen=True, slots=True)
class BackupSummary:
    """The part of a backup's record that a sweep needs: about 0.5 KB each."""

    target: str
    status: Status
    manifest_sha256: str | None
    ended_at: datetime
    is_healthy: bool = True

    def is_long_over(self, now: datetime) -> bool:
        """Tell whether no function can still write for this backup."""
        return self.status.is_final and now - self.ended_at > GRACE


class Records(Protocol):
    """What is known of the backups of the place that is swept: the vault, or a copy of it."""

    def summaries(self) -> dict[str, BackupSummary]:
        """Read every backup's record, by id, consistently."""
        ...

    def points(self) -> dict[str, PointRecord]:
        """Read the record of every restore point, by id."""
        ...

    def running_restores(self, now: datetime, /) -> list[Restore]:
        """Read every restore's record, consistently, and return those that may still read packs."""
        ...

    def note_journal_kept(self, target: str, since: datetime, /) -> None:
        """Remember that what a target's journal needs for earlier moments alone is deleted now."""
        ...


@dataclass(frozen=True)
class VaultRecords:
    """The catalog's records of the vault."""

    catalog: Catalog

    def summaries(self) -> dict[str, BackupSummary]:
        """Read the record of every backup."""
        records = {}
        for backup in self.catalog.backups():
            ended_at = backup.completed_at or backup.heartbeat_at or backup.created_at
            records[backup.id] = BackupSummary(
                backup.target, backup.status, backup.manifest_sha256, ended_at, backup.is_healthy
            )
        return records

    def points(self) -> dict[str, PointRecord]:
        """Return the restore points by id."""
        return {point.id: point for point in self.catalog.points.all()}

    def running_restores(self, now: datetime, /) -> list[Restore]:
        """Return the restores of the catalog that are running."""
        return running_restores(self.catalog, now, VAULT)

    def note_journal_kept(self, target: str, since: datetime, /) -> None:
        """Remember it for the inventory of the vault."""
        self.catalog.latest.note_journal_kept(JournalKept(target=target, since=since))


@dataclass(frozen=True)
class SweepJob:
    """What a sweep needs.

    Parameters
    ----------
    now
        When it began.
    check
        Raises if the sweep must not continue.
    gone
        Backups that count as deleted although the records do not say so: those of a dry run.
    copy
        The name of the copy that is swept; None: the vault.
    journal_since
        Returns since when every moment of a target's journal is kept; None: nothing of it goes.
    """

    records: Records
    vault: Vault
    scratch: Path
    now: datetime
    check: Callable[[], None]
    dry_run: bool = False
    gone: frozenset[str] = frozenset()
    copy: str | None = None
    journal_since: Callable[[str], datetime | None] = lambda _: None

    def summaries(self) -> dict[str, BackupSummary]:
        """Return the records, in which those that are gone are DELETED."""
        found = self.records.summaries()
        return found | {one: replace(found[one], status=Status.DELETED) for one in self.gone if one in found}

    @property
    def place(self) -> str:
        """What is swept, in a sentence."""
        return "the vault" if self.copy is None else f'the copy "{self.copy}"'


def running_restores(catalog: Catalog, now: datetime, place: str) -> list[Restore]:
    """Read every restore's record, consistently, and return those that may still read a place: `vault`, or a copy."""
    unfinished = (one for one in catalog.restores() if not one.status.is_final and one.may_read(place))
    return [restore for restore in unfinished if not is_silent(restore, now, GRACE)]


@dataclass
class SweepTally:
    """The counts and findings of a sweep."""

    packs: Amount = field(default_factory=Amount)
    living: Amount = field(default_factory=Amount)
    wasted_bytes: int = 0
    needed_bytes: int = 0
    plaintext_bytes: int = 0
    records_removed: Amount = field(default_factory=Amount)
    packs_removed: Amount = field(default_factory=Amount)
    waiting: Amount = field(default_factory=Amount)
    foreign: Amount = field(default_factory=Amount)
    journal: Amount = field(default_factory=Amount)
    journal_removed: Amount = field(default_factory=Amount)
    _foreign_keys: list[str] = field(default_factory=list)
    _waits: dict[str, None] = field(default_factory=dict)
    _problems: list[Problem] = field(default_factory=list)

    def note_foreign(self, info: ObjectInfo) -> None:
        """Count an object that is not Coffre's."""
        self.foreign = self.foreign.plus(info.size)
        if len(self._foreign_keys) < _LISTED:
            self._foreign_keys.append(info.key)

    def note_backup(self, manifest: Manifest) -> None:
        """Count what a backup needs of the vault, and what it holds."""
        self.needed_bytes += sum(pack.live_bytes for pack in manifest.packs)
        self.plaintext_bytes += manifest.plaintext_bytes

    def note_waiting(self, info: ObjectInfo, reason: str) -> None:
        """Count an unreferenced pack that stays for now."""
        self.waiting = self.waiting.plus(info.size)
        if len(self._waits) < _LISTED:
            self._waits.setdefault(reason)

    def note_locked_record(self, reason: str) -> None:
        """Note that records of a backup that is gone stay until their locks end."""
        if len(self._waits) < _LISTED:
            self._waits.setdefault(reason)

    def note_problem(self, code: str, target: str | None, text: str) -> None:
        """Add a problem that an operator has to look at."""
        if len(self._problems) < _LISTED:
            self._problems.append(Problem(code=code, target=target, text=text))

    def report(self) -> SweepReport:
        """Return counts and findings."""
        return SweepReport(
            packs=self.packs,
            living=self.living,
            wasted_bytes=self.wasted_bytes,
            needed_bytes=self.needed_bytes,
            plaintext_bytes=self.plaintext_bytes,
            records_removed=self.records_removed,
            packs_removed=self.packs_removed,
            waiting=self.waiting,
            waits=tuple(self._waits),
            foreign=self.foreign,
            journal=self.journal,
            journal_removed=self.journal_removed,
            foreign_keys=tuple(self._foreign_keys),
            problems=tuple(self._problems),
        )
