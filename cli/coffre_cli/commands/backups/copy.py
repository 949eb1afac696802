"""`coffre copy`: put backups into the configured copies, or into any other place."""

from __future__ import annotations

import re
import time
from collections.abc import Iterator, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Final

import typer

from coffre.model.errors import CoffreError, CopyError, IntegrityError, PermanentError
from coffre.model.words import counted, size
from coffre_cli.backup_argument import resolve_backup
from coffre_cli.deployed import DeployedStack
from coffre_cli.examples import examples
from coffre_cli.exits import Exit
from coffre_cli.place import Place, find_place
from coffre_cli.screen import error_console, print_json, print_table, remark, say, show_error
from coffre_cli.stack_options import JsonOption, StackOption
from coffre_cli.standalone import StandaloneVault

if TYPE_CHECKING:
    from coffre.model.backup import Backup
    from coffre.model.copies import Destination
    from coffre.operations.copy.copy_target import Copied

EXAMPLES = examples(
    "coffre copy",
    "coffre copy latest --target shop --to offsite",
    "coffre copy --all --to offsite",
    "coffre copy latest --to directory:/media/disk",
    "coffre --vault s3://acme-coffre-copy copy --all --to directory:/media/disk",
)
_ADDRESS: Final = re.compile(r"[/.~]|.*[:/]", re.DOTALL)
_POLL_SECONDS: Final = 3.0


class NothingToCopyError(PermanentError):
    """No destination, or no backup, is meant."""

    default_code = "NOTHING_TO_COPY"


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
        done = list(_to_address(place, chosen, str(to), failed, dry_run=dry_run, quiet=as_json))
    else:
        runs = _to_copies(place, backup, target, to, failed, everything=everything, dry_run=dry_run, quiet=as_json)
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


# --- to an address, in this process ---


def _to_address(
    place: Place, backups: Sequence[Backup], to: str, failed: list[CoffreError], *, dry_run: bool, quiet: bool
) -> Iterator[Copied]:
    """Copy one backup after the other. A damaged one costs itself alone, other errors end it; `failed` gets both."""
    from coffre.model.addresses import parse_address
    from coffre.operations.copy.copy_backup import CopyJob, Sent, copy_backup
    from coffre.operations.copy.copy_target import Copied
    from coffre.operations.stored_backup.copied_records import copy_records
    from coffre.runtime.destinations import open_address
    from coffre.vault.vault import Vault

    address = parse_address(to)
    if dry_run:
        _show_plan((one.target, to, one) for one in backups)
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


# --- to the copies of the configuration, by the function ---


def _to_copies(
    deployed: DeployedStack,
    backup: Backup | None,
    target: str | None,
    to: str | None,
    failed: list[CoffreError],
    *,
    everything: bool,
    dry_run: bool,
    quiet: bool,
) -> Iterator[Copied]:
    """Copy each target to each of its destinations. One that fails keeps no other from its copy; `failed` gets it."""
    runs = list(_runs(deployed, backup.target if backup else target, to))
    if not runs:
        raise NothingToCopyError(
            "The configuration has no copy of this target." if target or backup else "The configuration has no copies.",
            hint="Add one (docs/copies.md): coffre config edit. Or name a place: coffre copy latest --to directory:DIR",
        )
    if dry_run:
        _show_plan(_planned(deployed, runs, backup, everything=everything))
        return
    for name, destination in runs:
        event: dict[str, Any] = {"target": name, "to": destination.name}
        event |= {"backup_id": backup.id} if backup else {"all": True} if everything else {}
        copied = None
        try:
            for copied in _until_done(deployed, event, quiet=quiet):
                if copied.left_out is None:
                    yield copied
        except CoffreError as error:
            failed.append(error)
            continue
        if copied is not None and copied.left_out is not None:
            chosen = [one for _, _, one in _planned(deployed, [(name, destination)], backup, everything=everything)]
            path = _directory_here(destination)
            if path is not None:
                here = list(_to_address(deployed, chosen, f"directory:{path}", failed, dry_run=False, quiet=quiet))
                _record(deployed, destination, here)
                yield from here
            else:
                _leave_out(destination, copied.left_out, is_named=to is not None)


