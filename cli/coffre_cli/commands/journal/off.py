"""`coffre journal off`: journals leave the configuration, and their replication slots the servers."""

from __future__ import annotations

import json
from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass
from typing import Annotated, Any

import typer

from coffre.model.errors import CoffreError, TargetUnknownError
from coffre.model.words import counted
from coffre_cli.commands.config.change import DryRunOption, How, YesOption, put_in_effect, write_version
from coffre_cli.commands.config.documents import NamedDocument, laid_out
from coffre_cli.deployed import DeployedStack
from coffre_cli.examples import examples
from coffre_cli.exit_status import Exit
from coffre_cli.screen import error_console, print_json, remark, say, say_command
from coffre_cli.stack_choice import find_stack
from coffre_cli.stack_options import JsonOption, StackOption
from coffre_cli.vault_choice import refuse_vault

EXAMPLES = examples("coffre journal off shop", "coffre journal off --all --dry-run", "coffre journal off --all --yes")
_NOTE = "coffre journal off"
_DROP = "SELECT pg_drop_replication_slot"


@dataclass(frozen=True)
class Journals:
    """The journals that are switched off.

    Parameters
    ----------
    configured
        Targets of the document that have the option: databases, and servers.
    slots
        By database, the slot that the catalog knows; None: it knows none.
    """

    configured: tuple[str, ...]
    slots: dict[str, str | None]


def off(
    target: Annotated[str | None, typer.Argument(help="The database, or a server with all its databases.")] = None,
    every: Annotated[
        bool, typer.Option("--all", help="Every journal of the stack: before the stack is deleted.")
    ] = False,
    dry_run: DryRunOption = False,
    yes: YesOption = False,
    stack: StackOption = None,
    as_json: JsonOption = False,
) -> None:
    """Switch a journal off: its option leaves the configuration, its replication slot the server.

    The change of the configuration is shown and confirmed, as that of coffre config edit. What is stored stays, and
    can be restored as long as it is kept. A slot that could not be dropped is named, with the SQL statement that drops
    it, or lists the slots that it may be; running the command again tries again.
    """
    refuse_vault("journal off")
    if (target is None) is not every:
        raise typer.BadParameter("name a database, or every journal with --all")
    deployed = find_stack(stack)
    found = journals_of(deployed, target)
    if dry_run:
        _show_plan(found, as_json=as_json)
        return
    if as_json and found.configured and not yes:
        raise typer.BadParameter("this changes the configuration, and --json asks nothing: add --yes, or --dry-run")
    switch_off_in_configuration(deployed, found.configured, yes=yes, as_json=as_json)
    results = drop_slots(deployed, found, quiet=as_json)
    if as_json:
        print_json(results if every else results[0] if results else {"target": target, "dropped": False})
    elif not results:
        say("No target has a journal: there is no slot to drop.")
    if not all(map(is_off, results)):
        raise typer.Exit(Exit.FAILED)


def journals_of(deployed: DeployedStack, target: str | None) -> Journals:
    """Return the journals of a database or a server, or (None) all of the stack.

    Raises
    ------
    TargetUnknownError
        The name is neither configured nor that of a journal, or the database has its journal from the options of its
        server.
    """
    from coffre.model.database_target import FoundDatabase

    configuration = deployed.configuration
    states = deployed.catalog.journals.all()
    document = {one.name: one for one in configuration.started_databases}
    asked = document if target is None else {name: one for name, one in document.items() if name == target}
    configured = tuple(sorted(name for name, one in asked.items() if one.journal is not None))
    databases = [one for one in configuration.databases if one.journal is not None and one.databases is None]
    if target is None:
        names = {*states, *(one.name for one in databases)}
    else:
        found = {one.name: one.server for one in configuration.databases if isinstance(one, FoundDatabase)}
        if (server := found.get(target)) is not None and document[server].journal is not None:
            raise TargetUnknownError(
                f'"{target}" is a database of the server "{server}", whose option `journal` is for all its databases.',
                hint=f"coffre journal off {server}",
            )
        _refuse_unknown(target, {*document, *found}, states)
        servers = {one.name for one in configuration.servers}
        names = {name for name, its in found.items() if its == target} if target in servers else {target}
    slots = {name: state.slot if (state := states.get(name)) else None for name in sorted(names)}
    return Journals(configured, slots)


