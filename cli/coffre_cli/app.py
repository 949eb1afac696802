"""The command `coffre`: its subcommands, and how every error is shown."""

from __future__ import annotations

import importlib
import importlib.util
import os
import sys
from dataclasses import dataclass
from typing import Annotated, Any, Final

import typer
import typer.core
import typer.main

from coffre import __version__
from coffre_cli.commands.stack.completion import VARIABLE as COMPLETION_VARIABLE
from coffre_cli.examples import examples
from coffre_cli.exit_status import Exit
from coffre_cli.failures import DEBUG_VARIABLE, defect, drop_output, flush_output, is_closed_pipe, meant
from coffre_cli.vault_choice import COMMANDS, IDENTITY_VARIABLE, VAULT_VARIABLE, VaultChoice, choose_vault


@dataclass(frozen=True)
class _Command:
    """A subcommand, or (without a `function`) a group of them, in a module that is imported on first use.

    The list of commands, and the help of one command, should not wait for what the others import.
    """

    module: str
    short_help: str
    function: str | None = None
    examples: str = "EXAMPLES"

    def load(self, name: str) -> Any:
        """Import the module and return the command."""
        module = importlib.import_module(f"coffre_cli.commands.{self.module}")
        if self.function is None:
            command: Any = typer.main.get_group(module.app)
        else:
            alone = typer.Typer(rich_markup_mode=None, pretty_exceptions_enable=False, add_completion=False)
            epilog = getattr(module, self.examples)
            alone.command(name, short_help=self.short_help, epilog=epilog)(getattr(module, self.function))
            command = typer.main.get_command(alone)
        command.name = name
        return command


# In the order in which users need them.
_COMMANDS: Final = {
    "init": _Command("init.init", "Protect a database: from nothing to a backup that was restored.", "init"),
    "demo": _Command("demo.demo", "Try backup and restore on this machine, with sample data.", "demo"),
    "backup": _Command("backups.backup_app", "Take a backup now."),
    "status": _Command("status.status", "Show whether all targets are safe, and what is not.", "status"),
    "list": _Command("backups.list_backups", "List backups, newest first, or count them.", "list_backups"),
    "show": _Command("backups.show", "Show one backup or restore with its tables or buckets.", "show"),
    "cost": _Command("backups.cost", "Show what backups cost, and what a change would cost.", "cost"),
    "ls": _Command("backups.ls_cat", "List objects or tables in a backup.", "ls", "LS_EXAMPLES"),
    "cat": _Command("backups.ls_cat", "Write one object or table to stdout.", "cat", "CAT_EXAMPLES"),
    "diff": _Command("backups.diff", "Compare two backups.", "diff"),
    "restore": _Command("restore.app", "Restore a backup, or a part of it."),
    "recover": _Command("recover.recover", "Restore everything after a disaster, or rehearse that.", "recover"),
    "export": _Command("export.export", "Write a backup to a portable file.", "export"),
    "copy": _Command("backups.copy", "Copy backups to another place.", "copy"),
    "journal": _Command("journal.app", "Show which moments between backups can be restored."),
    "mend": _Command("backups.mend", "Put back what is damaged in the vault, from a copy.", "mend"),
    "verify": _Command("verify.verify", "Check whether backups are recent, complete and undamaged.", "verify"),
    "doctor": _Command("doctor.doctor", "Look for what prevents backups, and show what cures it.", "doctor"),
    "report": _Command("verify.drill_report", "Show the report of a week, or what a drill found.", "report"),
    "alerts": _Command("stack.alerts", "List open problems, and test whether alerts arrive."),
    "audit": _Command("audit.events", "Show who did what, and check that the record of it is intact."),
    "rotate": _Command("backups.rotate", "Delete expired backups, or show which would be deleted.", "rotate"),
    "cancel": _Command("backups.cancel", "End a backup or a restore that runs.", "cancel"),
    "pin": _Command("backups.pin_delete", "Keep a backup, however old it is.", "pin", "PIN_EXAMPLES"),
    "unpin": _Command("backups.pin_delete", "Remove a pin.", "unpin", "UNPIN_EXAMPLES"),
    "hold": _Command("backups.hold", "Protect a backup from deletion.", "hold", "HOLD_EXAMPLES"),
    "release": _Command("backups.hold", "End a hold.", "release", "RELEASE_EXAMPLES"),
    "delete": _Command("backups.pin_delete", "Delete one backup.", "delete", "DELETE_EXAMPLES"),
    "approve": _Command("backups.approve", "Approve another person's plan to replace or delete.", "approve"),
    "keys": _Command("keys.app", "Create, list, check and rotate keys; the recovery kit."),
    "api-keys": _Command("api_keys.app", "Make, list, rotate and revoke keys of the console's API."),
    "console": _Command("stack.console", "Open the stack's console in a browser, or print its address.", "console"),
    "ci": _Command("ci.app", "Print a pipeline that starts backups, without a stored key."),
    "config": _Command("config.app", "Show, change and check the configuration, and its history."),
    "catalog": _Command("backups.catalog_rebuild", "Maintain the catalog, the table with the records of backups."),
    "invoke": _Command("stack.invoke", "Call a function with an event.", "invoke"),
    "roles": _Command("stack.roles", "Print the SQL that makes the roles in a database.", "roles"),
    "deploy": _Command("stack.deploy", "Create or upgrade the stack, without a checkout.", "deploy"),
    "uninstall": _Command("stack.uninstall", "Delete the stack; every backup stays.", "uninstall"),
    "completion": _Command("stack.completion", "Print the script that completes commands in a shell.", "completion"),
    "local": _Command("stack.local", "Run the whole stack on this machine, without an AWS account."),
}


