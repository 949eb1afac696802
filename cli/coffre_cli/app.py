"""The command `coffre`: its subcommands, and how every error is shown."""

from __future__ import annotations

import os
import sys
from typing import Annotated, Any

import typer
import typer.core
from botocore.exceptions import BotoCoreError, ClientError

from coffre import __version__
from coffre.model.errors import CoffreError
from coffre_cli.commands import (
    alerts,
    backup,
    catalog,
    contents,
    demo,
    diff,
    export,
    invoke,
    keep,
    keys,
    local,
    rebuild,
    report,
    restore,
    rotate,
    verify,
)
from coffre_cli.deployed import aws_refused
from coffre_cli.examples import examples
from coffre_cli.exits import Exit
from coffre_cli.screen import show_error
from coffre_cli.vault_choice import COMMANDS, IDENTITY_VARIABLE, VAULT_VARIABLE, VaultChoice, choose_vault

_ORDER = (
    "demo",
    "backup",
    "list",
    "show",
    "ls",
    "cat",
    "diff",
    "restore",
    "export",
    "verify",
    "report",
    "alerts",
    "rotate",
    "pin",
    "unpin",
    "delete",
    "keys",
    "catalog",
    "invoke",
    "local",
)


class _InOrderOfUse(typer.core.TyperGroup):
    """Lists the subcommands as a person meets them."""

    def list_commands(self, ctx: Any) -> list[str]:
        return sorted(super().list_commands(ctx), key=_ORDER.index)


app = typer.Typer(
    name="coffre",
    cls=_InOrderOfUse,
    help="Back up PostgreSQL databases, look at the backups, and get your data back.\n\n"
    "Commands work on the local stack when one is up (`coffre local up`), else on the deployed stack that --stack or "
    "the variable COFFRE_STACK names, with your usual AWS credentials.\n\n"
    "Is the account or the stack lost? With --vault and --identity a vault, or a copy of it on a disk, is enough for: "
    f"{', '.join(COMMANDS)}.",
    epilog="Exit status: 0 done, 1 failed, 2 wrong usage, 3 skipped because another run of the target is going on, "
    "4 backed up or restored with exceptions, which are listed.\n\n"
    + examples(
        "coffre demo",
        "coffre local up && coffre backup database && coffre list",
        "coffre restore --help",
        "coffre --vault ./copy --identity key.txt restore latest --to env:NEW",
    ),
    no_args_is_help=True,
    rich_markup_mode=None,
    pretty_exceptions_enable=False,
    add_completion=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)


def _version(wanted: bool) -> None:
    if wanted:
        print(f"coffre {__version__}")
        raise typer.Exit


@app.callback()
def coffre(
    context: typer.Context,
    version: Annotated[  # noqa: ARG001 - its callback does it all
        bool, typer.Option("--version", callback=_version, is_eager=True, help="Show the version and exit.")
    ] = False,
    vault: Annotated[
        str | None,
        typer.Option(
            "--vault",
            metavar="DIR|s3://...",
            help="Work with this vault alone, without a stack: a directory, or a bucket with its prefix. "
            f"Default: the variable {VAULT_VARIABLE}.",
        ),
    ] = None,
    identity: Annotated[
        list[str] | None,
        typer.Option(
            "--identity",
            metavar="FILE|env:NAME",
            help="With --vault: a private age key that opens backups; may be repeated. "
            f"Default: what the variable {IDENTITY_VARIABLE} says.",
        ),
    ] = None,
    endpoint_url: Annotated[
        str | None,
        typer.Option("--endpoint-url", metavar="URL", help="With --vault s3://...: a store that is not AWS."),
    ] = None,
) -> None:
    """Back up PostgreSQL databases, look at the backups, and get your data back."""
    choose_vault(None)
    command = context.invoked_subcommand or ""
    place = vault or (os.environ.get(VAULT_VARIABLE) if command in COMMANDS else None)
    if place is None:
        if identity or endpoint_url:
            raise typer.BadParameter("--identity and --endpoint-url before the command go with --vault")
        return
    if command not in COMMANDS:
        raise typer.BadParameter(f"`coffre {command}` needs a stack: with --vault there are {', '.join(COMMANDS)}")
    variable = os.environ.get(IDENTITY_VARIABLE)
    keys = tuple(identity or ([variable] if variable else []))
    choose_vault(VaultChoice(place, keys, endpoint_url))


app.add_typer(backup.app, name="backup")
app.command("list", epilog=catalog.LIST_EXAMPLES)(catalog.list_backups)
app.command("show", epilog=catalog.SHOW_EXAMPLES)(catalog.show)
app.command("ls", short_help="List objects or tables in a backup.", epilog=contents.LS_EXAMPLES)(contents.ls)
app.command("cat", short_help="Write one object or table to stdout.", epilog=contents.CAT_EXAMPLES)(contents.cat)
app.command("diff", short_help="Compare two backups.", epilog=diff.EXAMPLES)(diff.diff)
app.command(
    "restore", short_help="Get a backup back, or some of its tables, rows or objects.", epilog=restore.EXAMPLES
)(restore.restore)
app.command("export", short_help="Write a backup into a portable file.", epilog=export.EXAMPLES)(export.export)
app.command("verify", short_help="See whether backups are recent, there, and as stored.", epilog=verify.EXAMPLES)(
    verify.verify
)
app.command("report", short_help="Read what a drill found out about a backup.", epilog=report.EXAMPLES)(report.report)
app.add_typer(alerts.app, name="alerts")
app.command("rotate", short_help="Delete what has outlived its tiers, or see what would go.", epilog=rotate.EXAMPLES)(
    rotate.rotate
)
app.command("pin", short_help="Keep a backup whatever its age.", epilog=keep.PIN_EXAMPLES)(keep.pin)
app.command("unpin", short_help="Take a pin away.", epilog=keep.UNPIN_EXAMPLES)(keep.unpin)
app.command("delete", short_help="Delete one backup.", epilog=keep.DELETE_EXAMPLES)(keep.delete)
app.add_typer(keys.app, name="keys")
app.add_typer(rebuild.app, name="catalog")
app.command("invoke", short_help="Call a function with an event.", epilog=invoke.EXAMPLES)(invoke.invoke)
app.add_typer(local.app, name="local")
app.command("demo", short_help="See the main job on this machine.", epilog=demo.EXAMPLES)(demo.demo)


def main() -> None:
    """Run the command; an error that Coffre raised on purpose is shown as it is meant: what, why, what to do."""
    try:
        app(prog_name="coffre")
    except CoffreError as error:
        show_error(error)
        sys.exit(Exit.FAILED)
    except (BotoCoreError, ClientError) as error:
        show_error(aws_refused(error))
        sys.exit(Exit.FAILED)
