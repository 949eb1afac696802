"""The commands of `coffre`, built once: a process of a user builds one, a test's many."""

from __future__ import annotations

from functools import cache

import pytest
import typer.main

from coffre_cli import app


def build_commands_once(patch: pytest.MonkeyPatch) -> None:
    """Keep each command that was loaded; reading the options from its function takes longer than most of them run."""
    command = vars(app)["_Command"]
    patch.setattr(command, "load", cache(command.load))
    # Of `coffre` itself, and of the groups that documents are compared with.
    patch.setattr(typer.main, "get_command", cache(typer.main.get_command))
