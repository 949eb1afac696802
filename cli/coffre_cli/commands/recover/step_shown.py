"""How a step of a recovery ended, for a person."""

from __future__ import annotations

from coffre.model.recovery import Step, StepKind, StepState
from coffre.model.words import counted, duration, size
from coffre_cli.screen import say


def show_step(step: Step) -> None:
    """Print how a step ended, with its exceptions and notes."""
    took = duration(int((step.seconds or 0) * 1000))
    if step.state is StepState.DONE:
        say(f"Done: {step.name}{what_came_back(step)} in {took}.", style="green")
    else:
        say(f"{step.state.value.capitalize()}: {step.name}: {step.problem}", style="red")
    for exception in (*step.exceptions, *step.dangling):
        say(f"  Exception: {exception}", style="yellow")
    for note in step.notes:
        say(f"  Note: {note}")


def what_came_back(step: Step) -> str:
    """Return what a step restored: `: 12 tables, 3,000 rows (1.2 MB)`."""
    if step.kind is StepKind.CHECKS:
        return f": {counted(len(step.checks), 'check')}"
    parts = []
    if step.tables is not None:
        parts.append(counted(step.tables, "table"))
    if step.rows is not None:
        parts.append(counted(step.rows, "row"))
    if step.settings is not None:
        parts.append(counted(step.settings, "setting"))
    if step.objects is not None:
        parts.append(counted(step.objects, "object"))
    amount = f" ({size(step.restored_bytes)})" if step.restored_bytes is not None else ""
    return f": {', '.join(parts)}{amount}" if parts else ""
