"""The only place where things are put together: what a function talks to, made when it is first used."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from functools import cache, cached_property, partial
from typing import TYPE_CHECKING, Any

from botocore.config import Config

from coffre import __version__
from coffre.alerts.publish import Publisher
from coffre.catalog.catalog import Catalog
from coffre.concurrency.shared_session import SharedSession
from coffre.model.audit import Actor
from coffre.model.configuration import Configuration, parse_configuration
from coffre.model.configuration_version import TEMPLATE_CHANGED, CurrentConfiguration
from coffre.model.errors import IdentityError
from coffre.model.locks import LockMode
from coffre.operations.monitoring.alerting import Alerting
from coffre.operations.monitoring.audit_notes import note_configuration
from coffre.runtime.caller_proof import Audience
from coffre.runtime.callers import Callers, for_console, unverified
from coffre.runtime.environment import Settings
from coffre.runtime.events.event import SentEvent
from coffre.runtime.function import Edge, utc_now
from coffre.runtime.metering import Metering
from coffre.runtime.observability import log_failure, make_logger
from coffre.runtime.server_databases import key_names, with_databases
from coffre.runtime.sources import Stage, read_configuration, read_secret

if TYPE_CHECKING:
    from mypy_boto3_cloudformation import CloudFormationClient
    from mypy_boto3_events import EventBridgeClient
    from mypy_boto3_lambda import LambdaClient
    from mypy_boto3_secretsmanager import SecretsManagerClient
    from mypy_boto3_ssm import SSMClient
    from mypy_boto3_stepfunctions import SFNClient

    from coffre.vault.codec import FrameDecoder
    from coffre.vault.vault import Vault


@dataclass(frozen=True)
class Services:
    """The services of one function's process. Each client is made when it is first used, and then kept.

    `name` is the function's name in logs and metrics.
    """

    name: str
    settings: Settings
    _noted: set[str] = field(default_factory=set, compare=False, repr=False)  # The document that is recorded.

    @cached_property
    def session(self) -> SharedSession:
        """The session of all clients: another one would read the descriptions of endpoints and services again."""
        session = SharedSession()
        # botocore puts a longer one together for each request, from twenty parts: a ms of the processor.
        session.set_default_client_config(Config(user_agent=f"coffre/{__version__}"))
        return session

    @cached_property
    def metering(self) -> Metering:
        """What the current invocation uses."""
        return Metering()

    @cached_property
    def catalog(self) -> Catalog:
        """The table of backups and restores."""
        function = os.environ.get("AWS_LAMBDA_FUNCTION_NAME", self.name)
        origin = f"{function}, {os.environ.get('AWS_REGION', 'no region')}"
        return Catalog(self.settings.catalog_table, session=self.session, origin=origin)

    @cached_property
    def vault(self) -> Vault:
        """The stored backups."""
        # Here, for not every process opens it: the console's first page does not.
        from coffre.stores.s3 import S3Store
        from coffre.stores.s3_client import make_client
        from coffre.vault.locks import VaultLocks
        from coffre.vault.vault import Vault

        settings = self.settings
        client = self.metering.tally.watch(make_client(session=self.session), "vault")
        store = S3Store(
            settings.vault_bucket,
            prefix=settings.vault_prefix,
            client=client,
            checksum=settings.vault_checksum,
            count=self.metering.tally.counter(client, "vault"),
        )
        if settings.vault_object_lock == "off":
            return Vault(store)
        return Vault(store, VaultLocks(store, LockMode(settings.vault_object_lock), settings.vault_lock_max_days))

    @cached_property
    def edge(self) -> Edge:
        """Logs and alerts."""
        logger = make_logger(self.name)
        function = os.environ.get("AWS_LAMBDA_FUNCTION_NAME")
        publisher = Publisher(lambda: self._client("sns"), self.settings.alert_topic_arn, function)
        return Edge(logger, Alerting(self.catalog, publisher, utc_now, partial(log_failure, logger)))

    @cached_property
    def ssm(self) -> SSMClient:
        """Where the configuration document is."""
        client: SSMClient = self._client("ssm")
        return client

    @cached_property
    def secrets(self) -> SecretsManagerClient:
        """Secrets Manager."""
        client: SecretsManagerClient = self._client("secretsmanager")
        return client

    @cached_property
    def stacks(self) -> CloudFormationClient:
        """CloudFormation, which knows the parameters of this stack."""
        client: CloudFormationClient = self._client("cloudformation")
        return client

    @cached_property
    def functions(self) -> LambdaClient:
        """Lambda, which starts further invocations."""
        client: LambdaClient = self._client("lambda")
        return client

    @cached_property
    def machines(self) -> SFNClient:
        """Step Functions."""
        client: SFNClient = self._client("stepfunctions")
        return client

    @cached_property
    def bus(self) -> EventBridgeClient:
        """The account's event bus."""
        client: EventBridgeClient = self._client("events")
        return client

    @cached_property
    def callers(self) -> Callers:
        """Who sends events to this function."""
        # The topic is of the same stack: its ARN names the account, which no variable of Lambda's does.
        audience = Audience.near(
            self.settings.alert_topic_arn,
            os.environ.get("AWS_REGION", ""),
            os.environ.get("AWS_LAMBDA_FUNCTION_NAME", ""),
        )
        return Callers(audience, os.environ, utc_now)

    def actor(self, event: SentEvent, *, demanded: bool = False) -> Actor:
        """Return who sent an event: verified by STS if the event proves it, otherwise as it claims, or `unknown`.

        Parameters
        ----------
        demanded
            Refuse an event that does not prove who sent it.

        Raises
        ------
        IdentityError
            A verified actor is demanded, and the event does not prove one. The detail says why.
        """
        try:
            if event.proof is None:
                raise unverified("The event has no proof.")
            signer = self.callers.verified(event.proof, event.digest)
            roles = self.settings.console_role, self.callers.audience, self.settings.own_roles.split(",")
            actor = for_console(signer, event.actor, *roles)
            self.edge.logger.info("the caller is verified", extra={"actor": actor.name})
            return actor
        except IdentityError as error:
            if demanded:
                raise
            if event.proof is not None:
                self.edge.logger.warning(
                    "the caller is not verified", extra={"actor": event.actor, "why": error.detail}
                )
            return Actor(event.actor or "unknown", verified=False)

    def configuration(self) -> Configuration:
        """Return the configuration that is in effect, with the databases that were found on servers.

        Raises what `read_configuration` raises, and besides:

        Raises
        ------
        ConfigurationError
            `CONFIGURATION_INVALID` naming each wrong field.
        """
        current = self.current_configuration()
        return with_databases(parse_configuration(current.document, where=current.place), self.catalog)

    def current_configuration(self) -> CurrentConfiguration:
        """Read which configuration document is in effect, and record if the template's changed."""
        current = read_configuration(self.catalog, self.ssm, self.settings.configuration)
        if current.template_has_changed:
            self.edge.logger.warning(TEMPLATE_CHANGED, extra={"version": current.number})
        template = current.template
        if template is not None and template not in self._noted:
            self.edge.attempt("configuration", lambda: self._note(template, in_effect=current.version is None))
        return current

    def _note(self, template: str, *, in_effect: bool) -> None:
        note_configuration(self.catalog, utc_now(), template, in_effect=in_effect)
        self._noted.clear()
        self._noted.add(template)

    def secret(self, reference: str, stage: Stage = "AWSCURRENT") -> str:
        """Return the value of a secret by name or ARN, always freshly read; raises what `read_secret` raises."""
        return read_secret(self.secrets, reference, stage)

    def decoder(self, target: str) -> FrameDecoder:
        """Return what decrypts the backups of a target; raises what `read_identities` raises."""
        from coffre.runtime.identities import read_identities
        from coffre.vault.codec import FrameDecoder

        reference = self.settings.identity_secret
        names = key_names(self.catalog, target)
        return FrameDecoder(read_identities(self.secrets, reference, *names) if reference else ())

    def _client(self, service: str) -> Any:
        # botocore alone: importing boto3 costs a cold start 0.2 s for resources and transfers that nothing here uses.
        config = Config(connect_timeout=5, read_timeout=20, retries={"mode": "standard", "total_max_attempts": 4})
        return self.session.create_client(service, config=config)


def once[F](make: Callable[[Mapping[str, str]], F]) -> Callable[[], F]:
    """Return a function that makes something from this process's environment at its first call, and keeps it."""
    return cache(lambda: make(os.environ))
