"""`coffre restore`: get a backup back."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Annotated, Self
from urllib.parse import quote

import typer
from botocore.exceptions import BotoCoreError, ClientError
from ulid import ULID

from coffre.model.backup import Backup, Failure, Restore
from coffre.model.errors import BackupStateError, ConnectError, SecretError
from coffre.operations.restore_plan import refuse_unrestorable
from coffre.postgres.connect import Connection, parse_secret, refuse_transaction_pooler
from coffre_cli.commands.catalog import latest
from coffre_cli.deployed import DeployedStack, JsonOption, StackOption, find_stack
from coffre_cli.examples import examples
from coffre_cli.exits import Exit
from coffre_cli.follow import follow, going_on
from coffre_cli.screen import duration, print_json, remark, restore_json, say, say_command, show_failure

_URL = ("postgresql://", "postgres://")
# What the role of the restore function may read (template.yaml).
_READABLE = ("coffre/destination/", "coffre/database/")
_EXAMPLE = "postgresql://USER:PASSWORD@HOST:5432/NEW_DATABASE"

EXAMPLES = examples(
    "coffre restore latest --to postgresql://postgres:SECRET@db.example.com/new",
    "DESTINATION=postgresql://... coffre restore 01K9X... --to env:DESTINATION",
    "coffre restore latest --target shop --to coffre/destination/new --json",
)


def restore(
    backup_id: Annotated[str, typer.Argument(metavar="ID", help="A backup's id, or `latest`.")],
    to: Annotated[
        str,
        typer.Option(
            "--to",
            metavar="URL|env:NAME|SECRET",
            help="The database to restore into: a postgresql:// URL, a variable that holds one (keeps the password out "
            "of your shell's history), or the name of a secret below coffre/destination/.",
        ),
    ],
    target: Annotated[str | None, typer.Option(help="With `latest`: of which target.")] = None,
    stack: StackOption = None,
    as_json: JsonOption = False,
) -> None:
    """Restore a backup into a new database (created for it) or an existing empty one.

    A database that holds anything is refused. The source is never touched.
    """
    wanted = Destination.parse(to)
    deployed = find_stack(stack)
    backup = latest(deployed, target) if backup_id == "latest" else _of(deployed.catalog.get_backup(backup_id), target)
    refuse_unrestorable(backup)
    restore_id = str(ULID())
    with going_on(restore_id), _secret(deployed, wanted, restore_id) as reference:
        deployed.start("restore", {"backup_id": backup.id, "destination": reference, "restore_id": restore_id})
        record = follow(
            lambda: deployed.catalog.get_restore(restore_id),
            title=f"Restoring {backup.target}",
            quiet=as_json,
            has_ended=lambda: False,
        )
    if as_json:
        print_json(restore_json(record))
    else:
        _report(backup, record, wanted)
    if record.failure is not None:
        if as_json:
            show_failure(record.failure)
        raise typer.Exit(Exit.FAILED)


def _of(backup: Backup, target: str | None) -> Backup:
    if target not in (None, backup.target):
        raise BackupStateError(
            f"Backup {backup.id} is of {backup.target}, not of {target}.",
            hint=f"Leave --target out, or choose another backup: coffre list {target}",
        )
    return backup


@dataclass(frozen=True)
class Destination:
    """What `--to` says: a URL, or the name of a secret that holds one."""

    url: Connection | None
    text: str = field(repr=False)
    place: str

    @classmethod
    def parse(cls, to: str) -> Self:
        """Check what can be checked before anything is started.

        Raises
        ------
        SecretError
            It is neither a complete URL nor the name of a secret that the function may read.
        ConnectError
            `TRANSACTION_POOLER`
        """
        variable = to.removeprefix("env:") if to.startswith("env:") else None
        text = to if variable is None else os.environ.get(variable, "")
        place = "--to" if variable is None else f"the variable {variable}"
        if not text.startswith(_URL):
            if variable is not None or not text.removeprefix("arn:").rpartition(":secret:")[2].startswith(_READABLE):
                raise _no_address(place, None if text else "it is empty, or not exported")
            return cls(None, text, place)
        try:
            connection = parse_secret(text, where=place)
        except SecretError as error:
            raise _no_address(place, error.detail) from error
        _refuse_pooler(connection, place)
        return cls(connection, text, place)


def _no_address(place: str, why: str | None) -> SecretError:
    return SecretError(
        f"There is no address of a database in {place}.",
        code="DESTINATION_SHAPE",
        detail=why,
        hint=f"Give {_EXAMPLE}, a variable with one (env:NAME), or the name of a secret below coffre/destination/.",
    )


def _refuse_pooler(connection: Connection, place: str) -> None:
    try:
        refuse_transaction_pooler(connection)
    except ConnectError as error:
        instead = (error.hint or "").removesuffix(" Change it in the target's secret.")
        raise ConnectError(
            f"{connection} is a transaction pooler: a restore needs a session.",
            code=error.code,
            hint=f"{instead} Change it in {place}.",
        ) from error


@contextmanager
def _secret(deployed: DeployedStack, wanted: Destination, restore_id: str) -> Iterator[str]:
    """Give the reference of a secret with the destination; a URL lives in one of its own while the restore runs."""
    if wanted.url is None:
        yield wanted.text
        return
    name = f"coffre/destination/{restore_id}"
    try:
        deployed.secrets.create_secret(
            Name=name, SecretString=wanted.text, Description="Destination of a running restore"
        )
    except (ClientError, BotoCoreError) as error:
        raise SecretError(
            f"The destination could not be kept in the secret {name} for the function.",
            code="SECRET_NOT_WRITTEN",
            detail=str(error)[:300],
            hint="Your credentials need secretsmanager:CreateSecret and DeleteSecret on coffre/destination/*.",
        ) from error
    try:
        yield name
    finally:
        try:
            deployed.secrets.delete_secret(SecretId=name, ForceDeleteWithoutRecovery=True)
        except (ClientError, BotoCoreError) as error:
            remark(f"The secret {name} with the destination's password could not be deleted: {error}. Delete it.")


def _report(backup: Backup, record: Restore, wanted: Destination) -> None:
    if record.failure is not None:
        say(f"The restore of {backup.target} failed. The backup itself is untouched.", style="red")
        show_failure(record.failure)
        _say_how_to_go_on(backup, record.failure, wanted)
        return
    exceptions = f", with {len(record.exceptions)} exception(s)" if record.exceptions else ""
    say(
        f"Restored {backup.target} into {wanted.url or record.destination}: {record.tables} tables, "
        f"{record.rows:,} rows in {duration(record.duration_ms)}{exceptions}. Row counts equal the backup's.",
        style="green",
    )
    for exception in record.exceptions:
        say(f"  Note: {exception}")
    say("Table by table:")
    say_command(f"coffre show {record.id}")


def _say_how_to_go_on(backup: Backup, failure: Failure, wanted: Destination) -> None:
    if wanted.url is None:
        return
    if failure.code == "DESTINATION_NOT_EMPTY":
        there = wanted.url
        new = f"{quote(there.user)}@{there.host}:{there.port}/{quote(there.database)}_restored"
        say("For example, into a new database beside it:")
        say_command(f"coffre restore {backup.id} --to postgresql://{new}")
    elif "secret" in (failure.hint or ""):
        remark(f"(The function found the address in a secret; here it came from {wanted.place}.)")
