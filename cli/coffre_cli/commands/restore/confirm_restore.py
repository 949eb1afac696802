"""Confirming a restore that overwrites: its dry run, the plan, the name, the SAFETY backup, the countdown."""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol, Self

from coffre.model.errors import ConfirmationError
from coffre.model.kinds import SafetyState, TargetKind
from coffre_cli.commands.restore.follow_restore import end_restore
from coffre_cli.commands.restore.safety import secured
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
    from coffre.model.backup import Restore
    from coffre.model.confirmation import Plan
    from coffre.model.restore_report import RestoreReport
    from coffre.model.safety import Safety


class Way(Protocol):
    """How one kind of restore is planned and shown; `changes` is what it changes, in words."""

    @property
    def place(self) -> Place: ...

    @property
    def changes(self) -> str: ...

    @property
    def kind(self) -> TargetKind: ...

    def plan(self, *, quiet: bool) -> tuple[Restore, RestoreReport | None, PlanAnswer | None]:
        """Make the dry run; without a stack no function answers."""

    def show(self, record: Restore, report: RestoreReport | None) -> None:
        """Show what would be done."""

    def with_safety(self, safety: Safety | None, *, is_declined: bool) -> Self:
        """Return the same with what is known about the backup of what is overwritten."""


def confirm[W: Way](way: W, *, yes: bool, as_json: bool) -> tuple[W, Confirmed]:
    """Plan, show, ask, back up what is overwritten, wait; with `yes` a plan is taken as it is.

    A SAFETY backup can take longer than a token lives: afterwards the plan is made again, and has to be the same.

    Raises
    ------
    typer.Exit
        The dry run failed, or a person stopped it.
    ConfirmationError
        Another name was typed, the destination changed meanwhile, or the plan was not approved.
    """
    if not yes:
        refuse_without_terminal(way.changes)
    plan, report, answer = _planned(way, yes=yes, as_json=as_json)
    typed = plan.seen.name
    if not yes:
        show_loss(plan.seen.destination, plan.seen.overwrites)
        typed = ask_name(plan.seen.name)
    safety = secured(way.place, way.kind, report.safety, yes=yes, quiet=as_json)
    way = way.with_safety(safety, is_declined=safety is not None and safety.state is SafetyState.DECLINED)
    if safety != report.safety:
        before = plan
        plan, _, answer = _planned(way, yes=True, as_json=as_json)
        _refuse_changed(before, plan)
    if answer is not None and not isinstance(way.place, StandaloneVault):
        wait_for_approval(way.place, answer)
    if not yes:
        count_down()
    return way, Confirmed(typed, answer, plan)


def _planned(way: Way, *, yes: bool, as_json: bool) -> tuple[Plan, RestoreReport, PlanAnswer | None]:
    record, report, answer = way.plan(quiet=as_json)
    if record.failure is not None:
        end_restore(record, report, lambda: way.show(record, report), as_json=as_json)
    if report is None or report.plan is None:
        raise ConfirmationError("The dry run has no plan.", code="PLAN_MISSING", hint="Nothing was changed.")
    if not yes:
        way.show(record, report)
    return report.plan, report, answer


def _refuse_changed(before: Plan, now: Plan) -> None:
    if changes := before.seen.facts.changes(now.seen.facts):
        raise ConfirmationError(
            f"{now.seen.destination} is not as it was when it was shown: {'; '.join(changes)}.",
            code="DESTINATION_CHANGED",
            hint="Nothing was changed. Look at what changed, and run the restore again.",
        )
