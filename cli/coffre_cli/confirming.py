"""Confirmations in the command: what would be overwritten is shown, its name is typed, and there is time to stop."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any, Final

import typer

from coffre.model.errors import ConfirmationError
from coffre.model.names import visible
from coffre.model.words import counted, size
from coffre_cli.exit_status import Exit
from coffre_cli.screen import age, error_console, remark, say, say_command

if TYPE_CHECKING:
    from coffre.model.confirmation import Overwritten, Plan
    from coffre_cli.deployed import DeployedStack

_BLANK: Final = " " * 60
COUNTDOWN_SECONDS: Final = 10
_POLL_SECONDS: Final = 2.0


@dataclass(frozen=True)
class PlanAnswer:
    """What a function answers to a dry run: the plan (`IssuedPlan.answer`), and its token.

    Without a token it is one that this person has made before, and that waits for another person: its id names it.
    """

    plan: Mapping[str, Any]
    token: str | None = field(repr=False)

    @classmethod
    def of(cls, answer: Mapping[str, Any]) -> PlanAnswer:
        """Return the plan of an answer.

        Raises
        ------
        ConfirmationError
            `PLAN_MISSING`: the function is of a version that gives out none.
        """
        try:
            return cls(answer["plan"], answer["token"])
        except (KeyError, TypeError) as error:
            raise ConfirmationError(
                "The function answered no plan.",
                code="PLAN_MISSING",
                hint="Deploy this version of the stack (sam build && sam deploy).",
            ) from error

    @property
    def lost(self) -> Overwritten:
        """What would be overwritten."""
        from coffre.model.confirmation import Overwritten

        return Overwritten.model_validate(self.plan["overwrites"])


@dataclass(frozen=True)
class Confirmed:
    """A plan that a person, or `--yes`, has confirmed: of a stack, or (`plan`) of a run in this process."""

    name: str
    answer: PlanAnswer | None = None
    plan: Plan | None = None

    @property
    def in_event(self) -> dict[str, str]:
        """The field `confirmation` of the event."""
        if self.answer is None:
            return {"name": self.name}
        which = {"token": self.answer.token} if self.answer.token else {"plan": self.answer.plan["id"]}
        return {**which, "name": self.name}

    def consent(self) -> Callable[[Plan], Plan]:
        """Return the consent of a run in this process: to this plan, once, for as long as a token lives."""
        from coffre.model.audit import Actor
        from coffre.model.confirmation import Confirmation, IssuedPlan
        from coffre.policy.confirmation import TOKEN_LIFETIME, refuse_plan, refuse_unconfirmed

        if self.plan is None:
            return refuse_plan
        now = datetime.now(UTC)
        me = Actor("this process")
        waiting = [
            IssuedPlan(
                id="", plan=self.plan, plan_sha256=self.plan.sha256, actor=me.name, verified=False, made_at=now,
                expires_at=now + TOKEN_LIFETIME,
            )
        ]  # fmt: skip
        given = Confirmation(token="-" * 22, name=self.name)

        def consent(seen: Plan) -> Plan:
            issued = waiting.pop() if waiting else None
            return refuse_unconfirmed(issued, seen, given, me, datetime.now(UTC), approvals=0).plan

        return consent


def refuse_without_terminal(what: str) -> None:
    """Refuse to ask where no person can answer; `what` is what this changes."""
    if not is_interactive():
        raise typer.BadParameter(f"this changes {what}: add --yes, or --dry-run to see what would be done")


def is_interactive() -> bool:
    """Return whether a person sits in front of it."""
    return sys.stdin.isatty() and error_console.is_terminal


def show_loss(destination: str, lost: Overwritten) -> None:
    """Print what would be overwritten or deleted."""
    for line in loss_of(destination, lost):
        say(line, style="yellow")


def ask_name(name: str) -> str:
    """Ask a person to type the name of what is overwritten.

    Raises
    ------
    ConfirmationError
        `NAME_DIFFERS`
    """
    from coffre.model.confirmation import is_same_name

    try:
        typed: str = typer.prompt(f'Type "{visible(name)}" to confirm', err=True, default="", show_default=False)
    except typer.Abort:
        remark("\nStopped. Nothing was changed.")
        raise typer.Exit(Exit.INTERRUPTED) from None
    if not is_same_name(typed, name):
        raise ConfirmationError(f'That is not "{name}".', code="NAME_DIFFERS", hint="Nothing was changed.")
    return typed


def count_down() -> None:
    """Wait for ten seconds, visibly; Ctrl-C ends the command."""
    try:
        for left in range(COUNTDOWN_SECONDS, 0, -1):
            error_console.print(f"Starting in {left} s. Ctrl-C stops it, and nothing is changed. ", end="\r")
            time.sleep(1)
    except KeyboardInterrupt:
        error_console.print(_BLANK, end="\r")
        remark("Stopped. Nothing was changed.")
        raise typer.Exit(Exit.INTERRUPTED) from None
    error_console.print(_BLANK, end="\r")


def wait_for_approval(deployed: DeployedStack, answer: PlanAnswer) -> None:
    """Wait until another person has approved a plan that needs it.

    Raises
    ------
    ConfirmationError
        `APPROVAL_DECLINED`: with the reason. `CONFIRMATION_INVALID`: the plan has expired, or was used.
    """
    from coffre.policy.confirmation import declined

    if not answer.plan["approvals"]:
        return
    remark(f"Another person has to approve this plan before {answer.plan['expires_at'][:16].replace('T', ' ')} UTC:")
    say_command(f"coffre approve {answer.plan['id'][:12]}")
    try:
        while (found := deployed.catalog.confirmations.find(answer.plan["id"])) is not None:
            if found.approved_by is not None:
                remark(f"Approved by {found.approved_by}.")
                return
            if found.declined_by is not None:
                raise declined(found)
            if found.expires_at <= datetime.now(UTC):
                break
            time.sleep(_POLL_SECONDS)
    except KeyboardInterrupt:
        remark("Stopped. Nothing was changed.")
        raise typer.Exit(Exit.INTERRUPTED) from None
    raise ConfirmationError(
        "The plan was not approved in time.", code="CONFIRMATION_INVALID", hint="Start again. Nothing was changed."
    )


def loss_of(destination: str, lost: Overwritten) -> Iterator[str]:
    """Yield sentences about what would be overwritten or deleted."""
    if lost.changes is not None:
        yield f"This changes {destination}; a ! marks what may weaken the protection:"
        yield from (f"{'!' if line in (lost.weakens or ()) else ' '} {line}" for line in lost.changes)
        if not lost.changes:
            yield "  The layout alone: all fields keep their values."
        return
    if lost.backup is not None:
        yield f"This deletes the backup {lost.backup} ({size(lost.size_bytes)} were added by it)."
        newest = f", the newest taken {age(lost.newest_remaining)}" if lost.newest_remaining else ""
        yield f"What remains: {counted(lost.remaining_backups or 0, 'healthy backup')} of the target{newest}."
        return
    if lost.objects_overwritten is not None or lost.objects_deleted is not None:
        overwritten, deleted = lost.objects_overwritten or 0, lost.objects_deleted or 0
        yield (
            f"In {destination} this overwrites {counted(overwritten, 'object')} and deletes "
            f"{counted(deleted, 'object')} ({size(lost.object_bytes)})."
        )
        return
    if lost.tables is None:
        yield f"This changes {destination}."
        return
    yield (
        f"This changes {destination}: {size(lost.size_bytes)} in {counted(lost.tables, 'table')}, "
        f"about {counted(lost.rows_estimate or 0, 'row')} (the server's estimate)."
    )
    if lost.newest_row is not None:
        yield f"The newest row that an index shows is of {lost.newest_row} UTC ({lost.newest_row_in})."
