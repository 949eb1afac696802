"""`coffre journal drain` and `coffre journal off`: what the function `journal` does when a person asks."""

from __future__ import annotations

from typing import Annotated, Any

import typer

from coffre.model.words import counted
from coffre_cli.deployed import DeployedStack
from coffre_cli.examples import examples
from coffre_cli.exits import Exit
from coffre_cli.screen import error_console, print_json, remark, say
from coffre_cli.stack_choice import find_stack
from coffre_cli.stack_options import JsonOption, StackOption
from coffre_cli.vault_choice import refuse_vault

DRAIN_EXAMPLES = examples("coffre journal drain shop", "coffre journal drain shop --json")
OFF_EXAMPLES = examples("coffre journal off shop", "coffre journal off shop --json")

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
    say(f"Journal of {answer['target']}: {stored} stored, up to {answer['seen_at'] or 'now'}.")
    for end in answer["ended"]:
        say(f"An interval has ended ({end['reason']}): {end['text']}", style="yellow")
    if answer["begun"]:
        say("A new interval has begun. A backup was asked for: from it on, moments can be restored.")
    if not answer["is_complete"]:
        say("More has changed than one invocation could store: the next drain continues.", style="yellow")
    for note in answer["notes"]:
        remark(note)


def off(target: _Target, stack: StackOption = None, as_json: JsonOption = False) -> None:
    """Drop the replication slot of a database that has no journal any more, and end its interval.

    Remove `journal` of the target first (coffre config edit). The next tick does this too; before the stack is deleted
    it has to be done. What is stored stays, and can be restored as long as it is kept.
    """
    refuse_vault("journal off")
    answer = _ask(
        find_stack(stack), {"target": target, "off": True}, f"Switching off the journal of {target}", quiet=as_json
    )
    if as_json:
        print_json(answer)
    elif "waits" in answer:
        say(f"Nothing was done: {answer['message']} [{answer['waits']}]", style="yellow")
    elif left := answer.get("left"):
        say(f"The slot {left} is left: another program made it, and the server keeps WAL for it.", style="yellow")
        remark(f"If no program needs it, on its server: SELECT pg_drop_replication_slot('{left}');")
    else:
        say(f"The slot of {target} is dropped." if answer["dropped"] else f"{target} had no slot.")
    if "waits" in answer or answer.get("left"):
        raise typer.Exit(Exit.FAILED)


def _ask(deployed: DeployedStack, event: dict[str, Any], words: str, *, quiet: bool) -> dict[str, Any]:
    with error_console.status(words, spinner="dots") as status:
        if quiet:
            status.stop()
        return deployed.ask("journal", event)
