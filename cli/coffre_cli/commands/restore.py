"""`coffre restore`: get a backup back."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Annotated

import typer
from botocore.exceptions import BotoCoreError, ClientError
from ulid import ULID

from coffre.model.backup import Backup, Restore
from coffre.model.errors import SecretError
from coffre.operations.restore_database import refuse_unrestorable
from coffre.postgres.connect import parse_secret, refuse_transaction_pooler
from coffre_cli.commands.catalog import latest
from coffre_cli.deployed import DeployedStack, JsonOption, StackOption, find_stack
from coffre_cli.exits import Exit
from coffre_cli.follow import follow
from coffre_cli.screen import duration, print_json, say, show_failure


def restore(
    backup_id: Annotated[str, typer.Argument(metavar="ID", help="A backup's id, or `latest`.")],
    to: Annotated[
        str,
        typer.Option(
            "--to",
            metavar="URL|SECRET|env:NAME",
            help="The database to restore into: a postgresql:// URL, a variable that holds one (keeps the password out "
            "of your shell's history), or the name of a secret.",
        ),
    ],
    target: Annotated[str | None, typer.Option(help="With `latest`: of which target.")] = None,
    stack: StackOption = None,
    as_json: JsonOption = False,
) -> None:
    """Restore a backup into a new database (created for it) or an existing empty one.

    A database that holds anything is refused. The source is never touched.

    Examples:

    coffre restore latest --to postgresql://postgres:SECRET@db.example.com/shop_restored

    DESTINATION=postgresql://... coffre restore 01K9X... --to env:DESTINATION --json
    """
    deployed = find_stack(stack)
    backup = latest(deployed, target) if backup_id == "latest" else deployed.catalog.get_backup(backup_id)
    refuse_unrestorable(backup)
    restore_id = str(ULID())
    with _destination(deployed, to, restore_id) as reference:
        event = {"backup_id": backup.id, "destination": reference, "restore_id": restore_id}
        deployed.start("restore", event)
        record = follow(
            lambda: deployed.catalog.get_restore(restore_id),
            title=f"Restoring {backup.target}",
            quiet=as_json,
            has_ended=lambda: False,
        )
    if as_json:
        print_json(record.model_dump(mode="json"))
    else:
        _report(backup, record)
    if record.failure is not None:
        if as_json:
            show_failure(record.failure)
        raise typer.Exit(Exit.FAILED)


@contextmanager
def _destination(deployed: DeployedStack, to: str, restore_id: str) -> Iterator[str]:
    """Give the reference of a secret with the destination; a URL lives in one of its own while the restore runs."""
    url = os.environ.get(to.removeprefix("env:"), "") if to.startswith("env:") else to
    if not url.startswith(("postgresql://", "postgres://")):
        if to.startswith("env:"):
            raise SecretError(
                f"The variable {to.removeprefix('env:')} holds no postgresql:// URL.", code="SECRET_SHAPE"
            )
        yield to
        return
    refuse_transaction_pooler(parse_secret(url, where="--to"))
    name = f"coffre/destination/{restore_id}"
    try:
        deployed.secrets.create_secret(Name=name, SecretString=url, Description="Destination of a running restore")
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
        with contextlib.suppress(ClientError, BotoCoreError):
            deployed.secrets.delete_secret(SecretId=name, ForceDeleteWithoutRecovery=True)


def _report(backup: Backup, record: Restore) -> None:
    if record.failure is not None:
        say(f"The restore of {backup.target} failed. The backup itself is untouched.", style="red")
        show_failure(record.failure)
        return
    exceptions = f", with {len(record.exceptions)} exception(s)" if record.exceptions else ""
    say(
        f"Restored {backup.target} into {record.destination}: {record.tables} tables, {record.rows:,} rows in "
        f"{duration(record.duration_ms)}{exceptions}. Row counts equal the backup's.",
        style="green",
    )
    for exception in record.exceptions:
        say(f"  Note: {exception}")
    say(f"Table by table: coffre show {record.id}")
