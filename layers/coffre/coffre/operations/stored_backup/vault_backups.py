"""The backups of a vault, read from its manifests alone: for a lost catalog, or a copy of a vault.

It gives the catalog's answers about completed backups, and writes nothing. What only the catalog knows is missing:
failed runs, verifications, and the proof that a manifest is the one that was written.
"""

from __future__ import annotations

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime
from functools import cached_property
from typing import Final

from coffre.model.backup import Backup, Status
from coffre.model.errors import BackupStateError, IntegrityError, StoreError, TargetUnknownError
from coffre.operations.stored_backup.catalog_record import described, described_by_manifest
from coffre.policy.recency import newest_first
from coffre.stores.store import OF_THE_WHOLE_STORE
from coffre.vault.layout import BACKUPS, MANIFEST, RecordKey, record_of
from coffre.vault.points import SealedPoints
from coffre.vault.vault import Vault

# Each manifest takes a few requests of some 20 ms: this many are read in parallel, as the client has connections.
_READERS: Final = 8


class VaultBackups:
    """The completed backups of a vault. The vault is listed once, and each manifest is read at most once.

    Attributes
    ----------
    points
        The sealed restore points.
    problems
        By id of the backup, the error of reading its records; only for records that were read.
    """

    def __init__(self, vault: Vault) -> None:
        self._vault = vault
        self.points = SealedPoints(vault.store)
        self._read: dict[str, Backup | None] = {}
        self.problems: dict[str, str] = {}

    @cached_property
    def targets(self) -> list[str]:
        """The targets that have backups, sorted."""
        return sorted({record.target for record in self._manifests.values()})

    def known_target(self, name: str) -> str:
        """Return the name of a target that has backups.

        Raises
        ------
        TargetUnknownError
            The vault has no backup of the target.
        """
        if name not in self.targets:
            raise TargetUnknownError(
                f'The vault has no backup of "{name}".', hint=f"It has backups of: {', '.join(self.targets)}"
            )
        return name

    def backups(
        self,
        *,
        target: str | None = None,
        status: Status | None = None,
        since: datetime | None = None,
        until: datetime | None = None,
    ) -> Iterator[Backup]:
        """Yield the readable backups, the last completed one first.

        Raises
        ------
        TargetUnknownError
            The vault has no backup of the target.
        """
        if target is not None:
            self.known_target(target)
        if status not in (None, Status.COMPLETED):
            return
        wanted = [one for one in self._manifests.values() if target in (None, one.target)]
        with ThreadPoolExecutor(_READERS, thread_name_prefix="manifest") as pool:
            found = [backup for backup in pool.map(self._find, wanted) if backup is not None]
        for backup in newest_first(found, datetime.now(UTC)):
            if (since is None or backup.created_at >= since) and (until is None or backup.created_at < until):
                yield backup

    def get_backup(self, backup_id: str) -> Backup:
        """Return a backup.

        Raises
        ------
        BackupStateError
            `BACKUP_UNKNOWN`
        IntegrityError
            Its manifest cannot be read, or is another backup's.
        """
        record = self._manifests.get(backup_id)
        if record is None:
            raise BackupStateError(
                f"The vault has no completed backup {backup_id[:100]}.",
                code="BACKUP_UNKNOWN",
                hint="See its backups: coffre --vault ... list",
            )
        backup = self._find(record)
        if backup is None:
            raise IntegrityError(
                self.problems[backup_id],
                code="MANIFEST_DAMAGED",
                hint="Restore another backup, and keep the vault as it is.",
            )
        return backup

    def completed_backups(self, target: str) -> list[Backup]:
        """Return the backups of a target, the last completed one first."""
        return list(self.backups(target=target))

    def latest_completed(self, target: str, *, damaged_too: bool = False) -> Backup | None:
        """Return the last completed backup of a target but for the tier SAFETY; a damaged one only if `damaged_too`."""
        found = (one for one in self.backups(target=target) if not one.is_safety)
        return next((one for one in found if damaged_too or one.is_healthy), None)

    def unreadable(self, target: str | None = None) -> dict[str, tuple[str, str]]:
        """Return, by id, target and error of each backup that cannot be read. Reads all backups of the target."""
        list(self.backups(target=target))
        return {
            backup_id: (self._manifests[backup_id].target, self.problems[backup_id])
            for backup_id, backup in self._read.items()
            if backup is None and target in (None, self._manifests[backup_id].target)
        }

    @cached_property
    def _manifests(self) -> dict[str, RecordKey]:
        records = (record_of(info.key) for info in self._vault.store.list(BACKUPS))
        return {record.backup_id: record for record in records if record is not None and record.name == MANIFEST}

    def _find(self, record: RecordKey) -> Backup | None:
        if record.backup_id not in self._read:
            self._read[record.backup_id] = self._describe(record)
        return self._read[record.backup_id]

    def _describe(self, record: RecordKey) -> Backup | None:
        # An unreadable mark or report must not hide a readable backup, nor one that is archived all others.
        for describe in (described, described_by_manifest):
            try:
                return describe(self._vault, record.target, record.backup_id)
            except (IntegrityError, StoreError) as error:
                if error.code in OF_THE_WHOLE_STORE:
                    raise
                self.problems.setdefault(record.backup_id, f"{error.message} [{error.code}]")
        return None
