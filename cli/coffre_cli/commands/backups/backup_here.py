"""A backup in the process of the command: with the configuration of a stack, or into a vault without one."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import typer

from coffre_cli.commands.backups.run_backup import (
    Wanted,
    event_of,
    finish,
    show_ended,
    wait_for_backup,
)
from coffre_cli.deployed import DeployedStack
from coffre_cli.screen import remark, show_failure
from coffre_cli.vault_choice import VaultChoice

if TYPE_CHECKING:
    from coffre.model.backup import Backup


def back_up_into_vault(
    choice: VaultChoice,
    target: str | None,
    options: tuple[str | None, list[str] | None, str | None],
    wanted: Wanted,
    home: Path | None,
    *,
    as_json: bool,
) -> None:
    """Back up one database into a vault without a stack, and show how it ended."""
    from coffre_cli.commands.backups.backup_alone import Alone, back_up_alone

    url_variable, recipients, document = options
    if target is None or url_variable is None:
        raise typer.BadParameter("with --vault, name the target and the variable with its URL: shop --url-env NAME")
    alone = Alone(target, url_variable, tuple(recipients or ()), document, wanted.full, wanted.keep, home)
    _end([back_up_alone(choice, alone, quiet=as_json)], as_json=as_json, is_one=True)


def back_up_here(
    deployed: DeployedStack, function: str, target: str | None, wanted: Wanted, home: Path | None, *, as_json: bool
) -> None:
    """Run one of the stack's functions in this process for one target, and show how it ended."""
    from ulid import ULID

    from coffre_cli.here import StackHere

    if target is None:
        raise typer.BadParameter("--here backs up one target: name it")
    configuration = deployed.configuration
    if function == "backup_database" and configuration.database(target).databases is not None:
        raise typer.BadParameter(f"{target} is a server: name one of its databases (coffre list shows their names)")
    backup_id, place = str(ULID()), StackHere.of(deployed, home)
    run = place.start(function, {**event_of(target, wanted), "backup_id": backup_id})
    record = wait_for_backup(place, target, backup_id, run, title=f"Backing up {target} here", quiet=as_json)
    if isinstance(record, str):
        remark(f"Skipped: {record}.")
    _end([None if isinstance(record, str) else record], as_json=as_json, is_one=True)


def _end(backups: Sequence[Backup | None], *, as_json: bool, is_one: bool) -> None:
    """Show how backups ended here, and exit with their status; None: it was skipped."""
    for record in backups:
        if record is not None and not as_json:
            show_ended(record)
        elif record is not None and record.failure is not None:
            show_failure(record.failure)
    finish(backups, as_json=as_json, is_one=is_one)
