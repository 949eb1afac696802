"""Publishes alerts to the SNS topic. Only `operations.monitoring.alerting` uses it: it knows what was sent before."""

from __future__ import annotations

from collections.abc import Callable
from functools import cached_property
from typing import TYPE_CHECKING, Final

from botocore.exceptions import BotoCoreError, ClientError

from coffre.alerts.alert import Alert
from coffre.model.errors import TransientError
from coffre.model.names import visible

if TYPE_CHECKING:
    from mypy_boto3_sns import SNSClient


# SNS accepts 256 KB, attributes included (its quotas, 2026). A longer text helps no reader.
_LONGEST_TEXT_BYTES: Final = 200_000


class AlertError(TransientError):
    """The topic did not accept an alert."""

    default_code = "ALERT_NOT_SENT"


class Publisher:
    """Publishes to one topic, with kind, severity, target and state as message attributes for filter policies.

    `connect` makes the client, when there is something to publish: few processes have. `function` is the publishing
    function: operators want to see its log.
    """

    def __init__(self, connect: Callable[[], SNSClient], topic_arn: str, function: str | None = None) -> None:
        self._connect = connect
        self._topic_arn = topic_arn
        self._function = function

    @cached_property
    def _client(self) -> SNSClient:
        return self._connect()

    def publish(self, alert: Alert) -> None:
        """Send one alert.

        Raises
        ------
        AlertError
            The topic does not accept it. The caller must not let this error hide what the alert is about.
        """
        attributes = {
            "kind": alert.kind.value,
            "severity": alert.severity.value,
            "target": alert.target,
            "state": alert.state.value,
            **({"function": self._function} if self._function else {}),
        }
        try:
            self._client.publish(
                TopicArn=self._topic_arn,
                Subject=alert.subject,
                Message=_fitting(alert.text),
                MessageAttributes={
                    name: {"DataType": "String", "StringValue": value} for name, value in attributes.items()
                },
            )
        except (ClientError, BotoCoreError) as error:
            raise AlertError(
                f"The alert {alert.kind} could not be published.",
                detail=str(error)[:500],
                hint="Check that the topic exists and that the function's role has sns:Publish on it.",
            ) from error


def _fitting(text: str) -> str:
    return visible(text, breaks=True).encode(errors="replace")[:_LONGEST_TEXT_BYTES].decode(errors="ignore")
