"""`coffre backup`: take a backup now."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from coffre.model.errors import BackupStateError, TargetUnknownError
from coffre.model.kinds import Status, TargetKind, Tier
from coffre.model.times import parse_span
from coffre.model.words import counted, duration, size
from coffre_cli.deployed import (
    DeployedStack,
    HereOption,
    HomeOption,
    JsonOption,
    StackOption,
    Started,
    find_stack,
)
from coffre_cli.examples import examples
from coffre_cli.exits import Exit
from coffre_cli.screen import backup_json, print_json, remark, say, say_command, show_failure
from coffre_cli.vault_choice import VaultChoice, chosen_vault, refuse_vault

if TYPE_CHECKING:
    from coffre.model.backup import Backup


def _span(text: str) -> str:
    try:
        parse_span(text)
    except ValueError as error:
        raise typer.BadParameter(str(error)) from None
    return text


KeepOption = Annotated[
    str | None,
    typer.Option(
        "--keep",
        metavar="TIME",
        parser=_span,
        help="How long to keep it: 12h, 7d, 4w. Then rotation deletes it. Default: until it is deleted by hand.",
    ),
]

app = typer.Typer(
    help="Take a backup now.",
    epilog=examples(
        "coffre backup database", "coffre backup database shop", "coffre backup buckets files", "coffre backup settings"
    ),
    no_args_is_help=True,
    rich_markup_mode=None,
)


@dataclass(frozen=True)
class Wanted:
    """The options of a backup besides the target."""

    full: bool = False
    keep: str | None = None


@app.callback()
def backup() -> None:
    """Take a backup now."""


@app.command(
    "database",
    short_help="Back up one database, those of a server, or every one.",
    epilog=examples(
        "coffre backup database",
        "coffre backup database shop --stack coffre",
        "coffre backup database shop --keep 7d",
        "coffre backup database shop --json | jq -r .id",
        "coffre backup database shop --here --stack coffre",
    ),
)
def backup_database(
    target: Annotated[
        str | None, typer.Argument(help="A target's or a server's name. Default: every database.")
    ] = None,
    full: Annotated[bool, typer.Option("--full", help="Store everything again, without earlier backups.")] = False,
    keep: KeepOption = None,
    here: HereOption = False,
    postgres_home: HomeOption = None,
    url_env: Annotated[
        str | None,
        typer.Option(
            "--url-env", metavar="NAME", help="With --vault: the variable with the database's postgresql:// URL."
        ),
    ] = None,
    recipient: Annotated[
        list[str] | None,
        typer.Option("--recipient", metavar="AGE1...", help="With --vault: a public key that can read it. Repeatable."),
    ] = None,
    configuration_file: Annotated[
        str | None,
        typer.Option(
            "--configuration", metavar="FILE", help="With --vault: the configuration document with the target."
        ),
    ] = None,
    stack: StackOption = None,
    as_json: JsonOption = False,
) -> None:
    """Back up one database target, those of a server, or all of them, and wait for the end.

    The databases of a server are found first: new ones are backed up too. The function runs in the stack; this command
    follows its heartbeat in the catalog and may be interrupted.

    With --here the backup runs in this process: in a pipeline, or where only your machine reaches the database. With
    --vault it needs no stack at all (docs/ci.md).
    """
    wanted = Wanted(full, keep)
    choice = chosen_vault()
    refuse_options(choice, here=here, home=postgres_home, alone=(url_env, recipient, configuration_file))
    if choice is not None:
        _back_up_alone(choice, target, (url_env, recipient, configuration_file), wanted, postgres_home, as_json=as_json)
        return
    deployed = find_stack(stack)
    if here:
        _back_up_here(deployed, "backup_database", target, wanted, postgres_home, as_json=as_json)
        return
    configuration = deployed.configuration
    named = (configuration.database(target),) if target else configuration.started_databases
    servers = [one.name for one in named if one.databases is not None]
    started = {
        **start_each(deployed, "backup_database", [one.name for one in named if one.databases is None], wanted),
        **start_servers(deployed, servers, wanted),
    }
    report_all(deployed, started, as_json=as_json, is_one=target is not None and not servers)


# The name until it was `buckets`.
@app.command("storage", hidden=True)
@app.command(
    "buckets",
    short_help="Back up the buckets of one target, or of every one.",
    epilog=examples(
        "coffre backup buckets",
        "coffre backup buckets files --stack coffre",
        "coffre backup buckets files --keep 4w",
        "coffre backup buckets files --json | jq '.objects, .exceptions'",
    ),
)
def backup_buckets(
    target: Annotated[str | None, typer.Argument(help="The target's name. Default: every target of buckets.")] = None,
    full: Annotated[bool, typer.Option("--full", help="Store everything again, without earlier backups.")] = False,
    keep: KeepOption = None,
    here: HereOption = False,
    stack: StackOption = None,
    as_json: JsonOption = False,
) -> None:
    """Back up the buckets of one target, or of all of them, and wait for the end.

    Only new and changed objects are read. What one invocation of the function cannot finish, the next one continues.
    This command follows the heartbeat in the catalog and may be interrupted. With --here it runs in this process.
    """
    refuse_vault("backup buckets")
    deployed = find_stack(stack)
    if here:
        _back_up_here(deployed, "backup_storage", target, Wanted(full, keep), None, as_json=as_json)
        return
    configuration = deployed.configuration
    names = [configuration.bucket(target).name] if target else [item.name for item in configuration.buckets]
    if not names:
        raise TargetUnknownError(
            "No target of buckets is configured.",
            hint='Add one to the configuration document ("kind": "bucket"): docs/storage.md has examples.',
        )
    started = start_each(deployed, "backup_storage", names, Wanted(full, keep))
    report_all(deployed, started, as_json=as_json, is_one=target is not None)


@app.command(
    "repositories",
    short_help="Back up the Git repositories of one target, or of every one.",
    epilog=examples(
        "coffre backup repositories",
        "coffre backup repositories code --stack coffre",
        "coffre backup repositories code --here",
        "coffre backup repositories code --full --json | jq .exceptions",
    ),
)
def backup_repositories(
    target: Annotated[
        str | None, typer.Argument(help="The target's name. Default: every target of repositories.")
    ] = None,
    full: Annotated[bool, typer.Option("--full", help="Store everything again, without earlier backups.")] = False,
    keep: KeepOption = None,
    here: HereOption = False,
    stack: StackOption = None,
    as_json: JsonOption = False,
) -> None:
    """Back up the Git repositories of one target, or of all of them, and wait for the end.

    A repository whose refs are unchanged is not fetched. What is new becomes a bundle, which is cloned and checked
    before it counts. With --here it runs in this process: for repositories that are reached over ssh, or that do not
    fit on the function's disk.
    """
    refuse_vault("backup repositories")
    deployed = find_stack(stack)
    if here:
        _back_up_here(deployed, "backup_storage", target, Wanted(full, keep), None, as_json=as_json)
        return
    configuration = deployed.configuration
    named = [configuration.repository_target(target)] if target else configuration.repositories
    if not named:
        raise TargetUnknownError(
            "No target of repositories is configured.",
            hint='Add one to the configuration document ("kind": "repository"): docs/repositories.md has examples.',
        )
    started = start_each(deployed, "backup_storage", [one.name for one in named], Wanted(full, keep))
    report_all(deployed, started, as_json=as_json, is_one=target is not None)


@app.command(
    "point",
    short_help="Back up a database and its buckets as of one moment.",
    epilog=examples(
        "coffre backup point shop",
        "coffre backup point shop --keep 7d",
        "coffre backup point shop --json | jq .dangling",
    ),
)
def backup_point(
    name: Annotated[str, typer.Argument(help="The restore point's name.")],
    full: Annotated[bool, typer.Option("--full", help="Store everything again, without earlier backups.")] = False,
    keep: KeepOption = None,
    stack: StackOption = None,
    as_json: JsonOption = False,
) -> None:
    """Back up the database of a restore point and its buckets, and wait for the end.

    Inside the database's snapshot, a query lists the objects that its rows refer to. The buckets' backups take exactly
    those. A reference that leads to no object is named, and the exit status is 4.
    """
    from coffre_cli.commands.points.backup import take_point

    take_point(find_stack(stack), name, Wanted(full, keep), as_json=as_json)


def refuse_options(
    choice: VaultChoice | None, *, here: bool, home: Path | None, alone: Sequence[str | Sequence[str] | None]
) -> None:
    """Refuse options that do not go together.

    Parameters
    ----------
    alone
        The values of the options that are for a vault alone.
    """
    if choice is not None and not here:
        raise typer.BadParameter(
            f"`coffre backup` needs a stack: the vault {choice.place} is named alone (--vault or COFFRE_VAULT). Add "
            "--here to take the backup in this process"
        )
    if choice is None and any(alone):
        raise typer.BadParameter(
            "--url-env, --recipient and --configuration are for a vault without a stack: coffre --vault ... backup "
            "database TARGET --here"
        )
    if home is not None and not here:
        raise typer.BadParameter("--postgres-home goes with --here: the function has programs of its own")


def _back_up_alone(
    choice: VaultChoice,
    target: str | None,
    options: tuple[str | None, list[str] | None, str | None],
    wanted: Wanted,
    home: Path | None,
    *,
    as_json: bool,
) -> None:
    from coffre_cli.commands.backups.backup_alone import Alone, back_up_alone

    url_variable, recipients, document = options
    if target is None or url_variable is None:
        raise typer.BadParameter("with --vault, name the target and the variable with its URL: shop --url-env NAME")
    alone = Alone(target, url_variable, tuple(recipients or ()), document, wanted.full, wanted.keep, home)
    _end([back_up_alone(choice, alone, quiet=as_json)], as_json=as_json, is_one=True)


def _back_up_here(
    deployed: DeployedStack, function: str, target: str | None, wanted: Wanted, home: Path | None, *, as_json: bool
) -> None:
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
            _report(record)
        elif record is not None and record.failure is not None:
            show_failure(record.failure)
    finish(backups, as_json=as_json, is_one=is_one)


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
        _report(record)
    elif record.failure is not None:
        show_failure(record.failure)
    return record


def _report(record: Backup) -> None:
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
