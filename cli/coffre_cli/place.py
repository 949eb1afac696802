"""Where a command finds backups: a stack, or a vault alone (`coffre --vault`)."""

from __future__ import annotations

import typer

from coffre_cli.deployed import DeployedStack
from coffre_cli.stack_choice import find_stack
from coffre_cli.standalone import StandaloneVault
from coffre_cli.vault_choice import chosen_vault

type Place = DeployedStack | StandaloneVault


def find_place(stack: str | None) -> Place:
    """Return the vault that the options before the command name, else the stack; raises what opening them raises."""
    choice = chosen_vault()
    if choice is not None and stack is not None:
        raise typer.BadParameter(f"--stack and the vault {choice.place} exclude each other")
    return StandaloneVault.open(choice) if choice is not None else find_stack(stack)
