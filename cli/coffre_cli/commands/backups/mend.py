"""`coffre mend`: put back what is damaged or missing of a backup or a journal in the vault, from a copy of it."""

from __future__ import annotations

import contextlib
from dataclasses import asdict
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Annotated, Final

import typer

from coffre.model.errors import CoffreError
from coffre.model.words import counted, size
from coffre_cli.audited import recorded_change
from coffre_cli.backup_argument import resolve_backup
from coffre_cli.commands.backups.mend_journal import mend_journal
from coffre_cli.commands.backups.mend_sources import sources_of
from coffre_cli.examples import examples
from coffre_cli.exit_status import Exit
from coffre_cli.place import Place, find_place
from coffre_cli.screen import error_console, print_json, remark, say, say_command
from coffre_cli.stack_options import JsonOption, StackOption

if TYPE_CHECKING:
    from coffre.model.backup import Backup
    from coffre.operations.copy.mend import Mended
    from coffre.stores.with_copies import Place as Source

EXAMPLES = examples(
    "coffre mend 01K9XT2M4Q --dry-run",
    "coffre mend 01K9XT2M4Q",
    "coffre mend 01K9XT2M4Q --from directory:/media/disk",
    "coffre mend --journal shop --dry-run",
)
_SHOWN: Final = 5


def mend(
    backup_id: Annotated[
        str | None,
        typer.Argument(metavar="[ID]", help="A backup's id (its beginning or end is enough), `latest`, or a day."),
    ] = None,
    source: Annotated[
        str | None,
        typer.Option(
            "--from",
            metavar="NAME|ADDRESS",
            help="Only from this copy of the configuration, or from any place: directory:DIR, s3://BUCKET/PREFIX ... "
            "Default: every copy of the target.",
        ),
    ] = None,
    target: Annotated[str | None, typer.Option(help="The backup's target.")] = None,
    journal: Annotated[
        str | None, typer.Option(metavar="TARGET", help="In place of a backup: the journal of this database.")
    ] = None,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Show what would be put back; change nothing.")] = False,
    stack: StackOption = None,
    as_json: JsonOption = False,
) -> None:
    """Put back what is damaged or missing of a backup or a journal in the vault, from a copy of it.

    It looks at what verification has found, at what the vault lacks, and at the backup's own records. Each object is
    taken from a copy that has it exactly as it was stored, so no key is needed. The damaged one is deleted first: in a
    bucket with versions it stays as an older version. Your own credentials need the right to delete and to write there.

    Whether the backup is whole again, reading all of it says: coffre verify ID. A journal is looked at again by the
    command itself: it ends with 1, and names the moments, if something of it stays lost.
    """
    if (backup_id is None) == (journal is None) or (journal is not None and target is not None):
        raise typer.BadParameter("name one of them: a backup (coffre mend ID), or a journal (--journal TARGET)")
    place = find_place(stack)
    if journal is not None:
        mend_journal(place, journal, source, dry_run=dry_run, as_json=as_json)
        return
    backup = resolve_backup(place, backup_id or "", target)
    sources = sources_of(place, backup.target, source, backup.id)
    names = ", ".join(one.name for one in sources)
    with contextlib.ExitStack() as held:
        if not dry_run:
            held.enter_context(recorded_change(place, backup.target, backup.id, "backup.mended", f"from {names}"))
        done = _mend(place, backup, sources, dry_run=dry_run, quiet=as_json)
    if as_json:
        print_json(asdict(done))
    else:
        _show(done, backup, dry_run=dry_run)
    if done.lost:
        raise typer.Exit(Exit.FAILED)


def _mend(place: Place, backup: Backup, sources: list[Source], *, dry_run: bool, quiet: bool) -> Mended:
    from coffre.operations.copy.mend import MendJob, mend
    from coffre.operations.stored_backup.read_copies import reading
    from coffre.stores.with_copies import VAULT

    def report(name: str, error: CoffreError) -> None:
        if name != VAULT:  # what is wrong with the vault is what is mended
            remark(f"The copy {name} cannot be read: {error.message} [{error.code}]")

    job = MendJob(
        backups=place.catalog,
        vault=place.vault,
        whole=reading(place.vault, sources, None, report),
        backup=backup,
        now=lambda: datetime.now(UTC),
        dry_run=dry_run,
    )
    with error_console.status(f"Mending {backup.id} of {backup.target}", spinner="dots") as status:
        if quiet:
            status.stop()
        try:
            return mend(job)
        except KeyboardInterrupt:
            remark(f"Interrupted. What was put back stays; the same command continues: coffre mend {backup.id}")
            raise typer.Exit(Exit.INTERRUPTED) from None


def _show(done: Mended, backup: Backup, *, dry_run: bool) -> None:
    for key, why in list(done.lost.items())[:_SHOWN]:
        say(f"No place has good bytes of {key}: {why}", style="red")
    if len(done.lost) > _SHOWN:
        say(f"... and of {len(done.lost) - _SHOWN:,} more objects.", style="red")
    if not done.keys and not done.lost:
        say(f"Nothing of {backup.id} is missing, or known to be damaged. To read every byte: coffre verify {backup.id}")
        return
    would = "would be put back" if dry_run else "put back"
    objects = counted(len(done.keys), "object")
    say(f"{objects} of {backup.id} {would}, {size(done.size_bytes)}.", style="" if done.lost else "green")
    if done.keys and done.marked and not dry_run:
        say("These backups are marked as damaged. Each counts again when all of it was read:")
        for backup_id in done.marked:
            say_command(f"coffre verify {backup_id}")