def _refuse_unknown(target: str, configured: Collection[str], states: Collection[str]) -> None:
    """Refuse a name that nothing has: it would be taken for a journal whose slot is not known."""
    if target in configured or target in states:
        return
    raise TargetUnknownError(
        f'No database or server "{target}" is configured, nor is a journal of that name known.',
        detail=f"Configured: {', '.join(sorted(configured)) or 'none'}. "
        f"Journals: {', '.join(sorted(states)) or 'none'}.",
        hint="Check the name's spelling, and that this is the right stack.",
    )


def switch_off_in_configuration(
    deployed: DeployedStack, configured: Sequence[str], *, yes: bool, as_json: bool
) -> None:
    """Remove the option of these targets from the document in effect; raises what `put_in_effect` raises."""
    if not configured:
        return
    document = json.loads(deployed.current_configuration.document)
    for one in document["targets"]:
        if one.get("name") in configured:
            del one["journal"]
    text = f"{laid_out(json.dumps(document))}\n"
    if as_json:
        write_version(deployed, text, _NOTE)
    else:
        put_in_effect(deployed, NamedDocument("the document without journals", text), _NOTE, How(yes=yes))


def drop_slots(deployed: DeployedStack, found: Journals, *, quiet: bool) -> list[dict[str, Any]]:
    """Let the function `journal` drop each slot, and say what it did; one that fails hides no other."""
    results = []
    for name, slot in found.slots.items():
        with error_console.status(f"Switching off the journal of {name}", spinner="dots") as status:
            if quiet:
                status.stop()
            try:
                answer = deployed.ask("journal", {"target": name, "off": True})
            except CoffreError as error:
                answer = {"target": name, "dropped": False, "failed": error.code, "message": error.message}
                answer |= {"hint": error.hint} if error.hint else {}
        if not is_off(answer):
            answer |= {"sql": statement_of(name, answer.get("left") or slot)}
        results.append(answer)
        if not quiet:
            _show(answer)
    return results


def is_off(answer: dict[str, Any]) -> bool:
    """Return whether nothing of a journal is left on its server."""
    return not any(answer.get(key) for key in ("waits", "failed", "left"))


def statement_of(target: str, slot: str | None) -> str:
    """Return the SQL statement that drops a target's slot; where its name is not known, one that lists what it may be.

    A slot's name has letters, digits and _ alone.
    """
    if slot:
        return f"{_DROP}('{slot}');"
    from coffre.postgres.journal.slot import listing

    return listing(target)


def _show(answer: dict[str, Any]) -> None:
    name = answer["target"]
    if is_off(answer):
        say(f"The slot of {name} is dropped." if answer["dropped"] else f"{name} had no slot.")
        return
    if left := answer.get("left"):
        say(f"The slot {left} of {name} is left: another program made it, or its record is damaged.")
        say("The server keeps WAL for it until it is dropped.")
        remark("If no program needs it, in the database:")
    else:
        code = answer.get("waits") or answer["failed"]
        say(f"The slot of {name} was NOT dropped: {answer['message']} [{code}]", style="yellow")
        if answer.get("hint"):
            remark(answer["hint"])
        remark("The server keeps WAL for it. Run the command again, or in the database:")
        if not answer["sql"].startswith(_DROP):
            remark(f"(its name is not known: this lists what it may be; {_DROP}('NAME'); drops it)")
    say_command(answer["sql"])


def _show_plan(found: Journals, *, as_json: bool) -> None:
    if as_json:
        print_json({"configured": found.configured, "slots": found.slots})
        return
    for line in planned(found):
        say(line)
    say("Nothing was changed.")


def planned(found: Journals) -> Iterable[str]:
    """Yield what switching off would do, in sentences."""
    if not found.slots and not found.configured:
        yield "No target has a journal: there is no slot to drop."
    if found.configured:
        yield f"The option `journal` of {', '.join(found.configured)} would be removed from the configuration."
    if found.slots:
        yield f"{counted(len(found.slots), 'slot')} would be dropped:"
    for name, slot in found.slots.items():
        yield f"  {name}: {slot or 'not made yet, as far as the catalog knows'}"
