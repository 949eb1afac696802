"""`coffre config set` and `restore`, and what every change has in common: the plan is shown and confirmed."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Annotated, Any

import typer

from coffre.model.configuration_version import LONGEST_NOTE
from coffre.runtime.failed_answer import FunctionFailedError
from coffre_cli.commands.config.documents import (
    NamedDocument,
    file_document,
    in_effect,
    remark_template,
    stored_document,
)
from coffre_cli.confirming import Confirmed, PlanAnswer, ask_name, refuse_without_terminal, show_loss, wait_for_approval
from coffre_cli.deployed import DeployedStack
from coffre_cli.examples import examples
from coffre_cli.screen import print_json, say
from coffre_cli.stack_choice import find_stack
from coffre_cli.stack_options import JsonOption, StackOption
from coffre_cli.vault_choice import refuse_vault

if TYPE_CHECKING:
    from coffre.model.confirmation import Overwritten

SET_EXAMPLES = examples(
    "coffre config set configuration.json --dry-run",
    "coffre config set configuration.json --note 'keep a year'",
    "coffre config show | jq '.vault_quota_bytes = 500000000000' | coffre config set - --yes",
)
RESTORE_EXAMPLES = examples(
    "coffre config restore 3", "coffre config restore template", "coffre config restore 3 --dry-run"
)

NoteOption = Annotated[
    str | None, typer.Option("--note", metavar="TEXT", help="Why: kept in the history and the audit.")
]
YesOption = Annotated[bool, typer.Option("--yes", "-y", help="Confirm the change without asking.")]
DryRunOption = Annotated[bool, typer.Option("--dry-run", help="Show what would change; change nothing.")]


def set_document(
    file: Annotated[str, typer.Argument(metavar="FILE", help="The whole document as JSON; - reads it from stdin.")],
    note: NoteOption = None,
    dry_run: DryRunOption = False,
    yes: YesOption = False,
    stack: StackOption = None,
    as_json: JsonOption = False,
) -> None:
    """Put a document from a file in effect, as the next version.

    It is checked first, and what changes is shown. What may weaken the protection is marked with !, and asks for a
    typed word.
    """
    refuse_vault("config")
    deployed = find_stack(stack)
    put_in_effect(deployed, file_document(file), note, dry_run=dry_run, yes=yes, as_json=as_json)


def restore(
    version: Annotated[str, typer.Argument(metavar="VERSION", help="A version's number, template, or vault.")],
    note: NoteOption = None,
    dry_run: DryRunOption = False,
    yes: YesOption = False,
    stack: StackOption = None,
    as_json: JsonOption = False,
) -> None:
    """Put an older version, or the template's document, in effect again: its text becomes the next version.

    `vault` is the newest copy in the vault: what was in effect in a stack that is lost.
    """
    refuse_vault("config")
    deployed = find_stack(stack)
    wanted = stored_document(deployed, version)
    why = note or f"restores {wanted.label}"
    put_in_effect(deployed, wanted, why, dry_run=dry_run, yes=yes, as_json=as_json)


def put_in_effect(
    deployed: DeployedStack, wanted: NamedDocument, note: str | None, *, dry_run: bool, yes: bool, as_json: bool
) -> None:
    """Check a document, show what it changes, have it confirmed, and write it.

    Raises
    ------
    ConfigurationError
        `CONFIGURATION_INVALID`
    FunctionFailedError
        The function refused it, for example with `CONFIGURATION_CHANGED`: another person was faster.
    """
    from coffre.model.new_document import read_new_document

    current = deployed.current_configuration
    read_new_document(wanted.text, where=wanted.label)
    if note is not None and len(note) > LONGEST_NOTE:
        raise typer.BadParameter(f"--note has {len(note)} characters; {LONGEST_NOTE} are kept")
    if wanted.text == current.document:
        _say_unchanged(in_effect(current), as_json=as_json)
        return
    if not (dry_run or yes):
        refuse_without_terminal("the configuration")
    asked = {"document": wanted.text, "based_on": current.number, **({"note": note} if note else {})}
    answer = PlanAnswer.of(_ask(deployed, {"configuration": {**asked, "dry_run": True}}))
    if dry_run and as_json:
        print_json(dict(answer.plan))
        return
    if not as_json or not yes:
        remark_template(current)
        show_loss(str(answer.plan["destination"]), answer.lost)
    if dry_run:
        say("Nothing was changed.")
        return
    name = str(answer.plan["name"]) if yes else _confirmed(answer.lost, str(answer.plan["name"]))
    wait_for_approval(deployed, answer)
    confirmation = Confirmed(name, answer).in_event
    done = _ask(deployed, {"configuration": asked, "confirmation": confirmation})["version"]
    if as_json:
        print_json(done)
    else:
        say(f"Version {done['number']} of the configuration is in effect: the next run of each function reads it.")


def write_version(deployed: DeployedStack, document: str, note: str) -> int:
    """Put a document in effect for a command that has shown and confirmed the change itself; return its number.

    Raises
    ------
    FunctionFailedError
        As `put_in_effect`.
    """
    asked = {"document": document, "based_on": deployed.current_configuration.number, "note": note}
    answer = PlanAnswer.of(_ask(deployed, {"configuration": {**asked, "dry_run": True}}))
    wait_for_approval(deployed, answer)
    confirmation = Confirmed(str(answer.plan["name"]), answer).in_event
    return int(_ask(deployed, {"configuration": asked, "confirmation": confirmation})["version"]["number"])


def _confirmed(lost: Overwritten, name: str) -> str:
    """Ask for a typed word where the protection may get weaker, otherwise for a yes."""
    if lost.weakens:
        return ask_name(name)
    typer.confirm("Put this in effect?", abort=True, err=True)
    return name


def _ask(deployed: DeployedStack, event: Mapping[str, Any]) -> dict[str, Any]:
    answer = deployed.ask("rotate", event)
    failure = answer.get("failure")
    if failure:
        raise FunctionFailedError(str(failure["message"]), code=str(failure["code"]), hint=failure.get("hint"))
    return answer


def _say_unchanged(found: NamedDocument, *, as_json: bool) -> None:
    if as_json:
        print_json({"number": found.version.number if found.version else 0, "changed": False})
    else:
        say(f"Nothing to change: this is the document in effect ({found.label}).")
