"""The plan of a recovery for a person."""

from __future__ import annotations

from coffre.model.recovery import Recovery, StepKind, StepState
from coffre.model.words import counted, size, span
from coffre_cli.screen import age, print_table, say


def show_plan(recovery: Recovery) -> None:
    """Print the plan for a person."""
    say(f"The copy: {recovery.copy_address}. {recovery.why}")
    for sentence in recovery.others:
        say(f"  {sentence}", style="yellow")
    if recovery.point:
        say(recovery.point)
    elif recovery.points:
        say("Restore points of this copy (--point ID uses one):")
        for sentence in recovery.points:
            say(f"  {sentence}")
    rows = [
        (
            step.target,
            f"{step.backup_id}",
            age(step.created_at) if step.created_at else "-",
            size(step.size_bytes),
            step.destination or "-",
            f"{span(step.expected_seconds or 0)}, {step.basis}" if step.state is StepState.WAITING else "left out",
        )
        for step in recovery.steps
        if step.backup_id and step.kind is not StepKind.SAFETY
    ]
    print_table(("TARGET", "BACKUP", "TAKEN", "SIZE", "TO", "EXPECTED"), rows)
    for step in recovery.steps:
        for sentence in (*step.missing, *step.dangling, *((step.problem,) if step.problem else ())):
            say(f"  {step.target}: {sentence}", style="yellow")
        for sentence in step.names:
            say(f"  {step.target}: {sentence}")
    replaced = [step.destination for step in recovery.steps if step.kind is StepKind.SAFETY]
    if replaced:
        say(f"First, what {' and '.join(replaced)} holds is backed up to {recovery.safety}.", style="yellow")
    checked = [step.target for step in recovery.steps if step.kind is StepKind.CHECKS]
    if checked:
        say(f"Then the owner's checks of {', '.join(checked)} are asked.")
    total = sum(step.expected_seconds or 0 for step in recovery.steps if step.state is StepState.WAITING)
    limit = f" The limit is {span(recovery.limit_seconds)}." if recovery.limit_seconds else ""
    say(f"Expected to take {span(total)} in all, of {counted(len(rows), 'target')}.{limit}")
