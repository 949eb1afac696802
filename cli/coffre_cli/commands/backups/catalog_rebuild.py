"""`coffre catalog rebuild`: the records of backups, rebuilt from the vault."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from coffre.model.errors import CoffreError
from coffre_cli.deployed import DeployedStack
from coffre_cli.examples import examples
from coffre_cli.exit_status import Exit
from coffre_cli.output_file import new_file
from coffre_cli.reading import no_manifest, open_copy
from coffre_cli.screen import print_json, print_table, remark, say, say_command
from coffre_cli.stack_choice import find_stack
from coffre_cli.stack_options import JsonOption, StackOption

if TYPE_CHECKING:
    from coffre.operations.admin.catalog_rebuild import Rebuilt
    from coffre.vault.vault import Vault

app = typer.Typer(
    help="Maintain the catalog, the table with the records of backups.",
    epilog=examples(
        "coffre catalog rebuild --dry-run",
        "coffre catalog rebuild",
        "coffre catalog rebuild --from s3://acme-coffre-copy/coffre",
    ),
    no_args_is_help=True,
    rich_markup_mode=None,
)


@app.callback()
def catalog() -> None:
    """Maintain the catalog, the table with the records of backups."""


@app.command(
    "rebuild",
    short_help="Rebuild lost records from the manifests of the vault or of a copy.",
    epilog=examples(
        "coffre catalog rebuild --dry-run",
        "coffre catalog rebuild --yes --json",
        "coffre catalog rebuild --from offsite",
        "coffre catalog rebuild --from directory:/media/disk/coffre",
    ),
)
def rebuild_catalog(
    source: Annotated[
        str | None,
        typer.Option(
            "--from",
            metavar="COPY|ADDRESS",
            help="Read a copy of the vault: its name in the configuration, or its address (DIR, s3://BUCKET/PREFIX, "
            "...). Default: the vault.",
        ),
    ] = None,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Show what would be added; change nothing.")] = False,
    yes: Annotated[bool, typer.Option("--yes", "-y", help="Do not ask.")] = False,
    stack: StackOption = None,
    as_json: JsonOption = False,
) -> None:
    """Add a record for every manifest in the vault that the catalog does not know; a new, empty table is filled.

    Tiers, pins, holds, verifications and known damage are rebuilt with it. Existing records are never changed. Every
    manifest is trusted: the proof was in the catalog. Lost are failed and deleted runs, restores and audit events.
    With --from NAME, restores read the backups in that copy as long as the vault does not have them.
    """
    from coffre.operations.admin.catalog_rebuild import ADDED, KNOWN, rebuild

    deployed = find_stack(stack)
    vault, copy = (deployed.vault, None) if source is None else open_copy(deployed, source)
    where = source or f"the vault of {deployed.name}"
    if not (dry_run or yes):
        remark(f"Every manifest in {where} will be trusted without proof.")
        typer.confirm("Add the records that the catalog lacks?", abort=True, err=True)
    if not dry_run:
        detail = f"from {source}" if source else None
        deployed.catalog.audit.record(datetime.now(UTC), deployed.caller, "catalog.rebuilt", detail=detail)
    done = list(rebuild(deployed.catalog, vault, dry_run=dry_run, copy=copy, now=datetime.now(UTC)))
    if source is not None and not done:
        raise no_manifest(source)
    if as_json:
        print_json([{"target": one.target, "backup_id": one.backup_id, "outcome": one.outcome} for one in done])
    else:
        _show(done, dry_run=dry_run)
        _name_configuration(deployed, vault, is_copy=source is not None, dry_run=dry_run)
    if any(one.outcome not in (ADDED, KNOWN) for one in done):
        raise typer.Exit(Exit.FAILED)


def _name_configuration(deployed: DeployedStack, vault: Vault, *, is_copy: bool, dry_run: bool) -> None:
    """Name the commands that restore the configuration of a stack that is lost: a rebuild itself changes none."""
    from coffre.vault.configuration_copies import newest_copy

    try:
        copy = newest_copy(vault.store)
    except CoffreError as error:
        remark(error.message)
        return
    if copy is None or copy.document == deployed.current_configuration.document:
        return
    if is_copy:
        path = Path(f"coffre-configuration-{copy.at:%Y%m%dT%H%M%SZ}.json")
        if not (dry_run or path.exists()):
            with new_file(path) as file:
                file.write(copy.document.encode())
        say(f"The copy has the configuration of {copy.at:%Y-%m-%d %H:%M} UTC, which is not in effect here:")
        say_command(f"coffre config diff {path}")
        say_command(f"coffre config set {path}")
    else:
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
        say("Not rebuilt: failed and deleted runs, restores, and audit events.")
        if not any(one.backup and one.backup.verified_at for one in done):
            say("No backup is marked as verified. Until some are, rotation deletes nothing.")
