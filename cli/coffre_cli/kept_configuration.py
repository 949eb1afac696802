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
    if isinstance(place, DeployedStack):
        return place.configuration
    document = document_of(place)
    return parsed(document, f"the vault {place.choice.place}") if document else None


def document_of(place: Place) -> str | None:
    """Return the document that is in effect; None when a vault alone has no copy of it that can be read."""
    from coffre.vault.configuration_copies import newest_copy

    if isinstance(place, DeployedStack):
        return place.current_configuration.document
    try:
        kept = newest_copy(place.vault.store)
    except CoffreError as error:
        _say_unusable(f"the vault {place.choice.place}", error)
        return None
    return kept.document if kept else None


def parsed(document: str, where: str) -> Configuration | None:
    """Return a kept document as it is understood today; None, with a remark, when it is not."""
    from coffre.model.configuration import parse_configuration

    try:
        return parse_configuration(document, where=where)
    except CoffreError as error:
        _say_unusable(where, error)
        return None


def _say_unusable(where: str, error: CoffreError) -> None:
    remark(f"The configuration in {where} cannot be used: {error.message} [{error.code}]")
