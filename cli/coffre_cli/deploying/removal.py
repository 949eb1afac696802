"""The deletion of a stack by CloudFormation, watched until its end."""

from __future__ import annotations

from collections.abc import Callable

from coffre_cli.deploying.change_set import Events, Pause, Stack, explained
from coffre_cli.deploying.errors import DeployError


def refuse_protected(stack: Stack) -> None:
    """Refuse a stack that CloudFormation would not delete, before anything of it is changed.

    Raises
    ------
    DeployError
        `STACK_PROTECTED`: its termination protection is on. Or it cannot be looked up.
    """
    found = stack.described()
    if found is not None and found.get("EnableTerminationProtection"):
        raise DeployError(
            f"The stack {stack.name} has termination protection (EnableTerminationProtection). Nothing was changed.",
            code="STACK_PROTECTED",
            hint="If it is to go, turn it off, then run this again: aws cloudformation update-termination-protection "
            f"--no-enable-termination-protection --stack-name {stack.name}",
        )


def remove(stack: Stack, on_event: Callable[[str], None]) -> None:
    """Delete a stack, and wait until it is gone. What the template retains (vault, catalog) stays.

    Raises
    ------
    DeployError
        `STACK_NOT_DELETED`: CloudFormation refused, or could not delete a resource; the detail names the first causes.
    """
    client = stack.client
    with explained(stack.name, "deleted"):
        found = stack.described()
        if found is None:
            return
        stack_id = found["StackId"]
        resources = client.get_paginator("list_stack_resources").paginate(StackName=stack_id)
        events = Events(client, stack_id, sum(len(page["StackResourceSummaries"]) for page in resources))
        client.delete_stack(StackName=stack_id)
        status, pause = "DELETE_IN_PROGRESS", Pause()
        while status == "DELETE_IN_PROGRESS":
            pause()
            events.show_new(on_event)
            [found] = client.describe_stacks(StackName=stack_id)["Stacks"]
            status = found["StackStatus"]
    if status != "DELETE_COMPLETE":
        events.show_new(on_event)
        raise DeployError(
            f"The stack {stack.name} could not be deleted ({status}).",
            code="STACK_NOT_DELETED",
            detail="\n  ".join(events.causes[:5]) or None,
            hint="Policies of the stack that people or roles have must be detached first (docs/uninstall.md). Then run "
            "this again. No backup is lost.",
        )
