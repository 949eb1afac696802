"""Copies to those of the configuration, made by the function `copy`; to a directory of this machine by the command."""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import typer

from coffre.model.errors import CoffreError
from coffre_cli.commands.backups.copy_to_address import NothingToCopyError, show_plan, to_address
from coffre_cli.deployed import DeployedStack
from coffre_cli.exit_status import Exit
from coffre_cli.screen import error_console, remark

if TYPE_CHECKING:
    from coffre.model.backup import Backup
    from coffre.model.copies import Destination
    from coffre.operations.copy.copy_target import Copied


_POLL_SECONDS: Final = 3.0


def to_copies(
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
        show_plan(_planned(deployed, runs, backup, everything=everything))
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
                here = list(to_address(deployed, chosen, f"directory:{path}", failed, dry_run=False, quiet=quiet))
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
            lists = {name: tuple(answer.get(name, ())) for name in ("backups", "journal_lacks")}
            copied = Copied(**{**answer, **lists})
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
