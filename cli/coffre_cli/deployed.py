"""A deployed stack, here or in AWS: where its catalog, vault and functions are."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import cached_property
from typing import TYPE_CHECKING, Any, NoReturn

import typer

from coffre.model.errors import IntegrityError, PermanentError, SecretError, TargetUnknownError
from coffre.runtime.failed_answer import FunctionFailedError
from coffre_cli import aws
from coffre_cli.exit_status import Exit
from coffre_cli.screen import remark

if TYPE_CHECKING:
    from mypy_boto3_events import EventBridgeClient
    from mypy_boto3_lambda import LambdaClient
    from mypy_boto3_secretsmanager import SecretsManagerClient

    from coffre.catalog.catalog import Catalog
    from coffre.model.configuration import Configuration
    from coffre.model.configuration_version import CurrentConfiguration
    from coffre.model.kinds import TargetKind
    from coffre.vault.vault import Vault
    from coffre_cli.caller import Caller
# A function runs for up to 15 minutes; the client must not time out and invoke it a second time.
_LONGEST_RUN_SECONDS = 910


class StackUnreachableError(PermanentError):
    """The stack cannot be found, or does not answer."""

    default_code = "STACK_UNREACHABLE"


class Started:
    """A run that was started in the stack: only its records in the catalog say how it goes."""

    def has_ended(self) -> bool:
        """Return whether it is known to be over."""
        return False

    def settle(self) -> None:
        """Wait until it has done everything, what comes after its record too."""

    def result(self) -> object:
        """Return its answer, or raise its error, where that is known."""
        return None


@dataclass(frozen=True)
class DeployedStack:
    """One stack by its outputs (see the end of template.yaml).

    `reading` makes of the stack's own vault the one that is read, with its copies.
    """

    name: str
    outputs: Mapping[str, str]
    reading: Callable[[Vault], Vault] | None = field(default=None, compare=False, repr=False)

    @cached_property
    def catalog(self) -> Catalog:
        from coffre.catalog.catalog import Catalog

        return Catalog(self._output("CatalogTable"), origin=f"command, {aws.asked_place()}")

    @cached_property
    def vault(self) -> Vault:
        from coffre.stores.s3 import S3Store
        from coffre.stores.s3_client import make_client
        from coffre.vault.vault import Vault

        prefix = self._output("VaultPrefix").lstrip("/")
        own = Vault(S3Store(self._output("VaultBucket"), prefix=prefix, client=make_client()))
        return own if self.reading is None else self.reading(own)

    @cached_property
    def functions(self) -> LambdaClient:
        from botocore.config import Config

        functions: LambdaClient = aws.client("lambda", Config(read_timeout=_LONGEST_RUN_SECONDS))
        return functions

    @cached_property
    def secrets(self) -> SecretsManagerClient:
        secrets: SecretsManagerClient = aws.client("secretsmanager")
        return secrets

    @cached_property
    def events(self) -> EventBridgeClient:
        events: EventBridgeClient = aws.client("events")
        return events

    @property
    def caller(self) -> str:
        """The caller for audit events: the ARN of the AWS credentials."""
        return self._caller.arn or "unknown"

    @cached_property
    def _caller(self) -> Caller:
        from coffre_cli.caller import Caller

        return Caller.of_this_process()

    @cached_property
    def configuration(self) -> Configuration:
        """The configuration that is in effect, with the databases that were found on servers."""
        from coffre.model.configuration import parse_configuration
        from coffre.runtime.server_databases import with_databases

        current = self.current_configuration
        return with_databases(parse_configuration(current.document, where=current.place), self.catalog)

    @cached_property
    def current_configuration(self) -> CurrentConfiguration:
        """Which configuration document is in effect, and the template's."""
        from coffre.runtime.sources import read_configuration

        return read_configuration(self.catalog, aws.client("ssm"), self._output("Configuration"))

    def only_target(self, name: str | None, kind: TargetKind | None = None) -> str:
        """Return the named target, or the only one (of a kind) that is configured."""
        if name is not None:
            return self.known_target(name)
        names = [target.name for target in self.configuration.targets if kind in (None, target.kind)]
        if len(names) == 1:
            return names[0]
        if not names:
            raise TargetUnknownError(
                f"No target of the kind {kind or 'asked for'} is configured.",
                hint="`coffre list` shows the backups of all targets.",
            )
        raise TargetUnknownError(
            f"Several targets are configured: {', '.join(names)}.", hint=f"Name one of them: --target {names[0]}"
        )

    def known_target(self, name: str) -> str:
        """Return the name of a target that is configured, or was: backups of it are in the catalog.

        Raises
        ------
        TargetUnknownError
            It is neither; the error names the targets that are known.
        """
        damaged: list[IntegrityError] = []
        if next(self.catalog.backups(target=name, damaged=damaged), None) is not None or damaged:
            return name
        configured = {target.name for target in self.configuration.targets}
        if name in configured:
            return name
        if any(server.name == name for server in self.configuration.servers):
            raise self._several(name)
        removed = {backup.target for backup in self.catalog.backups(damaged=damaged)} - configured
        also = f" With backups, though no longer configured: {', '.join(sorted(removed))}." if removed else ""
        raise TargetUnknownError(
            f'No target "{name}" exists.',
            detail=f"Configured targets: {', '.join(sorted(configured))}.{also}",
            hint="Check the name's spelling, and that this is the right stack.",
        )

    def _several(self, server: str) -> TargetUnknownError:
        from coffre.model.database_target import FoundDatabase

        databases = self.configuration.databases
        names = [one.name for one in databases if isinstance(one, FoundDatabase) and one.server == server]
        return TargetUnknownError(
            f'"{server}" is a server: each of its databases is a target.',
            detail=f"Its databases: {', '.join(names)}.",
            hint=f"Name one of them: {names[0]}",
        )

    def word_of(self, name: str) -> str:
        """Return the subcommand of `coffre backup` for this target: `database` or `buckets`."""
        return next((target.kind.word for target in self.configuration.targets if target.name == name), "database")

    def function_name(self, function: str) -> str:
        """Return the deployed name of a function, such as `backup_database`."""
        output = "".join(word.capitalize() for word in function.split("_")) + "Function"
        return self._output(output)

    def start(self, function: str, event: Mapping[str, Any]) -> Started:
        """Invoke a function asynchronously; the caller follows the heartbeat in the catalog."""
        self._invoke(function, event, "Event")
        return Started()

    def settle(self) -> None:
        """Wait until what was started in this process has ended: without it, that would die in the middle."""

    def leave(self, run_id: str, /) -> NoReturn:
        """Leave a run after Ctrl-C."""
        remark(f"Interrupted. The run continues in the stack: coffre show {run_id}")
        raise typer.Exit(Exit.INTERRUPTED) from None

    @contextmanager
    def lending(self, name: str, text: str) -> Iterator[str]:
        """Let the functions read a secret of this name, which exists as long as the block runs.

        A run that is left by Ctrl-C continues in the stack, and its next invocation reads it: then it stays.

        Raises
        ------
        SecretError
            `SECRET_NOT_WRITTEN`
        """
        from botocore.exceptions import BotoCoreError, ClientError

        try:
            self.secrets.create_secret(Name=name, SecretString=text, Description="Destination of a running restore")
        except (ClientError, BotoCoreError) as error:
            raise SecretError(
                f"The destination could not be stored in the secret {name} for the function.",
                code="SECRET_NOT_WRITTEN",
                detail=str(error)[:300],
                hint="Your credentials need secretsmanager:CreateSecret and DeleteSecret on coffre/destination/*.",
            ) from error
        try:
            yield name
        except typer.Exit as left:
            if left.exit_code == Exit.INTERRUPTED:
                remark(f"The restore needs the secret {name}, with the destination's password, until it has ended.")
                remark(f"Then: aws secretsmanager delete-secret --secret-id {name} --force-delete-without-recovery")
            else:
                self._take_back(name)
            raise
        except BaseException:
            self._take_back(name)
            raise
        self._take_back(name)

    def _take_back(self, name: str) -> None:
        from botocore.exceptions import BotoCoreError, ClientError

        try:
            self.secrets.delete_secret(SecretId=name, ForceDeleteWithoutRecovery=True)
        except (ClientError, BotoCoreError) as error:
            remark(f"The secret {name} with the destination's password could not be deleted: {error}. Delete it.")

    def call(self, function: str, event: Mapping[str, Any]) -> tuple[object, bool]:
        """Invoke a function and wait; return its answer and whether it succeeded."""
        try:
            answer = self._invoke(function, event, "RequestResponse")
        except KeyboardInterrupt:
            remark(f"Interrupted. The function {function} continues in the stack until it is done.")
            raise typer.Exit(Exit.INTERRUPTED) from None
        payload = answer["Payload"].read()
        return (json.loads(payload) if payload else None), "FunctionError" not in answer

    def ask(self, function: str, event: Mapping[str, Any]) -> dict[str, Any]:
        """Invoke a function, wait, and return its answer.

        Raises
        ------
        FunctionFailedError
            With the code, the words and the advice of the function's own error.
        """
        answer, succeeded = self.call(function, event)
        if succeeded and isinstance(answer, dict):
            return answer
        raise FunctionFailedError.of(function, answer)

    def _invoke(self, function: str, event: Mapping[str, Any], how: Any) -> Any:
        from botocore.exceptions import BotoCoreError, ClientError

        name = self.function_name(function)
        payload = json.dumps(self._caller.sign(function, name, event)).encode()
        try:
            return self.functions.invoke(FunctionName=name, InvocationType=how, Payload=payload)
        except (ClientError, BotoCoreError) as error:
            raise StackUnreachableError(
                f"The function {name} could not be invoked.",
                code="INVOKE_FAILED",
                detail=str(error)[:500],
                hint="Your AWS credentials need lambda:InvokeFunction on it.",
            ) from error

    def _output(self, name: str) -> str:
        if name not in self.outputs:
            raise StackUnreachableError(
                f"The stack {self.name} has no output {name}: it is not a Coffre stack, or of another version.",
                hint="Deploy this version (sam build && sam deploy), or name another stack.",
            )
        return self.outputs[name]
