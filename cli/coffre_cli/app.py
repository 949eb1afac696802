"""The command `coffre`: its subcommands, and how every error is shown."""

from __future__ import annotations

import sys

import typer

from coffre.model.errors import CoffreError
from coffre_cli.commands import backup, catalog, demo, invoke, keys, local, restore
from coffre_cli.exits import Exit
from coffre_cli.screen import show_error

app = typer.Typer(
    name="coffre",
    help="Back up PostgreSQL databases, look at the backups, and get your data back.\n\n"
    "Commands work on the local stack when one is up (`coffre local up`), else on the deployed stack that --stack or "
    "the variable COFFRE_STACK names, with your usual AWS credentials.",
    epilog="Exit status: 0 done, 1 failed, 2 wrong usage, 3 skipped because another run of the target is going on.",
    no_args_is_help=True,
    rich_markup_mode=None,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)
app.add_typer(backup.app, name="backup")
app.command("list")(catalog.list_backups)
app.command("show")(catalog.show)
app.command("restore")(restore.restore)
app.add_typer(keys.app, name="keys")
app.command("invoke")(invoke.invoke)
app.add_typer(local.app, name="local")
app.command("demo")(demo.demo)


def main() -> None:
    """Run the command; an error that Coffre raised on purpose is shown as it is meant: what, why, what to do."""
    try:
        app()
    except CoffreError as error:
        show_error(error)
        sys.exit(Exit.FAILED)
    except KeyboardInterrupt:
        sys.stderr.write("\nInterrupted. A run that was started in the stack goes on: `coffre list` shows it.\n")
        sys.exit(130)
