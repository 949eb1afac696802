"""The function `notify`: which destinations get a message of the topic, each separately, and what follows a failure."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final, Self

from aws_lambda_powertools import Logger

from coffre.alerts import slack
from coffre.alerts.alert import EVERY_TARGET, Severity, State
from coffre.alerts.destinations import DestinationEntry, parse_destinations
from coffre.alerts.links import links_of
from coffre.alerts.message import Message
from coffre.model.errors import CoffreError, TransientError
from coffre.runtime.bootstrap import Services
from coffre.runtime.environment import NotifySettings
from coffre.runtime.events.notify import NotifyEvent
from coffre.runtime.function import LambdaContext
from coffre.runtime.invocations import INVOKE_FAILED, ROLE_HINT, start
from coffre.runtime.observability import count_notification, log_failure, make_logger
from coffre.runtime.sources import read_secret

if TYPE_CHECKING:
    from mypy_boto3_lambda import LambdaClient
    from mypy_boto3_secretsmanager import SecretsManagerClient

_SERVICE: Final = "notify"
TEST: Final = Message.model_construct(
    kind="TEST",
    severity=Severity.INFO,
    target=EVERY_TARGET,
    state=State.NEW,
    subject="Coffre: this is a test",
    text="This is a test of whether alerts arrive here. They do.\n\n    coffre alerts test",
)


@dataclass(frozen=True)
class NotifyFunction:
    """Everything that lives as long as the function's process. `pause` waits a number of seconds."""

    settings: NotifySettings
    logger: Logger
    secrets: SecretsManagerClient
    functions: LambdaClient
    region: str | None
    pause: Callable[[float], None]

    @classmethod
    def make(cls, environment: Mapping[str, str]) -> Self:
        """Put the function together from its environment."""
        settings = NotifySettings.from_env(environment)
        services = Services("notify", settings)
        logger = make_logger(services.name)
        return cls(settings, logger, services.secrets, services.functions, environment.get("AWS_REGION"), time.sleep)

    def handle(self, event: object, context: LambdaContext) -> dict[str, Any]:
        """Send what the topic delivered to every destination that wants it, or to the one that the event names."""
        try:
            wanted = NotifyEvent.parse(event)
            if wanted.test:
                return {"tried": self._try_all()}
            if wanted.message is not None:
                return self._send_one(wanted.message, wanted.destination or 0)
            return self._send_all(wanted.messages, context.function_name)
        except Exception as error:
            # Not reported through the topic: the report would come back here.
            log_failure(self.logger, error, request_id=context.aws_request_id)
            count_notification(_SERVICE, succeeded=False)
            raise

    def _send_all(self, messages: list[Message], function: str) -> dict[str, Any]:
        """Start one invocation for each destination, so that a slow or broken one cannot harm another."""
        found = self._destinations()
        wanted = [(message, number) for message in messages for number, entry in found.items() if entry.wants(message)]
        if len(wanted) == 1:
            message, number = wanted[0]
            return self._send_one(message, number)
        refused = [text for message, number in wanted if (text := self._start(function, message, number))]
        if refused:
            raise TransientError(
                f"{len(refused)} of {len(wanted)} notifications could not be started.",
                code=INVOKE_FAILED,
                detail=refused[0],
                hint=f"Lambda tries it again. {ROLE_HINT}",
            )
        return {"started": [number for _, number in wanted]}

    def _start(self, function: str, message: Message, number: int) -> str | None:
        event = {"message": message.model_dump(mode="json"), "destination": number}
        try:
            start(self.functions, function, event)
        except TransientError as error:
            return (error.detail or "")[:200]
        return None

    def _send_one(self, message: Message, number: int) -> dict[str, Any]:
        entry = self._destinations().get(number)
        if entry is None:
            self.logger.warning("the destination is not in the secret any more", extra={"destination": number})
            return {"sent": []}
        self._send(message, entry)
        count_notification(_SERVICE, succeeded=True)
        self.logger.info("notified", extra={"destination": number, "kind": message.kind, "target": message.target})
        return {"sent": [number]}

    def _try_all(self) -> list[dict[str, Any]]:
        """Send a test to every destination, including those that want no such alert, and return each result."""
        tried = []
        for entry in self._destinations().values():
            try:
                self._send(TEST, entry)
            except CoffreError as error:
                tried.append({"place": entry.place, "sent": False, "code": error.code, "error": str(error)})
            else:
                tried.append({"place": entry.place, "sent": True})
        return tried

    def _send(self, message: Message, entry: DestinationEntry) -> None:
        destination, place = entry.destination(), entry.place
        links = links_of(message, runbooks_url=self.settings.runbooks_url, region=self.region)
        if (webhook := destination.slack_webhook) is not None:
            slack.post(webhook, slack.payload_of(message, links), place=place, pause=self.pause)
            return
        from coffre.alerts import chat  # seconds to import: a deployment with Slack alone never pays them

        chat.send(destination.url, message, links, place=place)

    def _destinations(self) -> dict[int, DestinationEntry]:
        name = self.settings.alert_urls_secret
        return parse_destinations(read_secret(self.secrets, name), where=name)
