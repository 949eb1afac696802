"""`coffre config set` and `restore`, and what every change has in common: the plan is shown and confirmed."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
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
from coffre_cli.commands.config.journals import (
    NewJournal,
    look_again,
    look_at_new_journals,
    refuse_prevented,
)
from coffre_cli.commands.journal.price import undrained
from coffre_cli.confirming import Confirmed, PlanAnswer, ask_name, refuse_without_terminal, show_loss, wait_for_approval
from coffre_cli.deployed import DeployedStack
from coffre_cli.examples import examples
from coffre_cli.exit_status import Exit
from coffre_cli.screen import print_json, remark, say
from coffre_cli.stack_choice import find_stack
from coffre_cli.stack_options import JsonOption, StackOption
from coffre_cli.vault_choice import refuse_vault

if TYPE_CHECKING:
    from coffre.model.configuration_version import CurrentConfiguration
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
ForceOption = Annotated[bool, typer.Option("--force", help="Switch a journal on though it cannot work yet.")]
DryRunOption = Annotated[bool, typer.Option("--dry-run", help="Show what would change; change nothing.")]


def set_document(
    file: Annotated[str, typer.Argument(metavar="FILE", help="The whole document as JSON; - reads it from stdin.")],
    note: NoteOption = None,
    dry_run: DryRunOption = False,
    yes: YesOption = False,
    force: ForceOption = False,
    stack: StackOption = None,
    as_json: JsonOption = False,
) -> None:
    """Put a document from a file in effect, as the next version.

    It is checked first, and what changes is shown. What may weaken the protection is marked with !, and asks for a
    typed word. The server of a journal that is switched on is looked at, and what the journal costs is said; one that
    would store nothing is refused.
    """
    refuse_vault("config")
    deployed = find_stack(stack)
    put_in_effect(deployed, file_document(file), note, How(dry_run=dry_run, yes=yes, force=force, as_json=as_json))


def restore(
    version: Annotated[str, typer.Argument(metavar="VERSION", help="A version's number, template, or vault.")],
    note: NoteOption = None,
    dry_run: DryRunOption = False,
    yes: YesOption = False,
    force: ForceOption = False,
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
    put_in_effect(deployed, wanted, why, How(dry_run=dry_run, yes=yes, force=force, as_json=as_json))


@dataclass(frozen=True)
class How:
    """How a document is put in effect: only shown, without asking, with journals that cannot work, for scripts."""

    dry_run: bool = False
    yes: bool = False
    force: bool = False
    as_json: bool = False


def put_in_effect(deployed: DeployedStack, wanted: NamedDocument, note: str | None, how: How) -> None:
    """Check a document, show what it changes, have it confirmed, and write it.

    Raises
    ------
    ConfigurationError
        `CONFIGURATION_INVALID`
    JournalError
        `JOURNAL_NOT_POSSIBLE`
    FunctionFailedError
        The function refused it, for example with `CONFIGURATION_CHANGED`: another person was faster.
    """
    from coffre.model.configuration_mistakes import read_new_document

    current = deployed.current_configuration
    configuration = read_new_document(wanted.text, where=wanted.label)
    if note is not None and len(note) > LONGEST_NOTE:
        raise typer.BadParameter(f"--note has {len(note)} characters; {LONGEST_NOTE} are kept")
    if wanted.text == current.document:
        _say_unchanged(in_effect(current), as_json=how.as_json)
        return
    if not (how.dry_run or how.yes):
        refuse_without_terminal("the configuration")
    asked = {"document": wanted.text, "based_on": current.number, **({"note": note} if note else {})}
    answer = PlanAnswer.of(_ask(deployed, {"configuration": {**asked, "dry_run": True}}))
    journals = look_at_new_journals(deployed, configuration, quiet=how.as_json)
    _show_plan(current, answer, journals, how)
    if journals and not how.as_json:
        for sentence in undrained(deployed, [one.target for one in journals]):
            say(f"{sentence} Deploy it with Journal=on (docs/point-in-time.md).", style="yellow")
    if not how.force:
        refuse_prevented(journals)
    if how.dry_run:
        return
    name = str(answer.plan["name"]) if how.yes else _confirmed(answer.lost, str(answer.plan["name"]))
    wait_for_approval(deployed, answer)
    confirmation = Confirmed(name, answer).in_event
    done = _ask(deployed, {"configuration": asked, "confirmation": confirmation})["version"]
    _show_done(done, look_again(deployed, journals, quiet=how.as_json), how)


def _show_plan(current: CurrentConfiguration, answer: PlanAnswer, journals: Sequence[NewJournal], how: How) -> None:
    if how.dry_run and how.as_json:
        looked = {"journals": [one.as_json for one in journals]} if journals else {}
        print_json({**answer.plan, **looked})
        return
    if not how.as_json or not how.yes:
        remark_template(current)
        show_loss(str(answer.plan["destination"]), answer.lost)
        for one in journals:
            one.show()
    if how.dry_run:
        say("Nothing was changed.")


def _show_done(version: Mapping[str, Any], journals: Sequence[NewJournal], how: How) -> None:
    if how.as_json:
        looked = {"journals": [one.as_json for one in journals]} if journals else {}
        print_json({**version, **looked})
    else:
        say(f"Version {version['number']} of the configuration is in effect: the next run of each function reads it.")
        for one in journals:
            one.show()
    prevented = [one.target for one in journals if one.prevented]
    if prevented:
        remark(
            f"The journal of {', '.join(prevented)} stores nothing yet. When it is mended: coffre doctor {prevented[0]}"
        )
        raise typer.Exit(Exit.EXCEPTIONS)


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
