"""`coffre approve`: the second person for what replaces a database or deletes a backup."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import TYPE_CHECKING, Annotated

import typer

from coffre.model.errors import ConfirmationError
from coffre.model.names import visible
from coffre_cli.confirming import is_interactive, show_loss
from coffre_cli.deployed import DeployedStack
from coffre_cli.examples import examples
from coffre_cli.screen import age, print_json, remark, say
from coffre_cli.stack_choice import find_stack
from coffre_cli.stack_options import JsonOption, StackOption

if TYPE_CHECKING:
    from coffre.model.confirmation import IssuedPlan

EXAMPLES = examples(
    "coffre approve 3f9a1c0b22de",
    "coffre approve 3f9a1c0b22de --yes",
    "coffre approve 3f9a1c0b22de --decline 'not during the sale'",
)


def approve(
    plan_id: Annotated[str, typer.Argument(metavar="PLAN", help="A plan's id; its beginning is enough.")],
    yes: Annotated[bool, typer.Option("--yes", "-y", help="Approve the plan without asking.")] = False,
    decline: Annotated[
        str | None, typer.Option("--decline", metavar="REASON", help="Decline it: no one can start it any more.")
    ] = None,
    stack: StackOption = None,
    as_json: JsonOption = False,
) -> None:
    """Approve another person's plan to replace data in use or to delete a backup.

    The plan is shown first. The person who made it cannot approve it, and has the rest of its hour to start, ten
    minutes at least. With --decline it is refused instead, and the person who made it reads the reason.
    """
    deployed = find_stack(stack)
    issued = _find(deployed, plan_id)
    if decline is None and not yes:
        if not is_interactive():
            raise typer.BadParameter("this approves a plan: add --yes, or run it in a terminal")
        _show(issued)
        typer.confirm("Approve it?", abort=True, err=True)
    function = "restore" if issued.plan.request.act.value == "restore" else "rotate"
    said = {"decline": decline} if decline is not None else {}
    answer = deployed.ask(function, {"approve": {"plan": issued.id, "sha256": issued.plan_sha256, **said}})
    until = f"{answer['plan']['expires_at'][:16].replace('T', ' ')} UTC"
    if as_json:
        print_json(answer["plan"])
    elif decline is not None:
        say(f"Declined the plan {issued.id[:12]} of {issued.actor}.")
    else:
        say(f"Approved the plan {issued.id[:12]} of {issued.actor}. It has to start before {until}.")


def _find(deployed: DeployedStack, start: str) -> IssuedPlan:
    now = datetime.now(UTC)
    plans, damaged = deployed.catalog.confirmations.beginning_with(start.lower())
    found = [one for one in plans if one.expires_at > now]
    if len(found) == 1:
        return found[0]
    if damaged and not found:
        raise damaged[0]
    what = f'Several plans begin with "{start}"' if found else f'No plan "{start}" waits for an approval'
    raise ConfirmationError(
        f"{what}.",
        code="PLAN_UNKNOWN",
        hint="The command of the first person shows the id. A plan waits for an hour, then it has to be made again.",
    )


def _show(issued: IssuedPlan) -> None:
    request, seen = issued.plan.request, issued.plan.seen
    what = {
        "deletion": f"delete a backup of {request.target}",
        "restore": f"restore {request.target}",
        "configuration": "change the configuration",
    }[request.act.value]
    remark(f"{issued.actor} wants to {what} (plan {issued.id[:12]}, made {age(issued.made_at)}).")
    if request.act.value == "configuration":
        remark(f"It would be {request.backup_id}. Why: {visible(str(request.scope.get('note') or 'not said'))}.")
    else:
        remark(f"Backup {request.backup_id}; choice: {_choice(request.scope)}.")
    show_loss(seen.destination, seen.overwrites)


def _choice(scope: dict[str, object]) -> str:
    return ", ".join(f"{name} {value}" for name, value in scope.items() if name != "backup_id") or "all of it"
