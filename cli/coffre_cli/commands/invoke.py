"""`coffre invoke`: call a function with an event, as its rule would."""

from __future__ import annotations

import json
import sys
from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer

from coffre.model.errors import EventError
from coffre_cli.deployed import StackOption, find_stack
from coffre_cli.exits import Exit
from coffre_cli.screen import print_json


class Function(StrEnum):
    """The deployed functions."""

    BACKUP_DATABASE = "backup_database"
    RESTORE = "restore"


def invoke(
    function: Annotated[Function, typer.Argument(help="Which function.")],
    event: Annotated[Path, typer.Option("--event", help="A file with the event (JSON); - reads standard input.")],
    stack: StackOption = None,
) -> None:
    """Invoke a function, wait for it, and print its answer as JSON.

    Examples:  coffre invoke backup_database --event events/backup_database/daily.json
    """
    try:
        data = json.loads(sys.stdin.read() if str(event) == "-" else event.read_text())
    except OSError as error:
        raise EventError(f"The event file {event} cannot be read: {error.strerror}.") from error
    except json.JSONDecodeError as error:
        raise EventError(f"The event in {event} is not valid JSON: line {error.lineno}: {error.msg}.") from error
    answer, succeeded = find_stack(stack).call(function.value, data)
    print_json(answer)
    if not succeeded:
        raise typer.Exit(Exit.FAILED)
