"""Where a command reads backups: in the vault, and what it cannot give in the copies; or in one copy alone."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Annotated

import typer

from coffre.model.errors import CoffreError
from coffre_cli.backup_argument import resolve_backup
from coffre_cli.deployed import DeployedStack
from coffre_cli.place import Place, find_place
from coffre_cli.screen import remark
from coffre_cli.standalone import StandaloneVault

if TYPE_CHECKING:
    from coffre.model.addresses import VaultUnusableError
    from coffre.model.backup import Backup
    from coffre.model.kinds import TargetKind
    from coffre.vault.vault import Vault

_HELP = (
    "Read the backup from this copy alone (`vault`: from the vault alone). Default: from the vault, and what it cannot "
    "give from its copies."
)
FromOption = Annotated[str | None, typer.Option("--from", "--from-copy", metavar="COPY", help=_HELP)]
# Where --from already begins a period.
FromCopyOption = Annotated[str | None, typer.Option("--from-copy", metavar="COPY", help=_HELP)]

VAULT = "vault"
_CONNECTIONS = 32


def find_reading_place(stack: str | None, source: str | None) -> Place:
    """Return the stack or the vault, whose backups are read as `--from` says.

    Raises
    ------
    CopyUnknownError
        No copy has this name.
    """
    place = find_place(stack)
    if isinstance(place, StandaloneVault):
        if source is not None:
            raise typer.BadParameter(f"--from names a copy of a stack: {place.choice.place} is read already")
        return place
    if source not in (None, VAULT):
        place.configuration.destination(source)
    return replace(place, reading=lambda own: _reading(place, own, source))


def _reading(place: DeployedStack, own: Vault, source: str | None) -> Vault:
    from coffre.operations.stored_backup.read_copies import reading
    from coffre.runtime.copy_destinations import Opening
    from coffre.runtime.reading import places_of
    from coffre.runtime.sources import read_secret

    def report(name: str, error: CoffreError) -> None:
        where = "The vault" if name == VAULT else f"The copy {name}"
        remark(f"{where} cannot give everything, the others are asked: {error.message} [{error.code}]")

    if source == VAULT:
        return own
    try:
        destinations = place.configuration.copies
    except CoffreError:
        if source is not None:
            raise
        return own  # which copies exist is not known; the vault may have everything
    places = places_of(destinations, lambda name: read_secret(place.secrets, name), Opening(_CONNECTIONS))
    return reading(own, places, source, report)


def resolve_read(
    place: Place, text: str, target: str | None, source: str | None, kind: TargetKind | None = None
) -> Backup:
    """Return the backup that is meant, as it is where it is read; `latest` in a copy is the latest that it has.

    Raises what `resolve_backup` and `latest_copied` raise.
    """
    if source in (None, VAULT) or isinstance(place, StandaloneVault):
        return resolve_backup(place, text, target, kind)
    from coffre.operations.stored_backup.read_copies import as_read, latest_copied

    if text == "latest":
        return latest_copied(place.catalog, place.only_target(target, kind), source)
    return as_read(place.catalog, resolve_backup(place, text, target, kind), source)


def open_copy(deployed: DeployedStack, source: str) -> tuple[Vault, str | None]:
    """Return a copy by its name or its address, and its name if it has one.

    Raises
    ------
    CopyUnknownError
        It is neither the name of a copy nor an address.
    """
    import re

    from coffre.model.addresses import parse_address
    from coffre.model.copies import DESTINATION_NAME
    from coffre.runtime.copy_destinations import Opening, open_address, open_destination
    from coffre.runtime.sources import read_secret
    from coffre.vault.vault import Vault

    opening = Opening(_CONNECTIONS)
    if re.fullmatch(DESTINATION_NAME, source) is None:
        return Vault(open_address(parse_address(source), opening)), None
    destination = deployed.configuration.destination(source)
    opened = open_destination(destination, lambda name: read_secret(deployed.secrets, name), opening)
    return Vault(opened.store), source


def no_manifest(source: str) -> VaultUnusableError:
    """Return the error for a copy without any backup."""
    from coffre.model.addresses import VaultUnusableError

    return VaultUnusableError(
        f"{source[:200]} has no backup: no manifest was found below v1/backups/.",
        code="VAULT_EMPTY",
        hint="Give the directory, or the bucket with the prefix, that contains v1/backups and v1/packs.",
    )
