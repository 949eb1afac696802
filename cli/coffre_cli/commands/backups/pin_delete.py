"""`coffre pin`, `coffre unpin`, `coffre delete`: decisions of the operator about one backup."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import TYPE_CHECKING, Annotated

import typer

from coffre.model.words import size
from coffre_cli.backup_argument import find_backup
from coffre_cli.deployed import DeployedStack, JsonOption, StackOption, StackUnreachableError, find_stack
from coffre_cli.examples import examples
from coffre_cli.screen import age, backup_json, print_json, remark, say

if TYPE_CHECKING:
    from coffre.model.backup import Backup
    from coffre.operations.admin.pin_and_delete import BackupAdmin

PIN_EXAMPLES = examples("coffre pin 01K9X...")
UNPIN_EXAMPLES = examples("coffre unpin 01K9X...")
DELETE_EXAMPLES = examples("coffre delete 01K9X...", "coffre delete 01K9X... --yes")

BackupId = Annotated[str, typer.Argument(metavar="ID", help="A backup's id; its beginning or end is enough.")]


def pin(backup_id: BackupId, stack: StackOption = None, as_json: JsonOption = False) -> None:
    """Keep a backup until it is unpinned, whatever its tiers are."""
    deployed = find_stack(stack)
    backup = _keeper(deployed).pin(find_backup(deployed, backup_id).id)
    _show(backup, f"Pinned: rotation never deletes {backup.id}.", as_json=as_json)


def unpin(backup_id: BackupId, stack: StackOption = None, as_json: JsonOption = False) -> None:
    """Remove a backup's pin: its tiers decide again how long it is kept."""
    deployed = find_stack(stack)
    backup = _keeper(deployed).unpin(find_backup(deployed, backup_id).id)
    _show(backup, f"Not pinned any more: the tiers of {backup.id} decide how long it is kept.", as_json=as_json)


def delete(
    backup_id: BackupId,
    force: Annotated[
        bool, typer.Option("--force", help="Delete it even if it is the only one, or the newest verified one.")
    ] = False,
    yes: Annotated[bool, typer.Option("--yes", "-y", help="Do not ask.")] = False,
    stack: StackOption = None,
    as_json: JsonOption = False,
) -> None:
    """Delete one backup now. Data that other backups need is kept.

    Pinned backups, the only backup of a target, and its newest verified one are refused. The catalog keeps the record,
    and who deleted it.
    """
    deployed = find_stack(stack)
    keeper = _keeper(deployed)
    backup = keeper.refuse_deletion(find_backup(deployed, backup_id).id, force=force)
    if not yes:
        tiers = " ".join(tier.lower() for tier in backup.tiers)
        remark(f"Backup {backup.id} of {backup.target} ({tiers}), taken {age(backup.created_at)}.")
        typer.confirm("Delete it?", abort=True, err=True)
    deleted = keeper.delete(backup.id, force=force)
    try:
        deployed.start("rotate", {"target": deleted.target})
    except StackUnreachableError as error:
        remark(f"{error.message} The next daily rotation removes its data.")
    text = f"Deleted {deleted.id} of {deleted.target} ({size(deleted.stored_bytes)} added by it are being removed)."
    _show(deleted, text, as_json=as_json)


def _keeper(deployed: DeployedStack) -> BackupAdmin:
    from coffre.operations.admin.pin_and_delete import BackupAdmin

    return BackupAdmin(deployed.catalog, deployed.vault, deployed.caller, datetime.now(UTC))


def _show(backup: Backup, text: str, *, as_json: bool) -> None:
    if as_json:
        print_json(backup_json(backup))
    else:
        say(text)
