"""`coffre copy`: put backups into the configured copies, or into any other place."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import asdict
from typing import TYPE_CHECKING, Annotated, Final

import typer

from coffre.model.errors import CoffreError
from coffre.model.words import counted, size
from coffre_cli.backup_argument import resolve_backup
from coffre_cli.commands.backups.copy_to_address import NothingToCopyError, to_address
from coffre_cli.commands.backups.copy_to_copies import to_copies
from coffre_cli.examples import examples
from coffre_cli.exit_status import Exit
from coffre_cli.place import Place, find_place
from coffre_cli.screen import print_json, remark, say, show_error
from coffre_cli.stack_options import JsonOption, StackOption
from coffre_cli.standalone import StandaloneVault

if TYPE_CHECKING:
    from coffre.model.backup import Backup
    from coffre.operations.copy.copy_target import Copied

EXAMPLES = examples(
    "coffre copy",
    "coffre copy latest --target shop --to offsite",
    "coffre copy --all --to offsite",
    "coffre copy latest --to directory:/media/disk",
    "coffre --vault s3://acme-coffre-copy copy --all --to directory:/media/disk",
)
_ADDRESS: Final = re.compile(r"[/.~]|.*[:/]", re.DOTALL)


def copy(
    backup_id: Annotated[
        str | None,
        typer.Argument(metavar="[ID]", help="A backup's id, `latest`, or a day. Default: all that a copy lacks."),
    ] = None,
    everything: Annotated[bool, typer.Option("--all", help="Every good backup, older ones too.")] = False,
    to: Annotated[
        str | None,
        typer.Option(
            "--to",
            metavar="NAME|ADDRESS",
            help="A copy of the configuration, or any place: directory:DIR, s3://BUCKET/PREFIX ... Default: every "
            "copy of the target.",
        ),
    ] = None,
    target: Annotated[str | None, typer.Option(help="Only backups of this target.")] = None,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Show what would be copied, and copy nothing.")] = False,
    stack: StackOption = None,
    as_json: JsonOption = False,
) -> None:
    """Copy backups to the configured copies, or to a disk.

    A copy is the same vault in another place: every command works with it (`coffre --vault`). What exists there is not
    sent again. Nothing is decrypted, and no key is needed. A backup appears in it when it is complete.

    Copies of the configuration are made by the function `copy`, after each backup and daily; this runs it now. A copy
    to an address, and one to a directory of this machine, is made by this command itself.
    """
    if backup_id is not None and everything:
        raise typer.BadParameter("--all and an ID exclude each other")
    place = find_place(stack)
    backup = resolve_backup(place, backup_id, target) if backup_id is not None else None
    is_address = to is not None and _ADDRESS.match(to) is not None
    if to is None and isinstance(place, StandaloneVault):
        raise typer.BadParameter("with --vault, --to has to say where to copy")
    failed: list[CoffreError] = []
    if is_address or isinstance(place, StandaloneVault):
        chosen = _chosen(place, backup, target)
        done = list(to_address(place, chosen, str(to), failed, dry_run=dry_run, quiet=as_json))
    else:
        runs = to_copies(place, backup, target, to, failed, everything=everything, dry_run=dry_run, quiet=as_json)
        done = list(runs)
    if as_json:
        print_json([asdict(one) for one in done])
    elif not dry_run:
        _show(done, is_whole=not failed)
    for error in failed:
        show_error(error)
    if failed:
        raise typer.Exit(Exit.FAILED)


def _chosen(place: Place, backup: Backup | None, target: str | None) -> list[Backup]:
    """Return the backups to copy to an address, of each target the oldest first: it has no records of what is due."""
    from coffre.policy.copies import is_copied

    if backup is not None:
        return [backup]
    if target is not None:
        place.known_target(target)
    found = [one for one in place.catalog.backups(target=target) if is_copied(one)]
    if not found:
        raise NothingToCopyError("There is no good backup to copy.", hint="coffre list shows all of them.")
    return sorted(found, key=lambda one: (one.target, one.id))


def _show(done: Sequence[Copied], *, is_whole: bool) -> None:
    backups = sum(len(one.backups) for one in done)
    for one in done:
        for lacking in one.journal_lacks:
            remark(f"{one.destination} lacks a part of a journal, as the vault does: {lacking}")
    if not backups and (not is_whole or any(one.journal_lacks for one in done)):
        return
    if not backups:
        say("Nothing is missing: every copy has what it should have.", style="green")
        return
    for one in done:
        for backup_id in one.backups:
            say(f"{backup_id} of {one.target} is complete in {one.destination}.")
    sent = sum(one.bytes for one in done)
    packs = counted(sum(one.packs for one in done), "pack")
    say(f"Copied {counted(backups, 'backup')}: {packs} sent, {size(sent)}.", style="green")
