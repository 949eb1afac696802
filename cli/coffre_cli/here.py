"""`--here`: the functions' own code in this process, with the caller's AWS rights (docs/here.md, docs/adr/0044)."""

from __future__ import annotations

import io
import logging
import os
import signal
import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, NoReturn, Protocol, Self

import typer
from ulid import ULID

from coffre.model.backup import Progress
from coffre.model.errors import CoffreError, SettingsError
from coffre.operations.runs.heartbeat import Watch
from coffre.postgres.connection.client_tools import PostgresTools
from coffre.postgres.scratch.given_server import GivenServer
from coffre.runtime.backup_database_function import BackupDatabaseFunction
from coffre.runtime.backup_storage_function import BackupStorageFunction
from coffre.runtime.bootstrap import Services
from coffre.runtime.drill_function import DrillFunction, scratch_place
from coffre.runtime.environment import PostgresSettings, Settings
from coffre.runtime.function import LambdaContext
from coffre.runtime.restore_function import RestoreFunction
from coffre.runtime.sources import Stage
from coffre_cli.background import Background, InterruptedRunError
from coffre_cli.client_programs import find_tools
from coffre_cli.deployed import DeployedStack, Started
from coffre_cli.exit_status import Exit
from coffre_cli.screen import remark, show_error

if TYPE_CHECKING:
    from mypy_boto3_lambda import LambdaClient

# No platform ends this process: thirty years.
_FOR_EVER_MS: Final = 10**12
_WAIT_SECONDS: Final = 0.5
_AFTER_INTERRUPTION: Final = {
    "backup": "Nothing was published; older backups are untouched. Take it again.",
    "drill": "Nothing is known against the backup. Drill it again.",
    "restore": "The backup is untouched. Look at what the destination holds before you run it again (docs/here.md).",
}


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


@dataclass(frozen=True)
class _Services(Services):
    """The services of a function; secrets that exist in this process alone are not looked for elsewhere."""

    lent: Mapping[str, str] = field(default_factory=dict, compare=False, repr=False)

    def secret(self, reference: str, stage: Stage = "AWSCURRENT") -> str:
        return self.lent[reference] if reference in self.lent else super().secret(reference, stage)


class Interruption:
    """Ends a run (a `backup`, `restore` or `drill`) from outside, also one that has not begun."""

    def __init__(self, what: str) -> None:
        self.what = what
        self._watch: Watch | None = None
        self._reason: Exception | None = None

    def watched(self, watch: Watch) -> None:
        """Take the watch of the run."""
        self._watch = watch
        if self._reason is not None:
            watch.end(self._reason)

    def progress(self) -> Progress:
        """Return how far the run is."""
        return self._watch.progress() if self._watch else Progress()

    def end(self) -> None:
        """Stop the run as a deadline does: its sessions are ended, and its record says FAILED."""
        self._reason = InterruptedRunError(
            f"The {self.what} was interrupted on the machine where it ran.", hint=_AFTER_INTERRUPTION[self.what]
        )
        if self._watch is not None:
            self._watch.end(self._reason)


class RunHere[T](Started):
    """A run in this process."""

    def __init__(self, work: Callable[[], T], interruption: Interruption) -> None:
        self._interruption = interruption
        self._work = Background(work)

    def has_ended(self) -> bool:
        return self._work.has_ended()

    def result(self) -> T:
        """Wait for the end, and return the answer or raise the error; Ctrl-C is heard meanwhile."""
        self.settle()
        return self._work.result()

    def wait(self, seconds: float) -> bool:
        """Wait for the end for this long at most, and return whether it is over."""
        return self._work.wait(seconds)

    def settle(self) -> None:
        while not self.wait(_WAIT_SECONDS):
            pass

    def end(self) -> None:
        """Stop it; it cleans up, and is recorded and reported."""
        self._interruption.end()

    def progress(self) -> Progress:
        """Return how far it is."""
        return self._interruption.progress()

    @property
    def what(self) -> str:
        """What it is, for messages."""
        return self._interruption.what


