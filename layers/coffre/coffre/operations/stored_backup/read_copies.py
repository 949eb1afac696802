"""A backup in the copies of the vault: which of them to read, and in what order."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence

from coffre.catalog.catalog import Catalog
from coffre.model.backup import Backup, Status
from coffre.model.copies import Copy, CopyStatus, Destination
from coffre.model.errors import BackupStateError, CoffreError, CopyUnknownError
from coffre.operations.stored_backup.backup_in_copy import as_copied
from coffre.stores.with_copies import VAULT, Place, StoreWithCopies
from coffre.vault.vault import Vault

type Report = Callable[[str, CoffreError], None]


def most_likely_first(destinations: Iterable[Destination], copy_of: Callable[[str], Copy | None]) -> list[Destination]:
    """Return the destinations in the order in which they are asked for a backup.

    Complete copies come first, as they are configured; then those that are known to be damaged; then all others: packs
    of the backup may be there, copied with an earlier one.
    """

    def rank(destination: Destination) -> int:
        copy = copy_of(destination.name)
        if copy is None or copy.status is not CopyStatus.COMPLETED:
            return 2
        return 1 if copy.damaged else 0

    return sorted(destinations, key=rank)


def reading(vault: Vault, copies: Sequence[Place], source: str | None, report: Report) -> Vault:
    """Return a vault that is read as a restore wants it.

    Parameters
    ----------
    copies
        The copies that can be read, those first that are asked first.
    source
        `vault` or the name of a copy: backups are read from there alone. None: from the vault, and from the copies what
        it cannot give. What the restore itself writes goes to the vault, and to a copy if the vault takes nothing.
    report
        Gets the name of a place that cannot be read, and why.

    Raises
    ------
    CopyUnknownError
        No copy has this name.
    """
    if source == VAULT or (source is None and not copies):
        return vault
    own = Place(VAULT, lambda: vault.store)
    if source is None:
        return Vault(StoreWithCopies([own, *copies], report=report))
    chosen = next((copy for copy in copies if copy.name == source), None)
    if chosen is None:
        known = ", ".join([VAULT, *(copy.name for copy in copies)])
        raise CopyUnknownError(
            f'There is no copy "{source}".', detail=f"It can be read from: {known}", hint="Check the name's spelling."
        )
    return Vault(StoreWithCopies([chosen], [own, chosen], report))


def as_read(catalog: Catalog, backup: Backup, source: str | None) -> Backup:
    """Return a backup as it is in the copy that is read.

    Deleted from the vault, it may be complete there; and the other way round. What no record tells is left to the
    reading itself.
    """
    copy = catalog.copies.find(source, backup.id) if source not in (None, VAULT) else None
    if copy is not None and copy.status is CopyStatus.COMPLETED:
        return as_copied(backup, copy)
    if copy is not None and copy.status is CopyStatus.DELETED:
        return backup.model_copy(update={"status": Status.DELETED})
    return backup


def latest_copied(catalog: Catalog, target: str, source: str) -> Backup:
    """Return the newest good backup of a target that is complete in a copy.

    Raises
    ------
    BackupStateError
        `BACKUP_UNKNOWN`: the copy has none.
    """
    for backup in catalog.completed_backups(target):
        copy = catalog.copies.find(source, backup.id)
        if copy is None or copy.status is not CopyStatus.COMPLETED or copy.damaged or backup.is_safety:
            continue
        if backup.is_healthy:
            return backup
    raise BackupStateError(
        f'The copy "{source}" has no complete backup of "{target}", as far as the catalog knows.',
        code="BACKUP_UNKNOWN",
        hint=f"Look at its backups: coffre list {target}; then name one by its id.",
    )
