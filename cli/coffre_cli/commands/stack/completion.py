"""`coffre completion`: the script that teaches a shell the subcommands and options."""

from __future__ import annotations

from enum import StrEnum
from typing import Annotated, Final

import typer

from coffre_cli.examples import examples

# The shell's script sets it, and the command answers with what fits (Click's convention).
VARIABLE: Final = "_COFFRE_COMPLETE"

EXAMPLES = examples(
    'eval "$(coffre completion bash)"   # in ~/.bashrc',
    'eval "$(coffre completion zsh)"    # in ~/.zshrc, after compinit',
    "coffre completion fish > ~/.config/fish/completions/coffre.fish",
)


class Shell(StrEnum):
    """The shells whose completion is known."""

    BASH = "bash"
    ZSH = "zsh"
    FISH = "fish"


def completion(shell: Annotated[Shell, typer.Argument(help="The shell that reads the script.")]) -> None:
    """Print the script that completes subcommands and options in a shell."""
    from typer._completion_shared import get_completion_script

    print(get_completion_script(prog_name="coffre", complete_var=VARIABLE, shell=shell.value))
