"""`coffre pin`, `coffre unpin`, `coffre delete`: decisions of the operator about one backup."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import typer

from coffre.model.words import size
from coffre.runtime.failed_answer import FunctionFailedError
from coffre_cli.backup_argument import find_backup
from coffre_cli.confirming import (
    Confirmed,
    PlanAnswer,
    ask_name,
    count_down,
    refuse_without_terminal,
    show_loss,
    wait_for_approval,
)
from coffre_cli.deployed import DeployedStack, StackUnreachableError
from coffre_cli.examples import examples
from coffre_cli.screen import age, backup_json, print_json, remark, say
from coffre_cli.stack_choice import find_stack
from coffre_cli.stack_options import JsonOption, StackOption

if TYPE_CHECKING:
    from coffre.model.backup import Backup

PIN_EXAMPLES = examples("coffre pin 01K9X...")
UNPIN_EXAMPLES = examples("coffre unpin 01K9X...")
DELETE_EXAMPLES = examples("coffre delete 01K9X...", "coffre delete 01K9X... --dry-run", "coffre delete 01K9X... --yes")

BackupId = Annotated[str, typer.Argument(metavar="ID", help="A backup's id; its beginning or end is enough.")]


def pin(backup_id: BackupId, stack: StackOption = None, as_json: JsonOption = False) -> None:
    """Keep a backup until it is unpinned, whatever its tiers are."""
    deployed = find_stack(stack)
    backup = _change(deployed, "pin", find_backup(deployed, backup_id))
    _show(backup, f"Pinned: rotation never deletes {backup.id}.", as_json=as_json)


def unpin(backup_id: BackupId, stack: StackOption = None, as_json: JsonOption = False) -> None:
    """Remove a backup's pin: its tiers decide again how long it is kept."""
    deployed = find_stack(stack)
    backup = _change(deployed, "unpin", find_backup(deployed, backup_id))
    _show(backup, f"Not pinned any more: the tiers of {backup.id} decide how long it is kept.", as_json=as_json)


def delete(
    backup_id: BackupId,
    force: Annotated[
        bool, typer.Option("--force", help="Delete it even if it is the only one, or the newest verified one.")
    ] = False,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Show what would be deleted; change nothing.")] = False,
    yes: Annotated[bool, typer.Option("--yes", "-y", help="Confirm the plan without asking.")] = False,
    stack: StackOption = None,
    as_json: JsonOption = False,
) -> None:
    """Delete one backup now. Data that other backups need is kept.

    Pinned backups, the only backup of a target, and its newest verified one are refused. What is deleted and what
    remains is shown, the target's name is typed, and ten seconds later it is deleted. The catalog keeps the record, and
    who deleted it.
    """
    deployed = find_stack(stack)
    backup = find_backup(deployed, backup_id)
    wanted = {"backup_id": backup.id, **({"force": True} if force else {})}
    if not (yes or dry_run):
        refuse_without_terminal("which backups exist")
    answer = PlanAnswer.of(deployed.ask("rotate", {"delete": {**wanted, "dry_run": True}}))
    if dry_run:
        _show_plan(answer, as_json=as_json)
        return
    confirmed = _confirmed(deployed, backup, answer, yes=yes)
    deployed.ask("rotate", {"delete": wanted, "confirmation": confirmed.in_event})
    try:
        deployed.start("rotate", {"target": backup.target})
    except StackUnreachableError as error:
        remark(f"{error.message} The next daily rotation removes its data.")
    deleted = deployed.catalog.get_backup(backup.id)
    text = f"Deleted {deleted.id} of {deleted.target} ({size(deleted.stored_bytes)} added by it are being removed)."
    _show(deleted, text, as_json=as_json)


def _confirmed(deployed: DeployedStack, backup: Backup, answer: PlanAnswer, *, yes: bool) -> Confirmed:
    name = str(answer.plan["name"])
    if not yes:
        tiers = " ".join(tier.lower() for tier in backup.tiers)
        remark(f"Backup {backup.id} of {backup.target} ({tiers}), taken {age(backup.created_at)}.")
        show_loss(answer.plan["destination"], answer.lost)
        name = ask_name(name)
    wait_for_approval(deployed, answer)
    if not yes:
        count_down()
    return Confirmed(name, answer)


def _show_plan(answer: PlanAnswer, *, as_json: bool) -> None:
    if as_json:
        print_json(dict(answer.plan))
        return
    say("Nothing was changed.")
    show_loss(answer.plan["destination"], answer.lost)


def _change(deployed: DeployedStack, wanted: str, backup: Backup) -> Backup:
    from coffre.model.hold import PinReport

    report = PinReport.model_validate(deployed.ask("rotate", {wanted: backup.id}))
    if report.failure is not None:
        raise FunctionFailedError(report.failure.message, code=report.failure.code, hint=report.failure.hint)
    return report.backup or backup


def _show(backup: Backup, text: str, *, as_json: bool) -> None:
    if as_json:
        print_json(backup_json(backup))
    else:
        say(text)
