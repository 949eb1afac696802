"""Where a command finds backups: a stack, or a vault alone (`coffre --vault`)."""

from __future__ import annotations

from coffre_cli.deployed import DeployedStack, find_stack
from coffre_cli.standalone import StandaloneVault, chosen_vault

type Place = DeployedStack | StandaloneVault


def find_place(stack: str | None) -> Place:
    """Return the vault that the options before the command name, else the stack; raises what opening them raises."""
    choice = chosen_vault()
    return StandaloneVault.open(choice) if choice is not None else find_stack(stack)
