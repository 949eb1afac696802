"""Coffre's whole stack on this machine: up, down, and how to reach it."""

import fcntl
import secrets
import shutil
import tempfile
import threading
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import psutil

from coffre_local.aws import session, start_aws
from coffre_local.deployment import Deployment
from coffre_local.errors import DeploymentError, StackError, tail_of
from coffre_local.issuer import start_issuer, with_people
from coffre_local.postgres_server import PostgresServer, ServerOptions
from coffre_local.processes import ProcessMark, end
from coffre_local.sample import load
from coffre_local.sample.files import load_files, make_bucket
from coffre_local.state import LocalPostgres, LocalState, forget_state, read_state, state_file, write_state
from coffre_local.toolchain import CHECKOUT, Toolchain, quiet

STACK = "coffre"
SAMPLE = "casa"
SAMPLE_FILES = "casa-files"
SECRET_PREFIX = "coffre/database/"  # noqa: S105 (where the secrets are)

Prepare = Callable[[Mapping[str, str]], Mapping[str, str]]


def no_parameters(_: Mapping[str, str]) -> Mapping[str, str]:
    """Prepare nothing."""
    return {}


@dataclass(frozen=True, slots=True)
class StackOptions:
    """What the stack should hold.

    Parameters
    ----------
    databases
        Name -> connection URL of the databases to protect. Each URL goes into the secret `coffre/database/<name>`.
    sample
        Start a PostgreSQL server with the sample database, protected as `casa`, and fill a bucket with the sample's
        files, protected as `casa-files`.
    sample_scale
        1.0 is about 770,000 rows.
    parameters
        Values of the template's parameters.
    console
        Turn the console on, with an identity provider and test users.
    prepare
        Called with the AWS environment after the secrets exist and before the template is deployed; returns further
        parameters.
    """

    databases: Mapping[str, str] | None = None
    sample: bool = False
    sample_scale: float = 1.0
    console: bool = False
    parameters: Mapping[str, str] | None = None
    prepare: Prepare = no_parameters


def up(
    options: StackOptions, *, port: int = 0, checkout: Path = CHECKOUT, on_step: Callable[[str], None] = quiet
) -> LocalState:
    """Start everything and deploy the template; return when functions can be invoked.

    Up again is fast: databases and the sample are added where they are new, and the template is deployed again if its
    code or a parameter changed. What an interrupted `up` left behind is cleared away first.

    Parameters
    ----------
    port
        Port of the AWS endpoint; 0 for a free one.
    on_step
        Called with what is being done, from more than one thread.

    Raises
    ------
    CoffreError
        Something did not start, or the template cannot be deployed; nothing is left running.
    """
    with _exclusive(checkout):
        state = read_state(checkout)
        if state is not None and state.is_alive():
            on_step("The local stack is already up")
            return _Builder(state, checkout, on_step).refresh(options)
        if state is not None:
            on_step("Clearing away what an earlier local stack left behind")
            _clear(state, checkout)
        directory = Path(tempfile.mkdtemp(prefix="coffre-local-"))
        # PostgreSQL may have to run as another user, below this directory.
        directory.chmod(0o711)
        state = LocalState(status="starting", stack=STACK, directory=directory)
        write_state(state, checkout)
        builder = _Builder(state, checkout, on_step)
        try:
            return builder.build(options, port)
        except BaseException:
            _clear(builder.state, checkout)
            raise


def down(*, checkout: Path = CHECKOUT) -> bool:
    """Stop everything and remove what it stored; return whether there was anything."""
    with _exclusive(checkout):
        state = read_state(checkout)
        if state is None:
            return False
        _clear(state, checkout)
        return True


def running(checkout: Path = CHECKOUT) -> LocalState:
    """Return the local stack.

    Raises
    ------
    StackError
        It is not up.
    """
    state = read_state(checkout)
    if state is None or not state.is_alive():
        raise StackError("The local stack is not up.", code="LOCAL_STACK_DOWN", hint="Run `coffre local up`.")
    return state


def environment(checkout: Path = CHECKOUT) -> dict[str, str]:
    """Return the variables that lead AWS clients, and Coffre's own command, to the local stack.

    Raises
    ------
    StackError
        It is not up.
    """
    return environment_of(running(checkout))


def environment_of(state: LocalState) -> dict[str, str]:
    """Return the variables that lead to a stack that is up."""
    if state.aws is None:
        raise StackError("The local stack has no AWS yet.", code="LOCAL_STACK_DOWN", hint="Run `coffre local up`.")
    return {**state.aws.environment(), "COFFRE_STACK": state.stack}


def put_database_secret(environment: Mapping[str, str], name: str, url: str) -> None:
    """Write the secret with a database's URL, or replace its value."""
    client = session(environment).client("secretsmanager", endpoint_url=environment["AWS_ENDPOINT_URL"])
    try:
        client.create_secret(Name=f"{SECRET_PREFIX}{name}", SecretString=url)
    except client.exceptions.ResourceExistsException:
        client.put_secret_value(SecretId=f"{SECRET_PREFIX}{name}", SecretString=url)


