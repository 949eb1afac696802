"""`coffre hold`, `coffre release`: protect one backup from deletion until it is released."""

from __future__ import annotations

import re
import time
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING, Annotated, Any, Final

import typer

from coffre.model.errors import CatalogError, PermanentError, TransientError
from coffre.model.words import counted
from coffre_cli.backup_argument import find_backup
from coffre_cli.deployed import DeployedStack
from coffre_cli.examples import examples
from coffre_cli.follow import bar
from coffre_cli.screen import backup_json, print_json, remark, say
from coffre_cli.stack_choice import find_stack
from coffre_cli.stack_options import JsonOption, StackOption

if TYPE_CHECKING:
    from coffre.model.backup import Backup
    from coffre.model.hold import HoldReport

HOLD_EXAMPLES = examples('coffre hold 01K9X... --reason "case 4711"', "coffre hold 01K9X... --json | jq .held_at")
RELEASE_EXAMPLES = examples("coffre release 01K9X...")
_POLL_SECONDS: Final = 0.5
_REASON_CHARACTERS: Final = 256
_CONTROL: Final = re.compile(r"[\x00-\x1f\x7f-\x9f]")

BackupId = Annotated[str, typer.Argument(metavar="ID", help="A backup's id; its beginning or end is enough.")]


class HoldError(PermanentError):
    """The function refused the request."""

    default_code = "HOLD_FAILED"


class HoldUnfinishedError(TransientError):
    """The hold is recorded, and some objects do not have their legal hold yet, or still have it."""

    default_code = "HOLD_UNFINISHED"


def hold(
    backup_id: BackupId,
    reason: Annotated[
        str | None, typer.Option("--reason", help="Why, for those who read the list later (up to 256 characters).")
    ] = None,
    stack: StackOption = None,
    as_json: JsonOption = False,
) -> None:
    """Keep a backup until it is released: neither rotation nor `coffre delete` removes it.

    With Object Lock, every object of it also gets an S3 legal hold, which no one can delete around. This can be
    repeated, and continues where it was interrupted.
    """
    if reason is not None and (not reason or len(reason) > _REASON_CHARACTERS or _CONTROL.search(reason)):
        raise typer.BadParameter(f"--reason needs 1 to {_REASON_CHARACTERS} characters in one line")
    deployed = find_stack(stack)
    backup = find_backup(deployed, backup_id)
    event = {"hold": backup.id, **({"reason": reason} if reason else {})}
    report = _run(deployed, backup, event, title="Hold", quiet=as_json)
    held = report.backup or backup
    if as_json:
        print_json({**backup_json(held), "legal_holds": report.legal_holds})
        return
    say(f"On hold: neither rotation nor `coffre delete` removes {held.id} of {held.target}.")
    if report.legal_holds:
        total = held.hold_progress.total if held.hold_progress else 0
        say(f"S3 legal holds are set on {counted(total, 'object')}: no version of them can be deleted.")
    else:
        say(
            "This is a record of Coffre's alone: the stack has no Object Lock (parameter ObjectLock). Every role that "
            "may delete from the bucket still can.",
            style="yellow",
        )


def release(backup_id: BackupId, stack: StackOption = None, as_json: JsonOption = False) -> None:
    """End a backup's hold: its tiers decide again how long it is kept.

    With Object Lock, its S3 legal holds are removed, but for those of objects that another backup on hold refers to.
    """
    deployed = find_stack(stack)
    backup = find_backup(deployed, backup_id)
    report = _run(deployed, backup, {"release": backup.id}, title="Release", quiet=as_json)
    released = report.backup or backup
    if as_json:
        print_json(backup_json(released))
    elif backup.held_at is None:
        say(f"{backup.id} was not on hold; nothing was changed.")
    else:
        say(f"Not on hold any more: the tiers of {released.id} decide how long it is kept.")
        if report.shared:
            say(f"{counted(report.shared, 'object')} keep their legal hold: another backup on hold refers to them.")


def _run(deployed: DeployedStack, backup: Backup, event: Mapping[str, Any], *, title: str, quiet: bool) -> HoldReport:
    """Call the function, and call it again as long as it stops for lack of time and gets further each time."""
    while True:
        report = _call(deployed, backup.id, event, title=title, quiet=quiet)
        if report.failure is not None:
            raise HoldError(report.failure.message, code=report.failure.code, hint=report.failure.hint)
        if report.unfinished is None:
            return report
        if report.refused or not report.objects:
            raise HoldUnfinishedError(
                f"{title} of {backup.id} is not finished. The backup is on hold.",
                detail=report.unfinished,
                hint="Correct the cause and repeat the command: it continues. The daily rotation tries it too.",
            )
        if not quiet:
            remark(f"The function's time was over: {report.unfinished} It continues.")


def _call(deployed: DeployedStack, backup_id: str, event: Mapping[str, Any], *, title: str, quiet: bool) -> HoldReport:
    from coffre.model.hold import HoldReport

    catalog = deployed.catalog
    with ThreadPoolExecutor(1) as pool, bar(quiet=quiet) as shown:
        task = shown.add_task(title, total=None, facts="starting")
        calling = pool.submit(deployed.call, "rotate", event)
        while not calling.done():
            time.sleep(_POLL_SECONDS)
            try:
                at = catalog.get_backup(backup_id).hold_progress
            except CatalogError:
                continue
            if at is not None:
                shown.update(task, completed=at.done, total=at.total, facts=f"{at.done:,}/{at.total:,} objects")
        answer, succeeded = calling.result()
    if not succeeded:
        words = answer.get("errorMessage", "") if isinstance(answer, dict) else ""
        raise HoldError(
            "The function rotate stopped. If it got so far, the backup is on hold: coffre show " + backup_id,
            detail=str(words)[:2000],
            hint="Correct the cause, and repeat the command: it continues where it stopped.",
        )
    return HoldReport.model_validate(answer)
