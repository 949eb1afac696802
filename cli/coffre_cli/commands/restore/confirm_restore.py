"""Confirming a restore that overwrites: its dry run, the plan, the name, the countdown."""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol

from coffre.model.errors import ConfirmationError
from coffre_cli.commands.restore.follow_restore import end_restore
from coffre_cli.confirming import (
    Confirmed,
    PlanAnswer,
    ask_name,
    count_down,
    refuse_without_terminal,
    show_loss,
    wait_for_approval,
)
from coffre_cli.place import Place
from coffre_cli.standalone import StandaloneVault

if TYPE_CHECKING:
    from coffre.model.backup import Restore, RestoreReport


class Way(Protocol):
    """How one kind of restore is planned and shown; `changes` is what it changes, in words."""

    @property
    def place(self) -> Place: ...

    @property
    def changes(self) -> str: ...

    def plan(self, *, quiet: bool) -> tuple[Restore, RestoreReport | None, PlanAnswer | None]:
        """Make the dry run; without a stack no function answers."""

    def show(self, record: Restore, report: RestoreReport | None) -> None:
        """Show what would be done."""


def confirm(way: Way, *, yes: bool, as_json: bool) -> Confirmed:
    """Plan, show, ask, wait; with `yes` only plan, and take the plan as it is.

    Raises
    ------
    typer.Exit
        The dry run failed, or a person stopped it.
    ConfirmationError
        Another name was typed, or the plan was not approved.
    """
    if not yes:
        refuse_without_terminal(way.changes)
    record, report, answer = way.plan(quiet=as_json)
    if record.failure is not None:
        end_restore(record, report, lambda: way.show(record, report), as_json=as_json)
    plan = report.plan if report else None
    if plan is None:
        raise ConfirmationError("The dry run has no plan.", code="PLAN_MISSING", hint="Nothing was changed.")
    typed = plan.seen.name
    if not yes:
        way.show(record, report)
        show_loss(plan.seen.destination, plan.seen.overwrites)
        typed = ask_name(plan.seen.name)
    if answer is not None and not isinstance(way.place, StandaloneVault):
        wait_for_approval(way.place, answer)
    if not yes:
        count_down()
    return Confirmed(typed, answer.token if answer else None, plan)
