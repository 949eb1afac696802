"""`coffre backup ... --here`: the functions' own code in this process, with the caller's AWS rights (docs/ci.md)."""

from __future__ import annotations

import io
import logging
import os
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, Protocol

import typer
from ulid import ULID

from coffre.model.backup import Backup
from coffre.model.errors import BackupStateError, CoffreError, SettingsError
from coffre.operations.runs.watchdog import Watch
from coffre.runtime.backup_database_function import BackupDatabaseFunction
from coffre.runtime.backup_storage_function import BackupStorageFunction
from coffre.runtime.bootstrap import Services
from coffre.runtime.function import LambdaContext
from coffre.runtime.settings import PostgresSettings, Settings
from coffre_cli.background import Background, InterruptedRunError
from coffre_cli.client_programs import find_tools
from coffre_cli.deployed import DeployedStack
from coffre_cli.exits import Exit
from coffre_cli.follow import follow
from coffre_cli.screen import remark, show_error

if TYPE_CHECKING:
    from mypy_boto3_lambda import LambdaClient

# No platform ends this process: thirty years.
_FOR_EVER_MS: Final = 10**12


class _Function(Protocol):
    def handle(self, event: object, context: LambdaContext) -> dict[str, Any]: ...


class _Nowhere(io.TextIOBase):
    """Takes text, and keeps none."""

    def write(self, text: str, /) -> int:
        return len(text)


@dataclass
class _Context:
    """What Lambda passes about an invocation; here no time is over."""

    function_name: str
    aws_request_id: str = field(default_factory=lambda: f"here-{ULID()}")

    def get_remaining_time_in_millis(self) -> int:
        return _FOR_EVER_MS


class Interruption:
    """Ends a run from outside, also one that has not begun."""

    def __init__(self) -> None:
        self._watch: Watch | None = None
        self._reason: Exception | None = None

    def watched(self, watch: Watch) -> None:
        """Take the watch of the run."""
        self._watch = watch
        if self._reason is not None:
            watch.end(self._reason)

    def end(self) -> None:
        """Stop the run as a deadline does: its sessions are ended, and its record says FAILED."""
        self._reason = InterruptedRunError(
            "The backup was interrupted on the machine where it ran.",
            hint="Nothing was published; older backups are untouched. Take it again.",
        )
        if self._watch is not None:
            self._watch.end(self._reason)


def back_up_database_here(
    deployed: DeployedStack, event: Mapping[str, Any], home: Path | None, *, quiet: bool
) -> Backup | str:
    """Back up a database of the stack's configuration in this process.

    Returns
    -------
    Backup or str
        The record as it ended; why it was skipped.

    Raises
    ------
    SettingsError
        `TOOLS_MISSING`, `TOOLS_BROKEN`, `TOOLS_TOO_OLD`: nothing was begun. `FUNCTION_UNREADABLE`
    CoffreError
        What ended the run before it had a record.
    """
    tools = find_tools(home)
    interruption = Interruption()
    settings = PostgresSettings.from_env({**_environment_of(deployed, "backup_database")})
    services = _services("backup_database", settings)
    function = BackupDatabaseFunction(services, tools, interruption.watched)
    return _run(deployed, "backup_database", function, event, interruption, quiet=quiet)


def back_up_buckets_here(deployed: DeployedStack, event: Mapping[str, Any], *, quiet: bool) -> Backup | str:
    """Back up buckets or repositories of the stack's configuration in this process; as `back_up_database_here`."""
    interruption = Interruption()
    settings = Settings.from_env(_environment_of(deployed, "backup_storage"))
    function = BackupStorageFunction(_services("backup_storage", settings), interruption.watched, is_here=True)
    return _run(deployed, "backup_storage", function, event, interruption, quiet=quiet)


def _services(name: str, settings: Settings) -> Services:
    """Return the services of a function, whose logs and metrics do not get among the command's own output."""
    os.environ.setdefault("POWERTOOLS_METRICS_DISABLED", "true")
    services = Services(name, settings)
    for handler in services.edge.logger.handlers:
        if isinstance(handler, logging.StreamHandler):
            handler.setStream(_Nowhere())
    return services


def _environment_of(deployed: DeployedStack, function: str) -> Mapping[str, str]:
    """Return the settings that the deployed function has.

    Raises
    ------
    SettingsError
        `FUNCTION_UNREADABLE`
    """
    from botocore.exceptions import BotoCoreError, ClientError

    client: LambdaClient = deployed.functions
    name = deployed.function_name(function)
    try:
        found = client.get_function_configuration(FunctionName=name)
    except (ClientError, BotoCoreError) as error:
        raise SettingsError(
            f"The settings of the function {name} cannot be read.",
            code="FUNCTION_UNREADABLE",
            detail=str(error)[:500],
            hint="With --here your own AWS credentials do what the function's role does; docs/ci.md lists what they "
            "need, lambda:GetFunctionConfiguration among it.",
        ) from error
    return found.get("Environment", {}).get("Variables", {})


def _run(
    deployed: DeployedStack,
    name: str,
    function: _Function,
    event: Mapping[str, Any],
    interruption: Interruption,
    *,
    quiet: bool,
) -> Backup | str:
    backup_id = str(event["backup_id"])
    context = _Context(deployed.function_name(name))
    wanted = {**event, "actor": deployed.caller}
    work = Background(lambda: function.handle(wanted, context))
    try:
        follow(
            lambda: deployed.catalog.get_backup(backup_id),
            title=f"Backing up {event['target']} here",
            quiet=quiet,
            has_ended=work.has_ended,
        )
        while not work.wait(1.0):
            pass
    except BackupStateError:
        pass  # it ended without a record, and says why
    except KeyboardInterrupt:
        end_interrupted(work, interruption.end)
    return _outcome(deployed, backup_id, work.result)


def _outcome(deployed: DeployedStack, backup_id: str, result: Callable[[], Mapping[str, Any]]) -> Backup | str:
    try:
        answer = result()
    except Exception as error:  # noqa: BLE001 - raised again, unless the record says it
        try:
            return deployed.catalog.get_backup(backup_id)
        except BackupStateError:
            raise error from None
    if answer["outcome"] == "completed":
        return deployed.catalog.get_backup(backup_id)
    return str(answer["reason"])


def end_interrupted(work: Background[Any], end: Callable[[], None]) -> None:
    """Stop a run after Ctrl-C, wait until it has cleaned up, and exit; a second Ctrl-C exits immediately.

    Raises
    ------
    typer.Exit
        Always.
    """
    remark("Stopping: sessions at the server are ended, and the run is recorded. Ctrl-C again exits immediately.")
    end()
    try:
        while not work.wait(0.5):
            pass
        work.result()
    except KeyboardInterrupt:
        remark(
            "Left behind: the run counts as dead within a minute, and the next backup of the target ends its record."
        )
    except CoffreError as error:  # the interruption, or what came before it
        show_error(error)
    else:
        remark("The backup was complete already.")
    raise typer.Exit(Exit.INTERRUPTED) from None
