"""Configuration documents by the words that commands take: a version's number, `template`, a file, `-` for stdin."""

from __future__ import annotations

import json
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Final

from coffre.model.configuration_version import TEMPLATE, TEMPLATE_CHANGED
from coffre.model.errors import ConfigurationError
from coffre_cli.screen import remark

if TYPE_CHECKING:
    from coffre.model.configuration_version import ConfigurationVersion, CurrentConfiguration
    from coffre_cli.deployed import DeployedStack

TEMPLATE_WORD: Final = "template"
VAULT_WORD: Final = "vault"


@dataclass(frozen=True)
class NamedDocument:
    """A document, with what it is called in messages."""

    label: str
    text: str
    version: ConfigurationVersion | None = None


def in_effect(current: CurrentConfiguration) -> NamedDocument:
    """Return the document that is in effect."""
    if current.version is None:
        return NamedDocument(f"the template's document ({current.template_place})", current.document)
    return NamedDocument(f"version {current.number}", current.document, current.version)


def stored_document(deployed: DeployedStack, name: str) -> NamedDocument:
    """Return a version by its number, the template's document (`template`, 0), or the vault's newest copy (`vault`).

    Raises
    ------
    ConfigurationError
        `CONFIGURATION_UNKNOWN`
    """
    current = deployed.current_configuration
    if name.lower() == TEMPLATE_WORD or name == str(TEMPLATE):
        if current.template is None:
            raise _unknown("The template's document could not be read.", f"It is in {current.template_place}.")
        return NamedDocument("the template's document", current.template)
    if name.lower() == VAULT_WORD:
        return _copy(deployed)
    if not (name.isascii() and name.isdecimal() and len(name) <= 10):
        raise _unknown(f'"{name}" is not the number of a version.', _known(current))
    version = deployed.catalog.configurations.find(int(name))
    if version is None:
        raise _unknown(f"There is no version {int(name)} of the configuration.", _known(current))
    return NamedDocument(f"version {version.number}", version.document, version)


def _copy(deployed: DeployedStack) -> NamedDocument:
    from coffre.vault.configuration_copies import newest_copy

    copy = newest_copy(deployed.vault.store)
    if copy is None:
        raise _unknown("The vault has no copy of a configuration.", "A rotation of every target keeps one.")
    return NamedDocument(f"the vault's copy of {copy.at:%Y-%m-%d %H:%M} UTC", copy.document)


def any_document(deployed: DeployedStack, name: str) -> NamedDocument:
    """Return a version, the template's document, or that of a file; raises what reading them raises."""
    is_stored = name.lower() in (TEMPLATE_WORD, VAULT_WORD) or (name.isascii() and name.isdecimal())
    return stored_document(deployed, name) if is_stored else file_document(name)


def file_document(name: str) -> NamedDocument:
    """Return the document of a file, or of stdin (`-`), as text.

    Raises
    ------
    ConfigurationError
        `CONFIGURATION_MISSING`: no such file, or it cannot be read. `CONFIGURATION_INVALID`: it is no document.
    """
    from coffre.model.configuration_mistakes import readable_text

    label = "stdin" if name == "-" else name
    try:
        content = sys.stdin.buffer.read() if name == "-" else Path(name).expanduser().read_bytes()
    except OSError as error:
        raise ConfigurationError(
            f"The file {name} cannot be read.",
            code="CONFIGURATION_MISSING",
            detail=error.strerror,
            hint="Give the path of a file with the document, or - to read it from stdin.",
        ) from error
    return NamedDocument(label, readable_text(content, where=label))


def laid_out(text: str) -> str:
    """Return a document in lines, whatever its own layout is; what is no JSON stays as it is."""
    try:
        return json.dumps(json.loads(text), indent=2, ensure_ascii=False)
    except (ValueError, RecursionError):
        return text


def remark_template(current: CurrentConfiguration) -> None:
    """Report on stderr that the template's parameters have changed and are not in effect."""
    if current.template_has_changed:
        remark(TEMPLATE_CHANGED)


def _known(current: CurrentConfiguration) -> str:
    if current.version is None:
        return "No version was written yet: the template's document is in effect (coffre config show template)."
    return f"Versions 1 to {current.number} exist, and `template` and `vault`: coffre config history"


def _unknown(message: str, hint: str) -> ConfigurationError:
    return ConfigurationError(message, code="CONFIGURATION_UNKNOWN", hint=hint)
