"""Start backups, wait for them, and show how they ended."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import typer

from coffre.model.errors import BackupStateError
from coffre.model.kinds import Status, TargetKind
from coffre.model.tier import Tier
from coffre.model.words import counted, duration, size
from coffre_cli.deployed import DeployedStack, Started
from coffre_cli.exit_status import Exit
from coffre_cli.screen import backup_json, print_json, remark, say, say_command, show_failure

if TYPE_CHECKING:
    from coffre.model.backup import Backup


@dataclass(frozen=True)
class Wanted:
    """The options of a backup besides the target."""

    full: bool = False
    keep: str | None = None


def report_all(deployed: DeployedStack, started: Mapping[str, str], *, as_json: bool, is_one: bool) -> None:
    """Follow the backups that were started, ids by targets; `is_one`: the user named this one target."""
    if deployed.configuration.encryption == "none":
        remark("Warning: the configuration has encryption none: backups are NOT encrypted by Coffre.")
    backups = [follow_backup(deployed, name, backup_id, quiet=as_json) for name, backup_id in started.items()]
    finish(backups, as_json=as_json, is_one=is_one)


def finish(backups: Sequence[Backup | None], *, as_json: bool, is_one: bool) -> None:
    """Print backups that have ended as JSON if it is wanted, and exit with their status; None: it was skipped."""
    if as_json:
        done = [backup_json(found) for found in backups if found is not None]
        print_json(next(iter(done), None) if is_one else done)
    statuses = {found.status if found else None for found in backups}
    if Status.FAILED in statuses:
        raise typer.Exit(Exit.FAILED)
    if None in statuses:
        raise typer.Exit(Exit.SKIPPED)
    if any(found.exceptions for found in backups if found is not None):
        raise typer.Exit(Exit.EXCEPTIONS)


def start_each(deployed: DeployedStack, function: str, names: Sequence[str], wanted: Wanted) -> dict[str, str]:
    """Start a backup of each target, before any is waited for: a slow one does not hold up the others."""
    return {name: start_backup(deployed, function, name, full=wanted.full, keep=wanted.keep) for name in names}


def start_servers(deployed: DeployedStack, servers: Sequence[str], wanted: Wanted) -> dict[str, str]:
    """Let the function find the databases of each server and start their backups; return their ids by targets."""
    started: dict[str, str] = {}
    for server in servers:
        remark(f"Looking for the databases of {server}.")
        started |= deployed.ask("backup_database", event_of(server, wanted))["backups"]
    return started


def start_backup(
    deployed: DeployedStack,
    function: str,
    target: str,
    *,
    full: bool = False,
    keep: str | None = None,
    more: Mapping[str, Any] | None = None,
) -> str:
    """Start a backup by hand, and return the id that it will have; `more` are fields of the event besides."""
    from ulid import ULID

    backup_id = str(ULID())
    deployed.start(function, {**event_of(target, Wanted(full, keep)), **(more or {}), "backup_id": backup_id})
    return backup_id


def event_of(target: str, wanted: Wanted) -> dict[str, Any]:
    """Return the event of a backup by hand, without its id."""
    event = {"target": target, "tier": Tier.MANUAL.value, "full": wanted.full}
    return event | ({"keep": wanted.keep} if wanted.keep else {})


def wait_for_backup(
    deployed: DeployedStack, target: str, backup_id: str, run: Started | None = None, *, title: str, quiet: bool
) -> Backup | str:
    """Wait for a backup, and return its record; why it was skipped, if it was.

    Raises
    ------
    NotStartedError, CatalogError
        As `follow`.
    CoffreError
        What ended a run in this process before it had a record.
    """
    from coffre_cli.follow import follow, left_on_interrupt

    def skipped() -> str | None:
        for event in deployed.catalog.audit.events(target=target):
            if event.subject == backup_id:
                return event.detail
            if str(event.id) < backup_id:
                break
        return None

    started = run or Started()
    with left_on_interrupt(deployed, backup_id):
        try:
            record = follow(
                lambda: deployed.catalog.get_backup(backup_id),
                title=title,
                quiet=quiet,
                has_ended=lambda: started.has_ended() or skipped() is not None,
            )
        except BackupStateError:
            started.result()
            return skipped() or "it has no record"
        started.settle()
        return record


def follow_backup(deployed: DeployedStack, target: str, backup_id: str, *, quiet: bool) -> Backup | None:
    """Wait for a backup and show how it ended; None when it was skipped."""
    record = wait_for_backup(deployed, target, backup_id, title=f"Backing up {target}", quiet=quiet)
    if isinstance(record, str):
        remark(f"Skipped: {record}.")
        return None
    if not quiet:
        show_ended(record)
    elif record.failure is not None:
        show_failure(record.failure)
    return record


def show_ended(record: Backup) -> None:
    """Show how a backup ended, and what can be done with it."""
    if record.failure is not None:
        say(f"The backup of {record.target} failed. Nothing was published; older backups are untouched.", style="red")
        show_failure(record.failure)
        return
    has_objects, is_bucket = record.kind.has_objects, record.kind is TargetKind.BUCKET
    is_code = record.kind is TargetKind.REPOSITORY
    noun = "objects" if is_bucket else "refs, bundles and LFS objects" if is_code else "settings"
    what = f"{record.objects or 0:,} {noun}" if has_objects else f"{record.tables} tables, {record.rows:,} rows"
    if record.unread:
        what += f" ({record.unread:,} more could not be read)"
    say(
        f"Backed up {record.target}: {what}, {size(record.plaintext_bytes)} in {duration(record.duration_ms)}; "
        f"{size(record.stored_bytes)} stored.",
        style="green",
    )
    if record.spread is not None:
        say(f"Up to {counted(record.workers or 1, 'function')} read it together. {record.spread}")
    if record.expires_at is not None:
        say(f"It is kept until {record.expires_at:%Y-%m-%d %H:%M} UTC, then rotation deletes it.")
    for exception in record.exceptions:
        say(f"  Exception: {exception}", style="yellow")
    for note in record.notes:
        say(f"  Note: {note}")
    if is_bucket:
        say("List its objects, and restore them:")
        say_command(f"coffre ls {record.id}")
        say_command(f"coffre restore objects {record.id} --dry-run")
        return
    if is_code:
        say("List its refs, and restore its repositories:")
        say_command(f"coffre ls {record.id} --recursive")
        say_command(f"coffre restore repositories {record.id} --dry-run")
        return
    if has_objects:
        say("List their names, and what a restore would change:")
        say_command(f"coffre ls {record.id} --recursive")
        say_command(f"coffre restore settings {record.id} --dry-run")
        return
    say("To restore it into a new database:")
    say_command(f"coffre restore database {record.id} --to postgresql://USER@HOST/NEW")
