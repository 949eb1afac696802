"""Calls of `coffre`: parsed by the command's own parser, which runs nothing."""

from __future__ import annotations

from typing import Any, Final

import typer
import typer.main

from coffre_cli.app import app

# typer has a copy of click, and does not export its base of errors.
WrongUsage: Final[type[Exception]] = typer.BadParameter.__bases__[0]


def parse_call(arguments: tuple[str, ...]) -> tuple[str, ...]:
    """Return the words of the subcommand that arguments call.

    Raises
    ------
    WrongUsage
        An option or argument is missing, unknown or wrong.
    """
    command: Any = typer.main.get_command(app)
    rest, parent = list(arguments), None
    words: list[str] = []
    name = "coffre"
    while True:
        context = command.make_context(name, rest, parent=parent)
        if not hasattr(command, "resolve_command"):
            return tuple(words)
        rest = [*context._protected_args, *context.args]
        if not rest and command.invoke_without_command:
            return tuple(words)
        if not rest:
            raise typer.BadParameter(f"{name} needs a subcommand")
        name, command, rest = command.resolve_command(context, rest)
        parent = context
        words.append(name)


def find_command(words: tuple[str, ...]) -> tuple[Any, tuple[str, ...]]:
    """Return the subcommand that the first words name, and the words that are left."""
    command: Any = typer.main.get_command(app)
    context = command.context_class(command, info_name="coffre")
    at = 0
    while at < len(words) and hasattr(command, "resolve_command"):
        found = command.get_command(context, words[at])
        if found is None:
            break
        command, at = found, at + 1
    return command, words[at:]


def options_of(command: Any) -> set[str]:
    """Return the options of a command, and those that every command has."""
    own = {name for param in command.params for name in (*param.opts, *param.secondary_opts)}
    return {name for name in own if name.startswith("-")} | {"--help", "-h"}