# Commands that need the local stack's code, which an installed wheel does not have.
_OF_A_CHECKOUT: Final = ("demo", "local")
_IS_CHECKOUT: Final = importlib.util.find_spec("coffre_local") is not None
_FIRST_STEPS: Final = (
    ("coffre demo", "coffre local up && coffre backup database && coffre list")
    if _IS_CHECKOUT
    else ("coffre init", "coffre status --stack coffre")
)


class _LoadedWhenAsked(typer.core.TyperGroup):
    """Knows every subcommand by name, and imports one when it is called."""

    def __init__(self, **attributes: Any) -> None:
        super().__init__(**attributes)
        self.commands = _Loading()

    def list_commands(self, ctx: Any) -> list[str]:
        del ctx
        return [name for name in _COMMANDS if _IS_CHECKOUT or name not in _OF_A_CHECKOUT]

    def format_commands(self, ctx: Any, formatter: Any) -> None:
        with formatter.section("Commands"):
            formatter.write_dl([(name, _COMMANDS[name].short_help) for name in self.list_commands(ctx)])


class _Loading(dict[str, Any]):
    """The subcommands by name; each is loaded on its first use."""

    def __init__(self) -> None:
        super().__init__(dict.fromkeys(_COMMANDS))

    def __getitem__(self, name: str) -> Any:
        if super().__getitem__(name) is None:
            self[name] = _COMMANDS[name].load(name)
        return super().__getitem__(name)

    def get(self, name: str, default: Any = None) -> Any:
        if name not in self:
            return default
        return self[name]


app = typer.Typer(
    name="coffre",
    cls=_LoadedWhenAsked,
    help="Back up PostgreSQL databases, inspect the backups, and restore your data.\n\n"
    "Commands use the local stack if one is up (`coffre local up`), otherwise the deployed stack that --stack or the "
    "variable COFFRE_STACK names, with your usual AWS credentials.\n\n"
    "If the account or the stack is lost, a vault or a copy of it on a disk is enough (--vault, --identity) for: "
    f"{', '.join(COMMANDS)}.",
    epilog="Exit status: 0 done, 1 failed, 2 wrong usage, 3 skipped because another run of the target is in progress, "
    "4 backed up or restored with exceptions, which are listed, 5 `coffre status` does not know "
    "whether all is well.\n\n"
    + examples(
        *_FIRST_STEPS,
        "coffre restore --help",
        "coffre --vault ./copy --identity key.txt list",
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
            help="Work with this vault alone, without a stack: a directory, or a bucket with its prefix "
            "(s3://BUCKET/PREFIX, gs://BUCKET/PREFIX, azure://ACCOUNT/CONTAINER/PREFIX). "
            f"Default: the variable {VAULT_VARIABLE}.",
        ),
    ] = None,
    identity: Annotated[
        list[str] | None,
        typer.Option(
            "--identity",
            metavar="FILE|env:NAME",
            help="With --vault: a private age key that opens backups; repeatable. "
            f"Default: the variable {IDENTITY_VARIABLE}.",
        ),
    ] = None,
    endpoint_url: Annotated[
        str | None,
        typer.Option(
            "--endpoint-url", metavar="URL", help="With --vault s3://...: the address of a store other than AWS."
        ),
    ] = None,
) -> None:
    """Back up PostgreSQL databases, inspect the backups, and restore your data."""
    choose_vault(None)
    command = context.invoked_subcommand or ""
    place = vault or (os.environ.get(VAULT_VARIABLE) if command in COMMANDS else None)
    if place is None:
        if identity or endpoint_url:
            raise typer.BadParameter("--identity and --endpoint-url before the command need --vault")
        return
    if command == "recover":
        raise typer.BadParameter("`coffre recover` looks at copies itself: --from ADDRESS after the command")
    if command not in COMMANDS:
        raise typer.BadParameter(f"`coffre {command}` needs a stack: --vault works with {', '.join(COMMANDS)}")
    variable = os.environ.get(IDENTITY_VARIABLE)
    keys = tuple(identity or ([variable] if variable else []))
    choose_vault(VaultChoice(place, keys, endpoint_url))


def main() -> None:
    """Run the command; every error is shown with what happened, why, and what to do."""
    honour_region()
    if COMPLETION_VARIABLE in os.environ:
        from typer._completion_classes import completion_init

        completion_init()
    try:
        try:
            app(prog_name="coffre")
        finally:
            flush_output()
    except Exception as error:
        known = meant(error)
        if known is None and os.environ.get(DEBUG_VARIABLE):
            raise
        from coffre_cli.screen import show_error

        if isinstance(error, OSError):
            drop_output()
        if not is_closed_pipe(error):
            show_error(known or defect(error))
        sys.exit(Exit.FAILED)


def honour_region() -> None:
    """Let AWS_REGION decide, as it does for every other SDK and the AWS CLI: boto3 reads AWS_DEFAULT_REGION alone."""
    region = os.environ.get("AWS_REGION")
    if region:
        os.environ["AWS_DEFAULT_REGION"] = region
