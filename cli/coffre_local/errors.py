"""What can go wrong on the machine that runs the local stack. Nothing here gets better by trying again."""

from pathlib import Path

from coffre.model.errors import PermanentError


class ToolError(PermanentError):
    """A tool of the local stack is missing or cannot be installed."""


class ServerError(PermanentError):
    """The local PostgreSQL server cannot be made, started or stopped."""


class EmulatorError(PermanentError):
    """The local AWS cannot be started, or does not answer."""


class DeploymentError(PermanentError):
    """The template cannot be built or deployed to the local AWS."""


class StackError(PermanentError):
    """The local stack is not in the state that was asked for."""


def tail_of(log: Path, lines: int = 15) -> str:
    """Return the last lines of a log, for the detail of an error; empty without a log."""
    if not log.exists():
        return ""
    return "\n".join(log.read_text(errors="replace").splitlines()[-lines:])
