"""What a recovery starts from: the recovery kit, or an address and a key; and the copies of the vault they lead to."""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

import typer
from pydantic import ValidationError

from coffre.model.errors import EncryptionError
from coffre_cli.commands.keys.kit_facts import KitFacts
from coffre_cli.commands.keys.recovery_kit import CONFIGURATION, FACTS, IDENTITY, KitError
from coffre_cli.kept_configuration import configuration_of, parsed
from coffre_cli.standalone import StandaloneVault, given_identities
from coffre_cli.vault_choice import IDENTITY_VARIABLE, VaultChoice

if TYPE_CHECKING:
    from coffre.model.configuration import Configuration


@dataclass(frozen=True)
class Start:
    """The copies that are known, what opens them, and where the keys are (for the progress file)."""

    choices: tuple[VaultChoice, ...]
    identities: tuple[str, ...] = field(repr=False)
    identity_places: tuple[str, ...] = ()
    kit: Path | None = None
    facts: KitFacts | None = None


def find_start(
    kit: Path | None,
    addresses: Sequence[str],
    endpoint_url: str | None,
    identities: Sequence[str],
    passphrase: str | None,
) -> Start:
    """Return where to look for backups, and what opens them.

    Addresses that are given come in place of the kit's: the person knows better what is left.

    Raises
    ------
    typer.BadParameter
        Neither a kit nor an address was given.
    KitError
        `KIT_UNREADABLE`
    EncryptionError
        A key or the passphrase is missing or wrong.
    """
    facts = _read(kit) if kit else None
    given = tuple(VaultChoice(address, endpoint_url=endpoint_url) for address in addresses)
    choices = given or (_choices(facts) if facts else ())
    if not choices:
        raise typer.BadParameter("say where the backups are: --kit DIR, or --from ADDRESS with --identity FILE")
    places = tuple(identities) or _default_places(kit)
    opened = tuple(key for place in places for key in identities_in(place, passphrase))
    return Start(choices, opened, places, kit, facts)


def configuration_in(kit: Path | None, place: StandaloneVault) -> Configuration | None:
    """Return the kit's configuration, else the copy of it that the vault has, which the vault's writers can change."""
    file = kit / CONFIGURATION if kit else None
    if file is not None and file.is_file():
        return parsed(file.read_text(), str(file))
    return configuration_of(place)


def _read(kit: Path) -> KitFacts:
    try:
        return KitFacts.model_validate_json((kit / FACTS).read_bytes())
    except (OSError, ValidationError) as error:
        why = error.strerror if isinstance(error, OSError) else "it is of another version, or was changed"
        raise KitError(
            f"{kit} is not a recovery kit that this version can read.",
            code="KIT_UNREADABLE",
            detail=f"{FACTS}: {why}",
            hint="Name the folder that `coffre keys recovery-kit` wrote; or do without it: --from ADDRESS "
            "--identity FILE",
        ) from error


def _choices(facts: KitFacts) -> tuple[VaultChoice, ...]:
    vault = VaultChoice(facts.vault.address, endpoint_url=facts.vault.endpoint_url, region=facts.vault.region)
    copies = (VaultChoice(one.address, endpoint_url=one.endpoint_url, region=one.region) for one in facts.copies)
    return (vault, *copies)


def _default_places(kit: Path | None) -> tuple[str, ...]:
    if kit is not None and (kit / IDENTITY).is_file():
        return (str(kit / IDENTITY),)
    variable = os.environ.get(IDENTITY_VARIABLE)
    return (variable,) if variable else ()


def identities_in(place: str, passphrase: str | None) -> tuple[str, ...]:
    """Return the private keys in a file or a variable; a passphrase in a variable (`env:NAME`) is not asked for.

    Raises
    ------
    EncryptionError
        `IDENTITY_MISSING`, `PASSPHRASE_MISSING`, `PASSPHRASE_WRONG`
    """
    from coffre.vault.codec import parse_identities
    from coffre.vault.passphrase import is_encrypted, open_with_passphrase

    file = Path(place).expanduser()
    if passphrase is None or place.startswith("env:") or not file.is_file() or not is_encrypted(file.read_bytes()):
        return given_identities(place)
    words = os.environ.get(passphrase.removeprefix("env:"), "")
    if not passphrase.startswith("env:") or not words:
        raise EncryptionError(
            "--passphrase names no variable with a passphrase.",
            code="PASSPHRASE_MISSING",
            hint="For example: --passphrase env:KIT_PASSPHRASE. Other users of this machine could see a passphrase in "
            "an argument.",
        )
    return parse_identities(open_with_passphrase(file.read_bytes(), words).decode())
