"""The configuration: the stack's own, or the copy of it that a vault has."""

from __future__ import annotations

from typing import TYPE_CHECKING

from coffre.model.errors import CoffreError
from coffre_cli.deployed import DeployedStack
from coffre_cli.place import Place
from coffre_cli.screen import remark

if TYPE_CHECKING:
    from coffre.model.configuration import Configuration


def configuration_of(place: Place) -> Configuration | None:
    """Return the configuration; None when a vault alone has no copy of it that can be read."""
    from coffre.model.configuration import parse_configuration
    from coffre.vault.configuration_copies import newest_copy

    if isinstance(place, DeployedStack):
        return place.configuration
    try:
        kept = newest_copy(place.vault.store)
        return parse_configuration(kept.document, where=f"the vault {place.choice.place}") if kept else None
    except CoffreError as error:
        remark(f"The configuration in the vault {place.choice.place} cannot be used: {error.message} [{error.code}]")
        return None
