"""`coffre uninstall`: what Coffre has left on servers goes first, then the stack. No backup is deleted."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Annotated

import typer

from coffre.model.errors import JournalError
from coffre.model.names import visible
from coffre_cli import aws
from coffre_cli.commands.config.change import YesOption
from coffre_cli.commands.journal.off import (
    Journals,
    drop_slots,
    is_off,
    journals_of,
    planned,
    statement_of,
    switch_off_in_configuration,
)
from coffre_cli.confirming import ask_name, refuse_without_terminal
from coffre_cli.deployed import DeployedStack
from coffre_cli.examples import examples
from coffre_cli.exit_status import Exit
from coffre_cli.screen import error_console, remark, say, say_command
from coffre_cli.stack_choice import find_stack
from coffre_cli.stack_options import StackOption
from coffre_cli.vault_choice import refuse_vault

EXAMPLES = examples("coffre uninstall --stack coffre --dry-run", "coffre uninstall --stack coffre")


def uninstall(
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Show what would be done; change nothing.")] = False,
    leave_slots: Annotated[
        bool, typer.Option("--leave-slots", help="Delete the stack though a journal's slot could not be dropped.")
    ] = False,
    yes: YesOption = False,
    stack: StackOption = None,
) -> None:
    """Delete the stack, after the replication slots of its journals. Not one backup is deleted.

    The vault's bucket and the catalog's table stay, with the private keys' secrets. If a slot cannot be dropped, its
    server would keep WAL for it: the SQL statement that drops it is shown, and the stack stays. docs/uninstall.md has
    what to do before and afterwards.
    """
    refuse_vault("uninstall")
    deployed = find_stack(stack)
    _refuse_protected(deployed)
    found = journals_of(deployed, None)
    _show_what_goes(deployed, found)
    if dry_run:
        say("Nothing was changed.")
        return
    if not yes:
        refuse_without_terminal(f"the stack {deployed.name}")
        ask_name(deployed.name)
    number = deployed.current_configuration.number
    switch_off_in_configuration(deployed, found.configured, yes=True, as_json=False)
    left = [one["target"] for one in drop_slots(deployed, found, quiet=False) if not is_off(one)]
    if left and not leave_slots:
        raise JournalError(
            f"The stack was not deleted: the slot of {', '.join(left)} is left on its server.",
            code="JOURNAL_SLOTS_LEFT",
            hint="Run the statement above in the database, then this again; with --leave-slots the stack is deleted "
            "all the same.",
        )
    with _naming_what_is_off(found, number):
        _remove(deployed)
    say(f"The stack {deployed.name} is deleted. Every backup is still in {deployed.outputs['VaultBucket']}.")
    _show_late_slots(deployed)


def _show_what_goes(deployed: DeployedStack, found: Journals) -> None:
    say(f"This deletes the stack {deployed.name}: functions, schedules, alerts and roles. No more backups are taken.")
    kept = (
        f"the vault {deployed.outputs['VaultBucket']} with every backup, the catalog {deployed.outputs['CatalogTable']}"
    )
    say(f"These stay: {kept}.")
    for line in planned(found):
        say(line)


def _refuse_protected(deployed: DeployedStack) -> None:
    from coffre_cli.deploying.change_set import Stack
    from coffre_cli.deploying.removal import refuse_protected

    refuse_protected(Stack(deployed.name, aws.client("cloudformation")))


@contextmanager
def _naming_what_is_off(found: Journals, number: int) -> Iterator[None]:
    """Add to an error of the deletion that journals are off already, and what switches them on again."""
    from coffre_cli.deploying.errors import DeployError

    try:
        yield
    except DeployError as error:
        if not found.configured:
            raise
        off = f"The journals of {', '.join(found.configured)} are off already."
        back = f"If the stack is to stay, `coffre config restore {number}` switches them on again."
        raise DeployError(
            error.message,
            code=error.code,
            detail=error.detail,
            hint=" ".join(filter(None, (error.hint, off, back))),
        ) from error


def _remove(deployed: DeployedStack) -> None:
    from coffre_cli.deploying.change_set import Stack
    from coffre_cli.deploying.removal import remove

    remark("CloudFormation deletes the resources; in a VPC that takes up to 40 minutes.")
    try:
        with error_console.status("Deleting", spinner="dots") as status:
            remove(Stack(deployed.name, aws.client("cloudformation")), lambda text: status.update(visible(text)))
    except KeyboardInterrupt:
        remark(f"Interrupted. CloudFormation continues: coffre uninstall --stack {deployed.name} waits for it.")
        raise typer.Exit(Exit.INTERRUPTED) from None


def _show_late_slots(deployed: DeployedStack) -> None:
    """Name slots that a drain made which ran all the while: the catalog's table, which stays, has them."""
    late = {name: state.slot for name, state in deployed.catalog.journals.all().items() if state.slot is not None}
    for name, slot in late.items():
        say(f"A slot of {name} is left on its server. Drop it there:", style="yellow")
        say_command(statement_of(name, slot))
    if late:
        raise typer.Exit(Exit.EXCEPTIONS)
