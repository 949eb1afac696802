"""`coffre catalog rebuild`: the records of backups, rebuilt from the vault."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import TYPE_CHECKING, Annotated

import typer

from coffre.model.errors import CoffreError
from coffre_cli.deployed import DeployedStack, JsonOption, StackOption, find_stack
from coffre_cli.examples import examples
from coffre_cli.exits import Exit
from coffre_cli.screen import print_json, print_table, remark, say, say_command

if TYPE_CHECKING:
    from coffre.operations.admin.catalog_rebuild import Rebuilt

app = typer.Typer(
    help="Maintain the catalog, the table with the records of backups.",
    epilog=examples("coffre catalog rebuild --dry-run", "coffre catalog rebuild"),
    no_args_is_help=True,
    rich_markup_mode=None,
)


@app.callback()
def catalog() -> None:
    """Maintain the catalog, the table with the records of backups."""


@app.command(
    "rebuild",
    short_help="Rebuild lost records from the vault's manifests.",
    epilog=examples("coffre catalog rebuild --dry-run", "coffre catalog rebuild --yes --json"),
)
def rebuild_catalog(
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Show what would be added; change nothing.")] = False,
    yes: Annotated[bool, typer.Option("--yes", "-y", help="Do not ask.")] = False,
    stack: StackOption = None,
    as_json: JsonOption = False,
) -> None:
    """Add a record for every manifest in the vault that the catalog does not know; a new, empty table is filled.

    Existing records are never changed. Every manifest in the vault is trusted: the proof was in the catalog. Lost are
    failed and deleted runs, restores, audit events, and which backups were verified; until some are verified again,
    rotation deletes nothing.
    """
    from coffre.operations.admin.catalog_rebuild import ADDED, KNOWN, rebuild

    deployed = find_stack(stack)
    if not (dry_run or yes):
        remark(f"Every manifest in the vault of {deployed.name} will be trusted without proof.")
        typer.confirm("Add the records that the catalog lacks?", abort=True, err=True)
    if not dry_run:
        deployed.catalog.audit.record(datetime.now(UTC), deployed.caller, "catalog.rebuilt")
    done = list(rebuild(deployed.catalog, deployed.vault, dry_run=dry_run))
    if as_json:
        print_json([{"target": one.target, "backup_id": one.backup_id, "outcome": one.outcome} for one in done])
    else:
        _show(done, dry_run=dry_run)
        _name_configuration(deployed)
    if any(one.outcome not in (ADDED, KNOWN) for one in done):
        raise typer.Exit(Exit.FAILED)


def _name_configuration(deployed: DeployedStack) -> None:
    """Name the commands that restore the configuration of a stack that is lost: a rebuild itself changes none."""
    from coffre.vault.configuration_copies import newest_copy

    try:
        copy = newest_copy(deployed.vault.store)
    except CoffreError as error:
        remark(error.message)
        return
    if copy is not None and copy.document != deployed.current_configuration.document:
        say(f"The vault has the configuration of {copy.at:%Y-%m-%d %H:%M} UTC, which is not in effect here:")
        say_command("coffre config diff vault")
        say_command("coffre config restore vault")


def _show(done: list[Rebuilt], *, dry_run: bool) -> None:
    from coffre.operations.admin.catalog_rebuild import ADDED, KNOWN

    new = [one for one in done if one.outcome != KNOWN]
    if new:
        print_table(["ID", "TARGET", "OUTCOME"], ([one.backup_id, one.target, one.outcome] for one in new))
    added = sum(one.outcome == ADDED for one in done)
    say(f"{added} of {len(done)} records {'would be ' if dry_run else ''}added.", style="bold")
    if added:
        say("Not rebuilt: failed and deleted runs, restores, audit events, and which backups were verified.")
        say("Until backups are verified again, rotation deletes nothing.")
