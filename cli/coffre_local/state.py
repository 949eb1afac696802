"""What `coffre local up` left running, in a file that the next command reads."""

import os
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Literal

from pydantic import TypeAdapter, ValidationError

from coffre_local.aws import LocalAws
from coffre_local.errors import StackError
from coffre_local.issuer import LocalIssuer
from coffre_local.processes import ProcessMark
from coffre_local.toolchain import CHECKOUT

if TYPE_CHECKING:
    from coffre_local.postgres_server import PostgresServer

STATE_FILE = Path(".coffre") / "local.json"


@dataclass(frozen=True, slots=True)
class LocalPostgres:
    """The server with the sample database."""

    port: int
    mark: ProcessMark
    directory: Path
    password: str = field(repr=False)

    def server(self) -> "PostgresServer":
        """Return the running server."""
        # Only who starts or ends it needs this: every command reads the state.
        from coffre_local.postgres_server import PostgresServer, ServerOptions

        return PostgresServer.running(self.mark, self.directory, ServerOptions(port=self.port, password=self.password))


@dataclass(frozen=True, slots=True)
class LocalState:
    """One local stack.

    Parameters
    ----------
    status
        `starting` until everything is deployed: what a crash of `up` leaves behind.
    directory
        Below it is everything that the stack keeps on disk.
    issuer
        The identity provider, if the console is on.
    databases
        Names of the databases whose URLs are in secrets, sorted.
    buckets
        Names of the buckets with the sample's files, each the only one of a target of its name.
    outputs
        The deployed template's outputs.
    code
        Fingerprint of the deployed code.
    """

    status: Literal["starting", "up"]
    stack: str
    directory: Path
    aws: LocalAws | None = None
    postgres: LocalPostgres | None = None
    issuer: LocalIssuer | None = None
    databases: tuple[str, ...] = ()
    buckets: tuple[str, ...] = ()
    outputs: Mapping[str, str] = field(default_factory=dict)
    parameters: Mapping[str, str] = field(default_factory=dict)
    code: str = ""

    def is_alive(self) -> bool:
        """Return whether everything that was started still runs."""
        postgres = self.postgres is None or self.postgres.mark.process() is not None
        issuer = self.issuer is None or self.issuer.is_alive()
        return self.status == "up" and self.aws is not None and self.aws.is_healthy() and postgres and issuer


@cache
def _states() -> TypeAdapter[LocalState]:
    # Not at import: every command looks for a state, and most find none.
    return TypeAdapter(LocalState)


def state_file(checkout: Path = CHECKOUT) -> Path:
    """Return the place of the state file."""
    return checkout / STATE_FILE


def read_state(checkout: Path = CHECKOUT) -> LocalState | None:
    """Return the state of the local stack, or None when none was started.

    Raises
    ------
    StackError
        The file is from another version of Coffre, or damaged.
    """
    path = state_file(checkout)
    try:
        return _states().validate_json(path.read_bytes())
    except FileNotFoundError:
        return None
    except ValidationError as error:
        raise StackError(
            f"{path} is not a state file of this version.",
            code="LOCAL_STATE_UNREADABLE",
            detail=str(error),
            hint="End the processes of the old local stack by hand, and remove the file.",
        ) from error


def write_state(state: LocalState, checkout: Path = CHECKOUT) -> None:
    """Replace the state file atomically; only the owner can read it (it holds a password)."""
    path = state_file(checkout)
    path.parent.mkdir(parents=True, exist_ok=True)
    partial = path.with_suffix(".partial")
    partial.unlink(missing_ok=True)
    with os.fdopen(os.open(partial, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "wb") as file:
        file.write(_states().dump_json(state, indent=1))
    partial.replace(path)


def forget_state(checkout: Path = CHECKOUT) -> None:
    """Remove the state file."""
    state_file(checkout).unlink(missing_ok=True)
