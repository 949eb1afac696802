"""What exists already: `init` finds it out each time and remembers nothing, so that it can be run again any time."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from coffre.model.errors import SecretError
from coffre_cli.commands.init.questions import InitError
from coffre_cli.commands.keys.secrets import DEFAULT_SECRET, READABLE, find
from coffre_cli.deployed import DeployedStack
from coffre_cli.deploying.change_set import Stack

if TYPE_CHECKING:
    from mypy_boto3_secretsmanager import SecretsManagerClient

DEFAULT_STACK: Final = "coffre"
CONFIGURATION: Final = "configuration.json"
PARAMETERS: Final = "parameters.yaml"
OFFLINE: Final = "offline-key.txt"
_DATABASES: Final = "coffre/database/"


@dataclass(frozen=True)
class Place:
    """Where a stack keeps its things: names of secrets, and the directory with the readable files.

    Secrets of the stack `coffre` have the names that the documentation uses; those of other stacks are below theirs.
    """

    stack: str
    directory: Path

    @property
    def identity_secret(self) -> str:
        """The name of the secret with the private keys."""
        return DEFAULT_SECRET if self.stack == DEFAULT_STACK else f"{READABLE}{self.stack}"

    def database_secret(self, target: str) -> str:
        """Return the name of the secret with a database's address."""
        return f"{_DATABASES}{target}" if self.stack == DEFAULT_STACK else f"{_DATABASES}{self.stack}/{target}"

    @property
    def configuration(self) -> Path:
        """The file with the configuration document."""
        return self.directory / CONFIGURATION

    @property
    def parameters(self) -> Path:
        """The file with the template's parameters."""
        return self.directory / PARAMETERS


@dataclass(frozen=True)
class Before:
    """The stack, its document and its keys as they are.

    Parameters
    ----------
    document
        Of the stack, else of the file that an earlier run wrote; empty when there was none.
    recipients
        The public key of the newest private key in the stack's secret: no key, or one.
    """

    is_deployed: bool
    outputs: Mapping[str, str]
    parameters: Mapping[str, str]
    document: Mapping[str, Any]
    recipients: tuple[str, ...]

    @property
    def targets(self) -> list[dict[str, Any]]:
        """The document's targets."""
        return list(self.document.get("targets", []))


@dataclass(frozen=True)
class Secrets:
    """The secrets with addresses of databases; their values are never shown."""

    client: SecretsManagerClient = field(repr=False)

    def read(self, name: str) -> str | None:
        """Return the value; None when the secret does not exist. Raises `SecretError`."""
        from coffre.runtime.sources import read_secret

        try:
            return read_secret(self.client, name)
        except SecretError as error:
            if error.code == "SECRET_MISSING":
                return None
            raise

    def write(self, name: str, text: str) -> None:
        """Create the secret, or give it another value. Raises `SecretError` (`SECRET_NOT_WRITTEN`)."""
        from botocore.exceptions import BotoCoreError, ClientError

        try:
            try:
                self.client.create_secret(Name=name, SecretString=text, Description="Coffre: address of a database")
            except self.client.exceptions.ResourceExistsException:
                self.client.put_secret_value(SecretId=name, SecretString=text)
        except (ClientError, BotoCoreError) as error:
            raise SecretError(
                f"The address could not be stored in the secret {name}.",
                code="SECRET_NOT_WRITTEN",
                detail=str(error)[:300],
                hint="Your AWS credentials need secretsmanager:CreateSecret and PutSecretValue on it.",
            ) from error


def look_before(place: Place, stack: Stack, secrets: Secrets) -> Before:
    """Find out what an earlier run, or a person, has made.

    Raises
    ------
    CoffreError
        AWS does not answer, or what exists cannot be read.
    """
    from coffre.vault.codec import public_key

    described = stack.described()
    outputs = stack.outputs() if described else {}
    stored = find(secrets.client, place.identity_secret)
    return Before(
        is_deployed=described is not None,
        outputs=outputs,
        parameters=stack.parameters() if described else {},
        document=_document(place, outputs),
        recipients=(public_key(stored.identities[-1]),) if stored else (),
    )


def _document(place: Place, outputs: Mapping[str, str]) -> Mapping[str, Any]:
    if "Configuration" in outputs:
        current = DeployedStack(place.stack, outputs).current_configuration
        text, where = current.document, current.place
    elif place.configuration.exists():
        text, where = place.configuration.read_text(encoding="utf-8"), str(place.configuration)
    else:
        return {}
    try:
        found = json.loads(text)
    except ValueError:
        found = None
    if not isinstance(found, dict):
        raise InitError(
            f"{where} is not a configuration document.", hint="Correct it, or remove it to begin with a new one."
        )
    return found
