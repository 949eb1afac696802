"""`coffre journal drain`: what the function `journal` does when a person asks."""

from __future__ import annotations

from datetime import datetime
from typing import Annotated, Any

import typer

from coffre.model.words import counted
from coffre_cli.deployed import DeployedStack
from coffre_cli.examples import examples
from coffre_cli.exit_status import Exit
from coffre_cli.screen import error_console, print_json, remark, say
from coffre_cli.stack_choice import find_stack
from coffre_cli.stack_options import JsonOption, StackOption
from coffre_cli.vault_choice import refuse_vault

DRAIN_EXAMPLES = examples("coffre journal drain shop", "coffre journal drain shop --json")

_Target = Annotated[str, typer.Argument(help="The database.")]


def drain(target: _Target, stack: StackOption = None, as_json: JsonOption = False) -> None:
    """Store what has changed in a database since the last drain, without waiting for the next one.

    The first drain makes the replication slot, and asks for a backup that is the base of the journal.
    """
    refuse_vault("journal drain")
    answer = _ask(find_stack(stack), {"target": target}, f"Draining the journal of {target}", quiet=as_json)
    if as_json:
        print_json(answer)
    elif "waits" in answer:
        say(f"Nothing was stored: {answer['message']} [{answer['waits']}]", style="yellow")
        if answer.get("hint"):
            remark(answer["hint"])
    else:
        _show(answer)
    if "waits" in answer or not answer["is_complete"]:
        raise typer.Exit(Exit.FAILED)


def _show(answer: dict[str, Any]) -> None:
    stored = f"{counted(answer['transactions'], 'transaction')}, {answer['stored_bytes']:,} bytes"
    upto = f"{datetime.fromisoformat(answer['seen_at']):%Y-%m-%d %H:%M:%S} UTC" if answer["seen_at"] else "now"
    say(f"Journal of {answer['target']}: {stored} stored, up to {upto}.")
    for end in answer["ended"]:
        say(f"An interval has ended ({end['reason']}): {end['text']}", style="yellow")
    if answer["begun"]:
        say("A new interval has begun. A backup was asked for: from it on, moments can be restored.")
    if not answer["is_complete"]:
        say("More has changed than one invocation could store: the next drain continues.", style="yellow")
    for note in answer["notes"]:
        remark(note)


def _ask(deployed: DeployedStack, event: dict[str, Any], words: str, *, quiet: bool) -> dict[str, Any]:
    with error_console.status(words, spinner="dots") as status:
        if quiet:
            status.stop()
        return deployed.ask("journal", event)
