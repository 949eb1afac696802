"""Copies to any address, made by the process of the command: one backup after the other."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING

import typer

from coffre.model.errors import CoffreError, CopyError, IntegrityError, PermanentError
from coffre.model.words import size
from coffre_cli.exit_status import Exit
from coffre_cli.place import Place
from coffre_cli.screen import error_console, print_table, remark, say

if TYPE_CHECKING:
    from coffre.model.backup import Backup
    from coffre.operations.copy.copy_target import Copied


class NothingToCopyError(PermanentError):
    """No destination, or no backup, is meant."""

    default_code = "NOTHING_TO_COPY"


def to_address(
    place: Place, backups: Sequence[Backup], to: str, failed: list[CoffreError], *, dry_run: bool, quiet: bool
) -> Iterator[Copied]:
    """Copy one backup after the other. A damaged one costs itself alone, other errors end it; `failed` gets both."""
    from coffre.model.addresses import parse_address
    from coffre.operations.copy.copy_backup import CopyJob, Sent, copy_backup
    from coffre.operations.copy.copy_target import Copied
    from coffre.operations.stored_backup.copied_records import copy_records
    from coffre.runtime.copy_destinations import open_address
    from coffre.vault.vault import Vault

    address = parse_address(to)
    if dry_run:
        show_plan((one.target, to, one) for one in backups)
        return
    destination = Vault(open_address(address))
    for backup in backups:
        words = f"Copying {backup.id} of {backup.target}"
        with error_console.status(words, spinner="dots") as status:
            if quiet:
                status.stop()

            def progress(sent: Sent, packs: int, total: int, words: str = words) -> None:
                status.update(f"{words}: {sent.packs:,} of {packs:,} packs, {size(sent.bytes)} of {size(total)}")

            job = CopyJob(place.vault, destination, backup, to, on_progress=progress)
            try:
                sent = copy_backup(job)
            except KeyboardInterrupt:
                remark(
                    f"Interrupted. What is copied stays, and {backup.id} does not look complete in {to}: run it again."
                )
                raise typer.Exit(Exit.INTERRUPTED) from None
            except (CopyError, IntegrityError) as error:
                failed.append(error)
                continue
            except CoffreError as error:
                failed.append(error)
                return
        yield Copied(to, backup.target).plus(backup, sent)
    for target in sorted({backup.target for backup in backups}):
        copy_records(place.vault, destination, target)


def show_plan(planned: Iterator[tuple[str, str, Backup]]) -> None:
    """Print what would be copied: target, place and backup of each."""
    rows = [[name, to, one.id, f"{one.created_at:%Y-%m-%d %H:%M}", size(one.stored_bytes)] for name, to, one in planned]
    if not rows:
        say("Nothing is missing: every copy has what it should have.")
        return
    print_table(["TARGET", "TO", "BACKUP", "TAKEN", "ADDED BY IT"], rows, right=["ADDED BY IT"])
    say("Nothing was copied.")