def _record(deployed: DeployedStack, destination: Destination, done: Sequence[Copied]) -> None:
    """Have the stack record what was copied here, so that it counts; what cannot be recorded is copied all the same."""
    backups = [one for copied in done for one in copied.backups]
    if not backups:
        return
    try:
        deployed.ask("copy", {"copied": {"to": destination.name, "backups": backups}})
    except CoffreError as error:
        remark(f"The stack did not record the copies in {destination.name}: {error.message} [{error.code}]")


def _leave_out(destination: Destination, why: str, *, is_named: bool) -> None:
    """Report a directory that neither the function nor this machine has; one that was named is an error."""
    if is_named:
        raise NothingToCopyError(
            f"Nothing was copied to {destination.name}: {why}, and this machine neither.",
            code="COPY_NOT_POSSIBLE",
            hint=f"Where it exists: coffre copy --all --to {destination.name}",
        )
    remark(f"{destination.name} was left out: {why}, and this machine neither.")


def _directory_here(destination: Destination) -> str | None:
    """Return the path of a copy that is a directory of this machine, such as a disk."""
    from coffre.model.copies import DirectoryDestination

    store = destination.store
    return store.path if isinstance(store, DirectoryDestination) and Path(store.path).is_dir() else None


def _runs(deployed: DeployedStack, target: str | None, to: str | None) -> Iterator[tuple[str, Destination]]:
    configuration = deployed.configuration
    if to is not None:
        configuration.destination(to)
    if target is not None:
        deployed.known_target(target)
    for one in configuration.targets:
        for destination in configuration.copies_of(one.name):
            is_meant = target in (None, one.name) and to in (None, destination.name)
            if is_meant and (to is not None or destination.copied_by == "coffre"):
                yield one.name, destination


def _planned(
    deployed: DeployedStack, runs: Sequence[tuple[str, Destination]], backup: Backup | None, *, everything: bool
) -> Iterator[tuple[str, str, Backup]]:
    from coffre.policy.copies import due_copies, is_copied

    for name, destination in runs:
        good = [one for one in deployed.catalog.completed_backups(name) if is_copied(one)]
        copies = {copy.backup_id: copy for copy in deployed.catalog.copies.of(destination.name)}
        chosen = [backup] if backup else good if everything else due_copies(good, copies)
        yield from ((name, destination.name, one) for one in chosen)


def _until_done(deployed: DeployedStack, event: dict[str, Any], *, quiet: bool) -> Iterator[Copied]:
    """Run the function, and again until nothing is left: it continues by itself what takes several invocations."""
    from coffre.operations.copy.copy_target import Copied

    words = f"Copying {event['target']} to {event['to']}"
    with error_console.status(words, spinner="dots") as status:
        if quiet:
            status.stop()
        while True:
            answer = deployed.ask("copy", event)
            copied = Copied(**{**answer, "backups": tuple(answer["backups"])})
            if not copied.busy:
                yield copied
            if copied.unfinished is None and not copied.busy:
                return
            status.update(f"{words}: it continues in the stack")
            _wait(deployed, copied)


def _wait(deployed: DeployedStack, copied: Copied) -> None:
    """Wait until the copy that continues in the stack has ended, or shall be asked for again."""
    from coffre.model.copies import CopyStatus

    try:
        time.sleep(_POLL_SECONDS)
        while copied.unfinished is not None:
            found = deployed.catalog.copies.find(copied.destination, copied.unfinished)
            if found is None or found.status is not CopyStatus.IN_PROGRESS:
                return
            time.sleep(_POLL_SECONDS)
    except KeyboardInterrupt:
        remark("Interrupted. The function copy continues in the stack until it is done: coffre status shows it.")
        raise typer.Exit(Exit.INTERRUPTED) from None


# --- showing it ---


def _show_plan(planned: Iterator[tuple[str, str, Backup]]) -> None:
    rows = [[name, to, one.id, f"{one.created_at:%Y-%m-%d %H:%M}", size(one.stored_bytes)] for name, to, one in planned]
    if not rows:
        say("Nothing is missing: every copy has what it should have.")
        return
    print_table(["TARGET", "TO", "BACKUP", "TAKEN", "ADDED BY IT"], rows, right=["ADDED BY IT"])
    say("Nothing was copied.")


def _show(done: Sequence[Copied], *, is_whole: bool) -> None:
    backups = sum(len(one.backups) for one in done)
    if not backups and not is_whole:
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
