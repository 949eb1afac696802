"""Everything that the console's process has: what it reads, and the functions that it starts."""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from functools import cached_property
from typing import TYPE_CHECKING, Any, Self

from botocore.config import Config

from coffre.model.configuration import Configuration
from coffre.model.console import Console as ConsoleSection
from coffre.policy.prices import prices_of
from coffre.runtime.bootstrap import Services
from coffre.runtime.environment import ConsoleSettings
from coffre_console.reading.source import Source

if TYPE_CHECKING:
    from mypy_boto3_lambda import LambdaClient

    from coffre.operations.status.schedules import ReadSchedule
    from coffre_console.downloads import Downloads
    from coffre_console.starting import Functions

# HTTP APIs answer within 30 seconds; the function itself has 29.
_PATIENCE_SECONDS = 20
# The configuration and the rules are read again for a request that comes later than this.
_KEPT_SECONDS = 30


@dataclass(frozen=True)
class Console:
    """One deployment's console. Clients are made when they are first used, and then kept."""

    services: Services
    settings: ConsoleSettings
    _kept: list[tuple[datetime, Configuration]] = field(default_factory=list, compare=False, repr=False)

    @classmethod
    def make(cls, environment: Mapping[str, str]) -> Self:
        """Put it together from its environment."""
        settings = ConsoleSettings.from_env(environment)
        return cls(Services("console", settings), settings)

    def configuration(self, now: datetime) -> Configuration:
        """Return the configuration that is in effect, as it was at most half a minute ago.

        Without a section `console` in it, people are those of the user pool that the stack has made, if it has one.
        """
        if self._kept and 0 <= (now - self._kept[0][0]).total_seconds() < _KEPT_SECONDS:
            return self._kept[0][1]
        found = with_user_pool(self.services.configuration(), self.settings)
        self._kept[:] = [(now, found)]
        return found

    def address(self, now: datetime) -> str:
        """Return where browsers find it."""
        console = self.configuration(now).console
        return (console.address if console is not None else None) or self.settings.console_address

    def source(self, now: datetime) -> Source:
        """Return what a request reads."""
        from coffre.operations.status.schedules import rules_of

        return Source(
            catalog=self.services.catalog,
            configuration=lambda: self.configuration(now),
            open_vault=lambda: self.services.vault,
            schedule=self._schedule,
            rules=rules_of(self.settings.schedules) if self.settings.schedules else None,
            prices=prices_of(os.environ.get("AWS_REGION")),
            now=now,
        )

    @cached_property
    def _schedule(self) -> ReadSchedule:
        from coffre.operations.status.schedules import KeptSchedules

        return KeptSchedules(lambda: self.services.bus, timedelta(seconds=_KEPT_SECONDS))

    @cached_property
    def functions(self) -> Functions:
        """The functions that do the work."""
        from coffre_console.starting import Functions, Signer

        region = os.environ.get("AWS_REGION", "")
        signer = Signer(self.services.session, self.settings.alert_topic_arn, region)
        return Functions(self._client, self.settings.stack, signer, has_notify=self.settings.alert_urls)

    @cached_property
    def downloads(self) -> Downloads:
        """What signs the addresses of exported files."""
        from coffre_console.downloads import Downloads

        return Downloads(self.services.session, self.settings.download_role, self.settings.export_bucket or "")

    @cached_property
    def _client(self) -> LambdaClient:
        # Without repetitions: a call whose answer is late has begun, and must not begin twice.
        config = Config(connect_timeout=3, read_timeout=_PATIENCE_SECONDS, retries={"total_max_attempts": 1})
        client: Any = self.services.session.create_client("lambda", config=config)
        return client  # type: ignore[no-any-return]


def with_user_pool(configuration: Configuration, settings: ConsoleSettings) -> Configuration:
    """Return a configuration that names the people of the stack's user pool, unless its own section names others."""
    issuer, client = settings.users_issuer, settings.users_client
    if configuration.console is not None or issuer is None or client is None:
        return configuration
    return configuration.model_copy(update={"console": ConsoleSection.of_user_pool(issuer, client)})
