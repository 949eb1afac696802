"""What `coffre doctor` looks at itself: the stack, with the operator's credentials, and the machine that it runs on."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import TYPE_CHECKING

from coffre_cli.deployed import DeployedStack, StackUnreachableError
from coffre_cli.screen import error_console, remark
from coffre_cli.stack_choice import find_stack

if TYPE_CHECKING:
    from coffre.model.checkup import Checkup


def find(stack: str | None, *, quiet: bool) -> DeployedStack:
    """Return the stack; if AWS does not say where it is, show first what is wrong with this machine.

    Raises
    ------
    StackUnreachableError
        What `find_stack` raises.
    """
    try:
        return find_stack(stack)
    except StackUnreachableError as error:
        if error.code == StackUnreachableError.default_code and not quiet:
            _show_machine()
        raise


def look_here(deployed: DeployedStack, *, probe: bool, quiet: bool) -> Checkup:
    """Return what is to say about the stack and this machine; `target` is None."""
    from coffre.operations.doctor.checkup import examine
    from coffre_cli.commands.doctor.stack_readers import readers_of_machine, readers_of_stack

    readers = (*readers_of_machine(), *readers_of_stack(deployed, probe=probe))
    with error_console.status("Looking at the stack", spinner="dots") as status:
        if quiet:
            status.stop()
        return examine(None, readers, datetime.now(UTC), _remark)


def _show_machine() -> None:
    from coffre.operations.doctor.checkup import examine
    from coffre_cli.commands.doctor.show import show_findings
    from coffre_cli.commands.doctor.stack_readers import readers_of_machine

    show_findings(examine(None, readers_of_machine(), datetime.now(UTC), _remark))


def _remark(error: Exception) -> None:
    remark(f"{type(error).__name__}: {error}")
