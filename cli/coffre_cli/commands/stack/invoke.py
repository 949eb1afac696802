"""`coffre invoke`: call a function with an event, as its rule would."""

from __future__ import annotations

import json
import sys
from enum import StrEnum
from pathlib import Path
from typing import Annotated, Any

import typer

from coffre.model.errors import EventError
from coffre_cli.examples import examples
from coffre_cli.exit_status import Exit
from coffre_cli.screen import print_json, remark
from coffre_cli.stack_choice import find_stack
from coffre_cli.stack_options import StackOption

EXAMPLES = examples(
    "coffre invoke backup_database --event events/backup_database/daily.json",
    """echo '{"target": "main"}' | coffre invoke backup_database --event -""",
)


class Function(StrEnum):
    """The deployed functions."""

    BACKUP_DATABASE = "backup_database"
    BACKUP_STORAGE = "backup_storage"
    RESTORE = "restore"
    ROTATE = "rotate"
    NOTIFY = "notify"
    DRILL = "drill"
    VERIFY = "verify"
    JOURNAL = "journal"


def invoke(
    function: Annotated[
        Function, typer.Argument(show_choices=False, metavar="FUNCTION", help=f"Which function: {', '.join(Function)}.")
    ],
    event: Annotated[Path, typer.Option("--event", help="A file with the event (JSON); - reads standard input.")],
    stack: StackOption = None,
) -> None:
    """Invoke a function, wait for it, and print its answer as JSON.

    A failure's answer is what Lambda gives: errorType, errorMessage, stackTrace.
    """
    data = _read(event)
    answer, succeeded = find_stack(stack).call(function.value, data)
    print_json(answer)
    if not succeeded:
        if isinstance(answer, dict):
            message = f"{answer.get('errorType', 'Error')}: {answer.get('errorMessage', 'the function failed')}"
            for line in message.split("\n"):
                remark(line)
        raise typer.Exit(Exit.FAILED)


def _read(event: Path) -> Any:
    hint = "events/ has an example of each event."
    try:
        return json.loads(sys.stdin.read() if str(event) == "-" else event.read_text())
    except OSError as error:
        raise EventError(f"The event file {event} cannot be read: {error.strerror}.", hint=hint) from error
    except UnicodeDecodeError as error:
        raise EventError(f"The event in {event} is not text in UTF-8.", hint=hint) from error
    except json.JSONDecodeError as error:
        where = "standard input" if str(event) == "-" else str(event)
        raise EventError(
            f"The event in {where} is not valid JSON.", detail=f"line {error.lineno}: {error.msg}", hint=hint
        ) from error
