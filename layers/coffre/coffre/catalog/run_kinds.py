"""The two kinds of runs that have records: backups and restores."""

from __future__ import annotations

from dataclasses import dataclass

from coffre.catalog.run_items import BackupItem, RestoreItem, RunItem
from coffre.model.backup import Backup, Restore


@dataclass(frozen=True)
class RunKind[R: (Backup, Restore)]:
    """One of the two kinds of runs. `partition` also begins the error codes: `BACKUP_UNKNOWN`."""

    partition: str
    item: type[RunItem]
    record: type[R]
    hint: str

    @property
    def noun(self) -> str:
        """How a person calls it."""
        return self.partition.lower()


BACKUP = RunKind("BACKUP", BackupItem, Backup, "`coffre list` shows the backups and their ids.")
RESTORE = RunKind("RESTORE", RestoreItem, Restore, "Check the id: the command that started the restore printed it.")
