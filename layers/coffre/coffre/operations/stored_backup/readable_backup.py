"""The newest backup whose records can be read, for targets whose backups keep what only earlier ones have."""

from __future__ import annotations

from coffre.catalog.catalog import Catalog
from coffre.model.backup import Backup, Status
from coffre.model.errors import IntegrityError, StoreError
from coffre.operations.stored_backup.open_backup import manifest_of
from coffre.stores.store import OF_THE_WHOLE_STORE
from coffre.vault.vault import Vault


def newest_readable(catalog: Catalog, vault: Vault, target: str) -> Backup | None:
    """Return the newest COMPLETED backup of a target whose manifest and lists of entries are as they were written.

    If none is, the newest; None: the target has no backup.

    Raises
    ------
    StoreError
        `STORE_DENIED`, `BUCKET_MISSING`: these are no damage of a backup.
    """
    newest: Backup | None = None
    for listed in catalog.completed_backups(target):
        backup = catalog.get_backup(listed.id)
        if backup.status is not Status.COMPLETED:
            continue
        newest = newest or backup
        if _is_readable(vault, backup):
            return backup
    return newest


def _is_readable(vault: Vault, backup: Backup) -> bool:
    try:
        for _ in vault.entries(manifest_of(vault, backup)):
            pass
    except (IntegrityError, StoreError) as error:
        if error.code in OF_THE_WHOLE_STORE:
            raise
        return False
    return True
