"""The options before the command: work with a vault alone, and with which. Imports nothing that takes time."""

from __future__ import annotations

from contextvars import ContextVar
from dataclasses import dataclass
from typing import Final

import typer

VAULT_VARIABLE: Final = "COFFRE_VAULT"
IDENTITY_VARIABLE: Final = "COFFRE_IDENTITY"
# What works with a vault alone; everything else needs the functions or the catalog of a stack.
COMMANDS: Final = (
    "backup",
    "status",
    "list",
    "show",
    "ls",
    "cat",
    "diff",
    "restore",
    "export",
    "copy",
    "mend",
    "verify",
    "keys",
    "journal",
)


@dataclass(frozen=True)
class VaultChoice:
    """The vault, keys and store that the options before the command name."""

    place: str
    identities: tuple[str, ...] = ()
    endpoint_url: str | None = None
    region: str | None = None


_chosen: ContextVar[VaultChoice | None] = ContextVar("vault", default=None)


def choose_vault(choice: VaultChoice | None) -> None:
    """Remember the choice for the command that follows."""
    _chosen.set(choice)


def chosen_vault() -> VaultChoice | None:
    """Return the choice, or None when the command is about a stack."""
    return _chosen.get()


def refuse_vault(command: str) -> None:
    """Refuse a command that needs a stack when a vault was named.

    Raises
    ------
    BadParameter
        Wrong usage.
    """
    choice = chosen_vault()
    if choice is not None:
        raise typer.BadParameter(
            f"`coffre {command}` needs a stack: it cannot work with the vault {choice.place} alone"
        )
