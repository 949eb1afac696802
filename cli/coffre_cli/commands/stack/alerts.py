"""`coffre alerts`: open problems, and a test of the alert destinations."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Annotated, Any

import typer
from rich.text import Text

from coffre.model.errors import IntegrityError, PermanentError
from coffre_cli.deployed import DeployedStack
from coffre_cli.examples import examples
from coffre_cli.exit_status import Exit
from coffre_cli.screen import age, error_console, print_json, print_table, remark_unread, say
from coffre_cli.stack_choice import find_stack
from coffre_cli.stack_options import JsonOption, StackOption

if TYPE_CHECKING:
    from coffre.model.incident import Incident

_STYLES = {"critical": "bold red", "warning": "yellow", "info": ""}  # by `Severity`

app = typer.Typer(
    help="List open problems, and test whether alerts arrive.",
    epilog=examples("coffre alerts list", "coffre alerts test"),
    no_args_is_help=True,
    rich_markup_mode=None,
)


class NotifyError(PermanentError):
    """The function `notify` does not exist, or failed."""

    default_code = "NOTIFY_FAILED"


@app.callback()
def alerts() -> None:
    """List open problems, and test whether alerts arrive."""


@app.command(
    "list",
    short_help="List the open problems.",
    epilog=examples("coffre alerts list", "coffre alerts list shop", "coffre alerts list --json | jq '.[].kind'"),
)
def list_alerts(
    target: Annotated[
        str | None, typer.Argument(help="Only problems of this target; - for those of no single target.")
    ] = None,
    stack: StackOption = None,
    as_json: JsonOption = False,
) -> None:
    """List the problems that were reported and are not resolved, newest first."""
    from coffre.alerts.alert import EVERY_TARGET

    deployed = find_stack(stack)
    damaged: list[IntegrityError] = []
    found = sorted(deployed.catalog.incidents.open(target, damaged), key=lambda one: one.since, reverse=True)
    remark_unread(damaged)
    if not found and target not in (None, EVERY_TARGET):
        deployed.known_target(target)
    if as_json:
        print_json([_json(one) for one in found])
    elif not found:
        say("No open problems." if not damaged else "No other open problems.")
    else:
        print_table(["KIND", "TARGET", "SINCE", "SEEN", "REPORTED", "WHAT"], map(_row, found), right=["SEEN"])
        say("What to do about each: docs/runbooks/KIND.md")
    if damaged:
        raise typer.Exit(Exit.EXCEPTIONS)


@app.command(
    "test",
    short_help="Send a test to every chat and webhook.",
    epilog=examples("coffre alerts test", "coffre alerts test --json | jq '.[] | select(.sent | not)'"),
)
def try_out(stack: StackOption = None, as_json: JsonOption = False) -> None:
    """Send a test to every URL in the secret AlertUrlsSecret, whatever its filters, and show each result.

    Mail is not tested: it comes from the topic, whose subscription you have confirmed.
    """
    tried = _try_all(find_stack(stack), quiet=as_json)
    failed = [one for one in tried if not one["sent"]]
    if as_json:
        print_json(tried)
    else:
        for one in tried:
            say(f"{one['place']}: {'sent' if one['sent'] else one['error']}", style="" if one["sent"] else "red")
    if failed:
        raise typer.Exit(Exit.FAILED)


def _try_all(deployed: DeployedStack, *, quiet: bool) -> list[dict[str, Any]]:
    if "NotifyFunction" not in deployed.outputs:
        raise NotifyError(
            "This stack notifies only the subscribers of its topic: it has no function notify.",
            code="NOTIFY_OFF",
            hint="Store the URLs in a secret below coffre/alerts/, and give its name to the template: AlertUrlsSecret. "
            "docs/alerts.md shows how.",
        )
    with error_console.status("Sending", spinner="dots") as status:
        if quiet:
            status.stop()
        answer, succeeded = deployed.call("notify", {"test": True})
    if succeeded and isinstance(answer, Mapping):
        return list(answer["tried"])
    words = answer.get("errorMessage", "") if isinstance(answer, Mapping) else ""
    raise NotifyError("Nothing could be sent.", detail=str(words)[:2000], hint="Correct the cause, and try again.")


def _severity(incident: Incident) -> str:
    from coffre.alerts.alert import AlertKind, Severity

    try:
        return AlertKind(incident.kind).severity.value
    except ValueError:  # of a later version: this version does not know how bad it is
        return Severity.CRITICAL.value


def _row(incident: Incident) -> list[str | Text]:
    return [
        Text(incident.kind, style=_STYLES[_severity(incident)]),
        incident.target,
        age(incident.since),
        f"{incident.seen:,}",
        age(incident.told_at) if incident.told_at else "not yet",
        incident.subject,
    ]


def _json(incident: Incident) -> dict[str, Any]:
    record = incident.model_dump(mode="json", exclude={"version", "claimed_at", "ended_at"})
    return {**record, "severity": _severity(incident), "runbook": f"docs/runbooks/{incident.kind}.md"}
