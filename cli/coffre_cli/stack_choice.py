"""Which stack a command is about: the one that is named, the local one, or that of the variable."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

from coffre_cli import aws
from coffre_cli.deployed import DeployedStack, StackUnreachableError
from coffre_cli.screen import remark

if TYPE_CHECKING:
    from botocore.exceptions import BotoCoreError, ClientError

    from coffre_local.state import LocalState

STACK_VARIABLE = "COFFRE_STACK"
_SIGN_IN = "AWS_REGION, AWS_PROFILE, or `aws configure`."


def find_stack(name: str | None) -> DeployedStack:
    """Return the stack that a command is about: `--stack`, then the local stack, then the variable COFFRE_STACK.

    Reports on stderr which stack answered, where and why: the wrong stack is the most dangerous of all typing errors.

    Raises
    ------
    StackUnreachableError
        No stack was found, or AWS does not answer.
    """
    variable = os.environ.get(STACK_VARIABLE)
    if name is None and (local := use_local_stack()) is not None:
        remark(f"The local stack {local.stack} in {aws.asked_place()}{_before(variable, local)}.")
        return DeployedStack(local.stack, local.outputs)
    found = name or variable
    if not found:
        raise _no_stack()
    outputs = _outputs(found)
    why = "named by --stack" if name else f"named by {STACK_VARIABLE}{_instead_of_local()}"
    remark(f"Stack {found} in {aws.asked_place()} ({why}).")
    return DeployedStack(found, outputs)


def _before(variable: str | None, local: LocalState) -> str:
    """Return the words for a local stack that takes precedence over the variable COFFRE_STACK."""
    if variable in (None, "", local.stack):
        return ""
    return f" is up and takes precedence over {STACK_VARIABLE}; for the other stack: --stack {variable}"


def _instead_of_local() -> str:
    local = read_state()
    if local is None:
        return ""
    return "; a local stack is starting" if local.status == "starting" else "; the local stack is no longer running"


def _no_stack() -> StackUnreachableError:
    local = read_state()
    if local is None:
        return StackUnreachableError(
            "No stack was named, and no local stack is up.",
            code="STACK_UNKNOWN",
            hint="Name the deployed stack (--stack coffre), or start a local one: coffre local up",
        )
    if local.status == "starting":
        return StackUnreachableError(
            "The local stack is still starting, or its start was interrupted.",
            code="STACK_UNKNOWN",
            hint="Wait for `coffre local up`, or run it again: it removes what is left of the first attempt.",
        )
    return StackUnreachableError(
        "The local stack is no longer running.",
        code="STACK_UNKNOWN",
        hint="Start it again: coffre local up (what it stored is lost). Or name the deployed stack: --stack coffre",
    )


def read_state() -> LocalState | None:
    """Return the state of the local stack, or None when no local stack was started; raises what reading it raises."""
    try:
        from coffre_local.state import read_state as read
    except ModuleNotFoundError:  # the installed command comes without it
        return None
    return read()


def use_local_stack() -> LocalState | None:
    """Direct every client of this process to the local stack if it is up, and away from the user's own AWS profile."""
    local = read_state()
    if local is None or not local.is_alive():
        return None
    from coffre_local.aws import isolated
    from coffre_local.stack import environment_of

    wanted = isolated(environment_of(local))
    for variable in set(os.environ) - set(wanted):
        del os.environ[variable]
    os.environ.update(wanted)
    return local


def _outputs(name: str) -> dict[str, str]:
    from botocore.exceptions import BotoCoreError, ClientError

    try:
        stacks = aws.client("cloudformation").describe_stacks(StackName=name)["Stacks"]
    except (ClientError, BotoCoreError) as error:
        raise StackUnreachableError(
            f"The stack {name} could not be looked up.",
            detail=str(error)[:500],
            hint=f"Check the name, the region and your AWS credentials: {_SIGN_IN} "
            f"The command asked {aws.asked_place()}.",
        ) from error
    return {output["OutputKey"]: output["OutputValue"] for output in stacks[0].get("Outputs", [])}


def aws_refused(error: BotoCoreError | ClientError) -> StackUnreachableError:
    """Return the error for a call to AWS that no command handles itself."""
    return StackUnreachableError(
        "AWS refused the request.",
        code="AWS_REFUSED",
        detail=str(error)[:500],
        hint=f"Check the region and your AWS credentials: {_SIGN_IN}",
    )
