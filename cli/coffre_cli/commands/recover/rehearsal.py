"""What a rehearsal measured goes to the stack, where it stands next to the objectives."""

from __future__ import annotations

from coffre.model.errors import CoffreError
from coffre.model.recovery import Recovery
from coffre.policy.recovery import seconds_until_usable
from coffre_cli.screen import remark
from coffre_cli.stack_choice import find_stack


def note_rehearsal(stack: str, recovery: Recovery) -> None:
    """Note the time of each target that was restored. A stack that does not answer is reported, and changes nothing."""
    seconds = seconds_until_usable(recovery)
    if not seconds:
        return
    event = {"rehearsed": {"id": recovery.id, "seconds": seconds}}
    try:
        answer = find_stack(stack).ask("drill", event)
    except CoffreError as error:
        remark(f"The stack {stack} did not note the time of this rehearsal: {error.message} [{error.code}]")
        return
    if answer["unknown"]:
        remark(f"The stack {stack} has no target {', '.join(answer['unknown'])}: their times were not noted.")
