"""The only place where things are put together: what a function talks to, made when it is first used."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import cache, cached_property, partial
from typing import TYPE_CHECKING, Any

import botocore.session
from botocore.config import Config

from coffre.alerts.publish import Publisher
from coffre.catalog.catalog import Catalog
from coffre.model.audit import Actor
from coffre.model.configuration import Configuration
from coffre.operations.monitoring.alerting import Alerting
from coffre.runtime.events import SentEvent
from coffre.runtime.function import Edge, utc_now
from coffre.runtime.observability import log_failure, make_logger
from coffre.runtime.settings import Settings
from coffre.runtime.sources import read_configuration, read_secret
from coffre.stores.s3 import S3Store, make_client
from coffre.vault.codec import FrameDecoder, parse_identities
from coffre.vault.vault import Vault

if TYPE_CHECKING:
    from mypy_boto3_events import EventBridgeClient
    from mypy_boto3_lambda import LambdaClient
    from mypy_boto3_secretsmanager import SecretsManagerClient
    from mypy_boto3_ssm import SSMClient


@dataclass(frozen=True)
class Services:
    """The services of one function's process. Each client is made when it is first used, and then kept.

    `name` is the function's name in logs and metrics.
    """

    name: str
    settings: Settings

    @cached_property
    def session(self) -> botocore.session.Session:
        """The session of all clients: another one would read the descriptions of endpoints and services again."""
        return botocore.session.get_session()

    @cached_property
    def catalog(self) -> Catalog:
        """The table of backups and restores."""
        return Catalog(self.settings.catalog_table)

    @cached_property
    def vault(self) -> Vault:
        """The stored backups."""
        settings = self.settings
        client = make_client(session=self.session)
        return Vault(
            S3Store(
                settings.vault_bucket,
                prefix=settings.vault_prefix,
                client=client,
                checksum=settings.vault_checksum,
            )
        )

    @cached_property
    def edge(self) -> Edge:
        """Logs and alerts."""
        logger = make_logger(self.name)
        function = os.environ.get("AWS_LAMBDA_FUNCTION_NAME")
        publisher = Publisher(self._client("sns"), self.settings.alert_topic_arn, function)
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
    def functions(self) -> LambdaClient:
        """Lambda, which starts further invocations."""
        client: LambdaClient = self._client("lambda")
        return client

    @cached_property
    def bus(self) -> EventBridgeClient:
        """The account's event bus."""
        client: EventBridgeClient = self._client("events")
        return client

    def actor(self, event: SentEvent) -> Actor:
        """Return who sent an event: as it claims, or `unknown`."""
        return Actor(event.actor or "unknown")

    def configuration(self) -> Configuration:
        """Read the configuration document; raises what `read_configuration` raises."""
        return read_configuration(self.ssm, self.settings.configuration)

    def secret(self, reference: str) -> str:
        """Return the value of a secret by name or ARN; raises what `read_secret` raises."""
        return read_secret(self.secrets, reference)

    def decoder(self) -> FrameDecoder:
        """Return what decrypts backups: with the identities of this function's secret, if it has one."""
        reference = self.settings.identity_secret
        return FrameDecoder(parse_identities(self.secret(reference)) if reference else ())

    def _client(self, service: str) -> Any:
        # botocore alone: importing boto3 costs a cold start 0.2 s for resources and transfers that nothing here uses.
        config = Config(connect_timeout=5, read_timeout=20, retries={"mode": "standard", "total_max_attempts": 4})
        return self.session.create_client(service, config=config)


def once[F](make: Callable[[Mapping[str, str]], F]) -> Callable[[], F]:
    """Return a function that makes something from this process's environment at its first call, and keeps it."""
    return cache(lambda: make(os.environ))
