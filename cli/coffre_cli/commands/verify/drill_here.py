"""`coffre verify --level drill --here` and `--scratch`: the function's own code in this process (docs/here.md)."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from datetime import UTC, datetime
from typing import TYPE_CHECKING

import typer

from coffre.model.backup import Backup, Restore, Status
from coffre.model.errors import CoffreError, SecretError
from coffre.model.kinds import TargetKind
from coffre.postgres.connection.connect import connect
from coffre.postgres.destination.database_identity import DatabaseIdentity, identity_of
from coffre.postgres.scratch.given_server import given_server
from coffre.runtime.credentials import target_connection
from coffre.runtime.sources import Stage, read_secret
from coffre_cli.commands.recover.destinations import connection_of
from coffre_cli.follow import bar, facts, left_on_interrupt
from coffre_cli.here import RunHere, StackHere
from coffre_cli.screen import remark
from coffre_cli.server_programs import server_home

if TYPE_CHECKING:
    from coffre.postgres.connection.address import Connection
    from coffre_cli.commands.verify.drill import DrillOptions
    from coffre_cli.deployed import DeployedStack

_POLL_SECONDS = 0.3


def drill_here(deployed: DeployedStack, backup: Backup, options: DrillOptions, *, quiet: bool) -> object:
    """Drill a backup in this process, without a time limit, and return the answer; its report is in the vault then.

    Raises
    ------
    SettingsError
        `SERVER_PROGRAMS_MISSING`, `FUNCTION_UNREADABLE`: nothing was begun.
    DrillImpossibleError
        What `given_server` raises.
    typer.Exit
        After Ctrl-C; the server is left empty.
    """
    with _place(deployed, backup, options) as place, left_on_interrupt(place, backup.id):
        run = place.start("drill", {"backup_id": backup.id})
        _show(run, backup, quiet=quiet)
        return run.result()


@contextmanager
def _place(deployed: DeployedStack, backup: Backup, options: DrillOptions) -> Iterator[StackHere]:
    """Give the stack whose function drills here, with what it restores into."""
    place = StackHere.of(deployed, options.home)
    if backup.kind is not TargetKind.DATABASE:
        if options.scratch is not None:
            raise typer.BadParameter(f"--scratch is for databases, and {backup.target} has none")
        yield place
    elif options.scratch is None:
        yield replace(place, home=server_home(options.home))
    else:
        address = _address(options.scratch)
        with given_server(address, lambda: _source_of(deployed, backup), remark) as server:
            yield replace(place, given=server)


def _address(scratch: str) -> Connection:
    try:
        return connection_of("the drill", scratch)
    except SecretError as error:
        error.hint = "Put the postgresql:// URL of an empty server into a variable: --scratch env:EMPTY_SERVER"
        raise


def _source_of(deployed: DeployedStack, backup: Backup) -> DatabaseIdentity | None:
    """Return which database the backup is of; None if it cannot be reached from here."""

    def read(reference: str, stage: Stage = "AWSCURRENT", /) -> str:
        return read_secret(deployed.secrets, reference, stage)

    try:
        target = deployed.configuration.database(backup.target)
        with connect(target_connection(read, target)) as session:
            return identity_of(session)
    except CoffreError as error:
        remark(f"The server was not compared with the source, which does not answer here: {error.message}")
        return None


def _show(run: RunHere[dict[str, object]], backup: Backup, *, quiet: bool) -> None:
    record = Restore(
        id=backup.id,
        backup_id=backup.id,
        target=backup.target,
        destination="a scratch server",
        status=Status.IN_PROGRESS,
        created_at=datetime.now(UTC),
    )
    with bar(quiet=quiet) as shown:
        task = shown.add_task(f"Drilling {backup.target} here", total=None, facts="starting")
        while not run.wait(_POLL_SECONDS):
            done = run.progress()
            now = record.model_copy(update={"progress": done, "heartbeat_at": datetime.now(UTC)})
            shown.update(task, completed=done.done_bytes, total=done.total_bytes or None, facts=facts(now))
