"""How the command ends when something fails: one clear error, never a traceback."""

from __future__ import annotations

import contextlib
import errno
import os
import sys
import tempfile
import traceback
from typing import Final

from coffre import __version__
from coffre.model.errors import CoffreError, PermanentError

DEBUG_VARIABLE: Final = "COFFRE_DEBUG"
# A reader of a pipe that has read enough is not a failure: `coffre list | head`.
_PIPE_CLOSED: Final = frozenset({errno.EPIPE, errno.ESHUTDOWN})


class CommandFailedError(PermanentError):
    """The machine that the command runs on refused something, or the command has a defect."""

    default_code = "COMMAND_FAILED"


def meant(error: Exception) -> CoffreError | None:
    """Return the error to show to the user; None for a defect of the command."""
    if isinstance(error, CoffreError):
        return error
    if isinstance(error, OSError):
        return _of_this_machine(error)
    if isinstance(error, ModuleNotFoundError) and error.name == "coffre_local":
        return CommandFailedError(
            "This command needs a checkout: the local stack is not part of the installed command.",
            code="NEEDS_CHECKOUT",
            hint="Clone the repository, run `make setup`, and use .venv/bin/coffre there (docs/install.md).",
        )
    from botocore.exceptions import BotoCoreError, ClientError
    from botocore.parsers import ResponseParserError

    if isinstance(error, ResponseParserError):
        return CommandFailedError(
            "AWS, or what is in its place, answered something that cannot be read.",
            code="ANSWER_UNREADABLE",
            detail=str(error)[:500],
            hint="Try again. If AWS_ENDPOINT_URL is set, look at the log of what answers there.",
        )
    if isinstance(error, BotoCoreError | ClientError):
        from coffre_cli.stack_choice import aws_refused

        return aws_refused(error)
    return None


def is_closed_pipe(error: Exception) -> bool:
    """Return whether the reader of the command's output has gone."""
    return isinstance(error, OSError) and error.errno in _PIPE_CLOSED


def flush_output() -> None:
    """Write what is still buffered, while a failure can be reported; raises `OSError`."""
    if sys.stdout is not None:
        sys.stdout.flush()


def drop_output() -> None:
    """Let the interpreter flush the rest to nowhere when it exits: it would report the failure once more."""
    with contextlib.suppress(OSError, ValueError, AttributeError):
        nowhere = os.open(os.devnull, os.O_WRONLY)
        os.dup2(nowhere, sys.stdout.fileno())
        os.close(nowhere)


def _of_this_machine(error: OSError) -> CommandFailedError:
    why = error.strerror or type(error).__name__
    if error.filename is None:
        return CommandFailedError(
            f"The output could not be written: {why}.",
            code="OUTPUT_FAILED",
            hint="Check the disk and the program that reads the output, and run the command again. What a function "
            "of the stack does is not affected: coffre list",
        )
    return CommandFailedError(
        f"{error.filename} cannot be used: {why}.",
        code="FILE_FAILED",
        hint="Check the path, its permissions and the space on the disk, and run the command again.",
    )


def defect(error: Exception) -> CommandFailedError:
    """Return the error for what the command did not expect; the traceback is kept in a file."""
    return CommandFailedError(
        "This should not happen: coffre has a defect.",
        code="DEFECT",
        detail=f"{type(error).__name__}: {error}"[:500],
        hint=f"Please report it{_kept(error)}. Backups and functions of the stack are not affected.",
    )


def _kept(error: Exception) -> str:
    """Return where the traceback was kept. Without the arguments: they may hold an address with its password."""
    try:
        handle, path = tempfile.mkstemp(prefix="coffre-defect-", suffix=".txt")
        with os.fdopen(handle, "w", errors="backslashreplace") as file:
            file.write(f"coffre {__version__}, Python {sys.version}\n")
            file.writelines(traceback.format_exception(error))
    except OSError:
        return f", with what {DEBUG_VARIABLE}=1 shows"
    return f", with the file {path}"