@dataclass(frozen=True)
class StackHere(DeployedStack):
    """A stack whose functions run in this process, with the settings that they have there.

    `home` has PostgreSQL's programs in its `bin`; None: they are looked for when they are needed. `given` is the server
    that drills restore into, in place of one of their own.
    """

    home: Path | None = None
    given: GivenServer | None = None
    _lent: dict[str, str] = field(default_factory=dict, compare=False, repr=False)
    _runs: list[RunHere[dict[str, Any]]] = field(default_factory=list, compare=False, repr=False)

    @classmethod
    def of(cls, deployed: DeployedStack, home: Path | None = None) -> Self:
        """Return the same stack, whose functions run here. SIGTERM of a container service is heard as Ctrl-C then."""
        if threading.current_thread() is threading.main_thread():
            signal.signal(signal.SIGTERM, signal.default_int_handler)
        return cls(deployed.name, deployed.outputs, deployed.reading, home)

    def start(self, function: str, event: Mapping[str, Any]) -> RunHere[dict[str, Any]]:
        """Run a function in the background.

        Raises
        ------
        SettingsError
            `TOOLS_MISSING`, `TOOLS_BROKEN`, `TOOLS_TOO_OLD`, `FUNCTION_UNREADABLE`: nothing was begun.
        """
        interruption = Interruption(function.partition("_")[0])
        work = self._function(function, interruption)
        context = _Context(self.function_name(function))
        sent = {**event, "actor": self.caller}
        run = RunHere(lambda: work.handle(sent, context), interruption)
        self._runs.append(run)
        return run

    def ask(self, function: str, event: Mapping[str, Any]) -> dict[str, Any]:
        """Run a function, wait, and return its answer or raise its error."""
        return self.start(function, event).result()

    @contextmanager
    def lending(self, name: str, text: str) -> Iterator[str]:
        """Let the functions read a secret that exists nowhere else, as long as the block runs."""
        self._lent[name] = text
        try:
            yield name
        finally:
            del self._lent[name]

    def settle(self) -> None:
        for run in [run for run in self._runs if not run.has_ended()]:
            remark(f"The {run.what} cannot be followed any more. It continues in this process; Ctrl-C stops it.")
            run.settle()

    def leave(self, _run_id: str, /) -> NoReturn:
        """Stop what runs after Ctrl-C, wait until it has cleaned up, and exit; a second Ctrl-C exits immediately."""
        end_interrupted([run for run in self._runs if not run.has_ended()])

    def _function(self, name: str, interruption: Interruption) -> _Function:
        if name == "backup_database":
            tools = find_tools(self.home)
            settings = PostgresSettings.from_env(self._environment_of(name))
            return BackupDatabaseFunction(self._services(name, settings), tools, interruption.watched)
        if name == "drill":
            services = self._services(name, Settings.from_env(self._environment_of(name)))
            place, watched = scratch_place(services), interruption.watched
            return DrillFunction(services, self._server_tools, place, given=self.given, watched=watched)
        services = self._services(name, Settings.from_env(self._environment_of(name)))
        if name == "backup_storage":
            return BackupStorageFunction(services, interruption.watched, is_here=True)
        return RestoreFunction(services, interruption.watched)

    @property
    def _server_tools(self) -> PostgresTools:
        """PostgreSQL's programs for a drill; into a given server, it works without them."""
        if self.home is not None:
            return PostgresTools(self.home)
        try:
            return find_tools(None)
        except SettingsError:
            return PostgresTools(Path("/nonexistent"))

    def _services(self, name: str, settings: Settings) -> Services:
        """Return the services of a function, whose logs and metrics do not get among the command's own output."""
        os.environ.setdefault("POWERTOOLS_METRICS_DISABLED", "true")
        services = _Services(name, settings, lent=self._lent)
        for handler in services.edge.logger.handlers:
            if isinstance(handler, logging.StreamHandler):
                handler.setStream(_Nowhere())
        return services

    def _environment_of(self, function: str) -> Mapping[str, str]:
        """Return the settings that the deployed function has.

        Raises
        ------
        SettingsError
            `FUNCTION_UNREADABLE`
        """
        from botocore.exceptions import BotoCoreError, ClientError

        client: LambdaClient = self.functions
        name = self.function_name(function)
        try:
            found = client.get_function_configuration(FunctionName=name)
        except (ClientError, BotoCoreError) as error:
            raise SettingsError(
                f"The settings of the function {name} cannot be read.",
                code="FUNCTION_UNREADABLE",
                detail=str(error)[:500],
                hint="With --here your own AWS credentials do what the function's role does; docs/here.md lists what "
                "they need, lambda:GetFunctionConfiguration among it.",
            ) from error
        return found.get("Environment", {}).get("Variables", {})


def end_interrupted(runs: Sequence[RunHere[Any]]) -> NoReturn:
    """Stop runs after Ctrl-C, wait until they have cleaned up, and exit; a second Ctrl-C exits immediately."""
    remark("Stopping: sessions at the server are ended, and the run is recorded. Ctrl-C again exits immediately.")
    for run in runs:
        run.end()
    try:
        for run in runs:
            _show_end(run)
    except KeyboardInterrupt:
        remark("Left behind: the run counts as dead within a minute, and the next run of its kind ends its record.")
    raise typer.Exit(Exit.INTERRUPTED) from None


def _show_end(run: RunHere[Any]) -> None:
    try:
        run.result()
    except CoffreError as error:  # the interruption, or what came before it
        show_error(error)
    else:
        remark(f"The {run.what} was complete already.")
