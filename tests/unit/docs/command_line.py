"""What the command `coffre` accepts, asked of its own parser; nothing is run."""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Any, Final

import typer.main

from coffre_cli.app import app

_OPTION: Final = re.compile(r"(?<![\w-])--?[a-z][a-z-]*")
# Words that stand for what a reader fills in: COMMAND, ..., [OPTIONS].
_PLACEHOLDER: Final = re.compile(r"[A-Z_]+|\.{3}|\[.*")
# What follows in a line of a shell is not its own.
_END: Final = re.compile(r" (?:\||>|;|&&) |; ")
_ROOT: Any = typer.main.get_group(app)


def why_refused(words: Sequence[str]) -> str | None:
    """Return why `coffre` with these arguments is wrong usage; None: it is right."""
    arguments = [word for word in words if word != "..."]
    try:
        _parse(_ROOT, "coffre", arguments, None)
    except SystemExit:
        return None
    except Exception as error:  # noqa: BLE001 - usage errors come from the parser that typer carries
        message = str(getattr(error, "message", error))
        if type(error).__name__ == "Exit" or "does not exist" in message:
            return None
        return "a command is missing" if type(error).__name__ == "NoArgsIsHelpError" else message
    return None


def why_unknown(text: str) -> str | None:
    """Return which word of a mentioned command does not exist; None: all do. Its arguments may be left out."""
    words = _END.split(text, maxsplit=1)[0].split()[1:]
    start = next((at for at, word in enumerate(words) if set(word.split("|")) & set(_ROOT.commands)), 0)
    before, rest = (words[:start], words[start:]) if words and words[0].startswith("-") else ([], words)
    commands = [_ROOT]
    while rest and not rest[0].startswith("-"):
        groups = [one for one in commands if hasattr(one, "commands")]
        if not groups or _PLACEHOLDER.fullmatch(rest[0]):
            break
        found = [group.get_command(None, name) for group in groups for name in rest[0].split("|")]
        if None in found:
            return f"no command {rest[0]}"
        commands, rest = found, rest[1:]
    if commands == [_ROOT] and rest and _PLACEHOLDER.fullmatch(rest[0]):
        return None
    return _unknown_option(before, [_ROOT]) or _unknown_option(rest, commands)


def _unknown_option(words: Sequence[str], commands: Sequence[Any]) -> str | None:
    known = {option for one in commands for option in _options(one)}
    unknown = [option for option in _OPTION.findall(" ".join(words)) if option not in known]
    return f"no option {unknown[0]}" if unknown else None


def _options(command: Any) -> set[str]:
    own = {name for parameter in command.params for name in (*parameter.opts, *parameter.secondary_opts)}
    return own | {"--help", "-h"}


def _parse(command: Any, name: str, arguments: list[str], parent: Any) -> None:
    context = command.make_context(name, list(arguments), parent=parent)
    if not hasattr(command, "commands"):
        return
    rest = [*context._protected_args, *context.args]
    if not rest and command.invoke_without_command:
        return
    name, found, rest = command.resolve_command(context, rest)
    _parse(found, name, rest, context)