class _Builder:
    """Builds one stack and keeps its state file true while it grows."""

    def __init__(self, state: LocalState, checkout: Path, on_step: Callable[[str], None]) -> None:
        self.state = state
        self._checkout = checkout
        self._on_step = on_step
        self._toolchain = Toolchain(on_step=on_step)
        self._writing = threading.Lock()

    def build(self, options: StackOptions, port: int) -> LocalState:
        # The sample keeps PostgreSQL busy while SAM builds: both take seconds.
        with ThreadPoolExecutor(max_workers=2) as pool:
            sample: Future[str] | None = (
                pool.submit(self._start_sample, options.sample_scale) if options.sample else None
            )
            self._on_step("Starting the local AWS")
            self._note(aws=start_aws(self._toolchain.ministack(), self.state.directory / "aws", port=port))
            files = pool.submit(self._load_files, options.sample_scale) if options.sample else None
            self._protect(options.databases or {})
            parameters = {**(options.parameters or {}), **options.prepare(environment_of(self.state))}
            self._deploy(self._with_console(parameters) if options.console else parameters)
            if sample is not None:
                self._protect({SAMPLE: sample.result()})
            if files is not None:
                files.result()
        self._note(status="up")
        return self.state

    def refresh(self, options: StackOptions) -> LocalState:
        databases = dict(options.databases or {})
        if options.sample and self.state.postgres is None:
            databases[SAMPLE] = self._start_sample(options.sample_scale)
            self._load_files(options.sample_scale)
        self._protect(databases)
        parameters = {**self.state.parameters, **(options.parameters or {})}
        if options.console:
            parameters = self._with_console(parameters)
        if parameters != self.state.parameters or self._deployment().fingerprint() != self.state.code:
            self._deploy(parameters)
        return self.state

    def _with_console(self, parameters: Mapping[str, str]) -> dict[str, str]:
        issuer = self.state.issuer or start_issuer(self.state.directory)
        self._note(issuer=issuer)
        document = with_people(parameters["ConfigurationDocument"], issuer)
        return {**parameters, "Console": "on", "ConfigurationDocument": document}

    def _deployment(self) -> Deployment:
        return Deployment(
            self.state.directory, checkout=self._checkout, toolchain=self._toolchain, on_step=self._on_step
        )

    def _deploy(self, parameters: Mapping[str, str]) -> None:
        deployment = self._deployment()
        try:
            outputs = deployment.deploy(environment_of(self.state), self.state.stack, parameters)
        except DeploymentError as error:
            # What made SAM fail is often in the emulator's log alone, which is removed with the stack.
            error.detail = f"{error.detail}\n\nThe log of the local AWS:\n{self._aws_log()}"
            raise
        self._note(outputs=outputs, parameters=dict(parameters), code=deployment.fingerprint())

    def _aws_log(self) -> str:
        return tail_of(self.state.aws.log) if self.state.aws is not None else ""

    def _protect(self, databases: Mapping[str, str]) -> None:
        for name, url in databases.items():
            put_database_secret(environment_of(self.state), name, url)
        self._note(databases=tuple(sorted({*self.state.databases, *databases})))

    def _start_sample(self, scale: float) -> str:
        self._on_step("Starting PostgreSQL with the sample database")
        password = secrets.token_urlsafe(18)
        server = PostgresServer(
            self._toolchain.embedded_postgresql(),
            ServerOptions(password=password, settings={"wal_level": "logical"}),
            directory=self.state.directory / "postgres",
        ).start(detached=True)
        if server.mark is not None:
            self._note(postgres=LocalPostgres(server.port, server.mark, server.directory, password))
        url = server.create_database(SAMPLE)
        load(url, scale=scale)
        return url

    def _load_files(self, scale: float) -> None:
        environment = environment_of(self.state)
        client = session(environment).client("s3", endpoint_url=environment["AWS_ENDPOINT_URL"])
        make_bucket(client, SAMPLE_FILES, environment["AWS_REGION"])
        load_files(client, SAMPLE_FILES, scale=scale)
        self._note(buckets=(SAMPLE_FILES,))

    def _note(self, **changes: Any) -> None:
        with self._writing:
            self.state = replace(self.state, **changes)
            write_state(self.state, self._checkout)


def _clear(state: LocalState, checkout: Path) -> None:
    if state.postgres is not None:
        state.postgres.server().stop()
    for mark in _marks_of(state):
        end(mark, patience_seconds=5.0)
    shutil.rmtree(state.directory, ignore_errors=True)
    forget_state(checkout)


def _marks_of(state: LocalState) -> list[ProcessMark]:
    """Return the processes of a stack, those too that an interrupted `up` had no time to record.

    They work below the stack's directory. A user's shell may do so as well, but it has a terminal.
    """
    found = [] if state.aws is None else [state.aws.mark]
    for process in psutil.process_iter():
        try:
            if process.terminal() is None and Path(process.cwd()).is_relative_to(state.directory):
                found.append(ProcessMark.of(process.pid))
        except (psutil.Error, OSError):
            continue
    return found


@contextmanager
def _exclusive(checkout: Path) -> Iterator[None]:
    lock = state_file(checkout).with_suffix(".lock")
    lock.parent.mkdir(parents=True, exist_ok=True)
    with lock.open("w") as handle:
        try:
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            raise StackError(
                "Another command is starting or stopping the local stack.",
                code="LOCAL_STACK_BUSY",
                hint="Wait until it has ended, then try again.",
            ) from error
        yield
