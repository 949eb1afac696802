"""Where backups are read: the vault, and what it cannot give in its copies."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial

from coffre.catalog.catalog import Catalog
from coffre.model.backup import Backup
from coffre.model.configuration import Configuration
from coffre.model.copies import Destination
from coffre.model.errors import BackupStateError, CoffreError, EventError
from coffre.model.moment import Moment
from coffre.operations.stored_backup.read_copies import Report, as_read, latest_copied, most_likely_first, reading
from coffre.runtime.bootstrap import Services
from coffre.runtime.copy_destinations import Opening, open_destination
from coffre.stores.store import Store
from coffre.stores.with_copies import VAULT, Place
from coffre.vault.vault import Vault

type Secret = Callable[[str], str]


def places_of(destinations: Sequence[Destination], secret: Secret, opening: Opening) -> list[Place]:
    """Return the stores of destinations, each opened when it is first needed."""
    return [Place(one.name, partial(_store_of, one, secret, opening)) for one in destinations]


def _store_of(destination: Destination, secret: Secret, opening: Opening) -> Store:
    return open_destination(destination, secret, opening).store


def vault_of(
    backup: Backup,
    source: str | None,
    vault: Vault,
    catalog: Catalog,
    configuration: Callable[[], Configuration],
    places: Callable[[Sequence[Destination]], Sequence[Place]],
    report: Report,
) -> Vault:
    """Return the vault to read a backup from (`source` as `reading` takes it).

    Without `source`, a configuration or a record of a copy that cannot be read does not stop a restore from the vault.

    Raises
    ------
    CopyUnknownError
        No copy has this name.
    """
    if source == VAULT:
        return vault
    if source is not None:
        return reading(vault, places([configuration().destination(source)]), source, report)
    try:
        ordered = most_likely_first(
            configuration().copies_of(backup.target), lambda name: catalog.copies.find(name, backup.id)
        )
    except CoffreError as error:
        report("copies", error)
        return vault
    return reading(vault, places(ordered), None, report)


@dataclass(frozen=True)
class OpenBackup:
    """A backup, and the vault that it is read from. `find` returns it as it is at this instant."""

    backup: Backup
    vault: Vault
    find: Callable[[str], Backup]


@dataclass(frozen=True)
class Reading:
    """Where one restore reads its backup; `source` is what its event says."""

    services: Services
    source: str | None

    def backup(self, backup_id: str) -> Backup:
        """Return a backup as it is where it is read."""
        catalog = self.services.catalog
        return as_read(catalog, catalog.get_backup(backup_id), self.source)

    def latest(self, target: str) -> Backup | None:
        """Return the newest good backup of a target; raises what `latest_copied` raises."""
        if self.source in (None, VAULT):
            return self.services.catalog.latest_completed(target)
        return latest_copied(self.services.catalog, target, self.source)

    def choose(self, backup_id: str, target: str | None) -> Backup:
        """Return the backup that an event means: `latest` is the target's newest good one.

        Raises
        ------
        BackupStateError
            `BACKUP_UNKNOWN`; `BACKUP_DAMAGED`: every one of the target is.
        EventError
            The backup is not of this target, or `latest` has none.
        """
        if backup_id != "latest":
            backup = self.backup(backup_id)
            if target not in (None, backup.target):
                raise EventError(
                    f"Backup {backup.id} is of {backup.target}, not of {target}.",
                    hint="Leave target out, or choose a backup of that target.",
                )
            return backup
        if target is None:
            raise EventError('"latest" needs a target.', hint="Add the field target.")
        latest = self.latest(target)
        if latest is None and (damaged := self.services.catalog.latest_completed(target, damaged_too=True)) is not None:
            raise BackupStateError(
                f'Every completed backup of "{target}" is damaged; the newest is {damaged.id}.',
                code="BACKUP_DAMAGED",
                detail=damaged.damage,
                hint="Its undamaged parts can be restored by its id.",
            )
        if latest is None:
            raise BackupStateError(
                f'There is no completed backup of "{target}".',
                code="BACKUP_UNKNOWN",
                hint="List the backups: coffre list",
            )
        return latest

    def base_for(self, at: Moment, target: str) -> Backup:
        """Return the backup of a target that a moment is made from; raises what `moments.base_for` raises."""
        from coffre.operations.restore_database.moments import base_for  # here, for only moments need it

        catalog, listed = self.services.catalog, self.services.catalog.completed_backups(target)
        backups = [self.backup(one.id) for one in listed]
        if not backups:
            return self.choose("latest", target)  # which says what there is
        state = catalog.journals.find(target)
        return base_for(at, self.vault(backups[0]), target, backups, state, lambda: self.services.decoder(target))

    def open(self, backup: Backup) -> OpenBackup:
        """Return the backup with the vault to read it from; raises what `vault_of` raises."""
        return OpenBackup(backup, self.vault(backup), self.backup)

    def vault(self, backup: Backup) -> Vault:
        """Return the vault to read a backup from; raises what `vault_of` raises."""
        services = self.services
        opening = Opening(tally=services.metering.tally, session=services.session)

        def report(place: str, error: CoffreError) -> None:
            extra = {"place": place, "code": error.code, "why": error.message, "backup_id": backup.id}
            services.edge.logger.warning("a place cannot be read: the others are asked", extra=extra)

        return vault_of(
            backup,
            self.source,
            services.vault,
            services.catalog,
            services.configuration,
            lambda destinations: places_of(destinations, services.secret, opening),
            report,
        )
