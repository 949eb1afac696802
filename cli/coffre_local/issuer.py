"""The local stack's identity provider: who its users are, how it is started, and how the configuration names it."""

import json
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import psutil

from coffre_local.errors import EmulatorError, tail_of
from coffre_local.ports import free_port
from coffre_local.processes import ProcessMark, end, minimal_environment, start_detached
from coffre_local.toolchain import CHECKOUT

CLIENT_ID: Final = "coffre-local"
START_SECONDS: Final = 60.0


@dataclass(frozen=True, slots=True)
class Person:
    """A test user."""

    name: str
    about: str
    groups: tuple[str, ...]


# The roles of docs/console.md; a group has its role's name.
PEOPLE: Final[Mapping[str, Person]] = {
    "ada": Person("Ada", "admin, may do everything", ("admin",)),
    "otto": Person("Otto", "operator, backs up and verifies", ("operator",)),
    "rita": Person("Rita", "restorer, restores rows, tables and objects", ("restorer",)),
    "vera": Person("Vera", "viewer, sees everything and changes nothing", ("viewer",)),
    "noah": Person("Noah", "in no group, and without access", ()),
}


@dataclass(frozen=True, slots=True)
class LocalIssuer:
    """The running identity provider."""

    port: int
    mark: ProcessMark

    @property
    def url(self) -> str:
        """What its tokens name as their issuer. The console's host is below `localhost`: another site."""
        return f"http://127.0.0.1:{self.port}"

    def is_alive(self) -> bool:
        """Return whether it runs."""
        return self.mark.process() is not None


def start_issuer(directory: Path) -> LocalIssuer:
    """Start the identity provider in the background and wait until it answers.

    Parameters
    ----------
    directory
        Where it works, and has its log.

    Raises
    ------
    EmulatorError
        It does not start; the detail has its last words.
    """
    port, log = free_port(), directory / "identity-provider.log"
    # Of the checkout whose command runs: its dependencies are those of the command's own Python.
    environment = minimal_environment(PYTHONPATH=f"{CHECKOUT / 'cli'}:{CHECKOUT / 'layers' / 'coffre'}")
    command = [sys.executable, "-m", "coffre_local.identity_provider", str(port)]
    try:
        issuer = LocalIssuer(port, start_detached(command, environment=environment, log=log, directory=directory))
        _await_answer(issuer)
    except (psutil.NoSuchProcess, TimeoutError):
        raise EmulatorError(
            "The local identity provider did not start.",
            code="LOCAL_ISSUER_START",
            detail=tail_of(log),
            hint="The console needs it. If modules are missing, make the virtual environment again: make setup.",
        ) from None
    return issuer


def _await_answer(issuer: LocalIssuer) -> None:
    deadline = time.monotonic() + START_SECONDS
    while True:
        try:
            with urllib.request.urlopen(f"{issuer.url}/.well-known/openid-configuration", timeout=2):  # noqa: S310 (ours)
                return
        except OSError:
            if not issuer.is_alive() or time.monotonic() > deadline:
                end(issuer.mark)
                raise TimeoutError from None
        time.sleep(0.05)


def with_people(document: str, issuer: LocalIssuer) -> str:
    """Return a configuration document whose console this provider's users can use, each group with its role."""
    whole: dict[str, Any] = json.loads(document)
    groups = [group for person in PEOPLE.values() for group in person.groups]
    roles = [{"group": group, "role": group} for group in groups]
    return json.dumps({**whole, "console": {"issuer": issuer.url, "client_id": CLIENT_ID, "roles": roles}})
