"""`coffre backup`: take a backup now."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from coffre.model.errors import TargetUnknownError
from coffre.model.times import parse_span
from coffre_cli.commands.backups.backup_here import back_up_here, back_up_into_vault
from coffre_cli.commands.backups.run_backup import (
    Wanted,
    report_all,
    start_each,
    start_servers,
)
from coffre_cli.deployed import DeployedStack
from coffre_cli.examples import examples
from coffre_cli.stack_choice import find_stack
from coffre_cli.stack_options import HereOption, HomeOption, JsonOption, StackOption
from coffre_cli.vault_choice import VaultChoice, chosen_vault, refuse_vault

if TYPE_CHECKING:
    from coffre.model.configuration import Configuration


def _span(text: str) -> str:
    try:
        parse_span(text)
    except ValueError as error:
        raise typer.BadParameter(str(error)) from None
    return text


FullOption = Annotated[bool, typer.Option("--full", help="Store everything again, without earlier backups.")]
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
    full: FullOption = False,
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
        back_up_into_vault(
            choice, target, (url_env, recipient, configuration_file), wanted, postgres_home, as_json=as_json
        )
        return
    deployed = find_stack(stack)
    if here:
        back_up_here(deployed, "backup_database", target, wanted, postgres_home, as_json=as_json)
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
    full: FullOption = False,
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

    def named(configuration: Configuration) -> list[str]:
        return [configuration.bucket(target).name] if target else [one.name for one in configuration.buckets]

    missing = ("buckets", "bucket", "storage")
    _back_up_objects(find_stack(stack), target, named, missing, Wanted(full, keep), here=here, as_json=as_json)


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
    full: FullOption = False,
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

    def named(configuration: Configuration) -> list[str]:
        chosen = [configuration.repository_target(target)] if target else configuration.repositories
        return [one.name for one in chosen]

    missing = ("repositories", "repository", "repositories")
    _back_up_objects(find_stack(stack), target, named, missing, Wanted(full, keep), here=here, as_json=as_json)


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
    full: FullOption = False,
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


def _back_up_objects(
    deployed: DeployedStack,
    target: str | None,
    named: Callable[[Configuration], list[str]],
    missing: tuple[str, str, str],
    wanted: Wanted,
    *,
    here: bool,
    as_json: bool,
) -> None:
    """Back up targets of the function `backup_storage`; `missing` is their noun, kind and page of the docs."""
    if here:
        back_up_here(deployed, "backup_storage", target, wanted, None, as_json=as_json)
        return
    names = named(deployed.configuration)
    if not names:
        noun, kind, page = missing
        raise TargetUnknownError(
            f"No target of {noun} is configured.",
            hint=f'Add one to the configuration document ("kind": "{kind}"): docs/{page}.md has examples.',
        )
    started = start_each(deployed, "backup_storage", names, wanted)
    report_all(deployed, started, as_json=as_json, is_one=target is not None)
