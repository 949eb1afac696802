"""What the topic is given: a text that it takes, and attributes for filter policies."""

from __future__ import annotations

from typing import Any

import pytest
from botocore.exceptions import EndpointConnectionError

from coffre.alerts.alert import Alert, AlertKind, State
from coffre.alerts.publish import AlertError, Publisher

ALERT = Alert(AlertKind.BACKUP_FAILED, "shop", "Backup of shop FAILED", "Why: ...", "X", State.REMINDER)


class Topic:
    """An SNS client that keeps what it is given, or does not answer."""

    def __init__(self, *, answers: bool = True) -> None:
        self.given: dict[str, Any] = {}
        self._answers = answers

    def publish(self, **wanted: Any) -> None:
        if not self._answers:
            raise EndpointConnectionError(endpoint_url="https://sns.invalid")
        self.given = wanted


def published(alert: Alert, function: str | None = None) -> dict[str, Any]:
    topic = Topic()
    Publisher(lambda: topic, "arn", function).publish(alert)  # type: ignore[arg-type, return-value]
    return topic.given


def test_filter_policies_can_ask_for_kind_severity_target_and_state() -> None:
    given = published(ALERT, "coffre-backup-database")

    assert (given["TopicArn"], given["Subject"], given["Message"]) == ("arn", "Backup of shop FAILED", "Why: ...")
    assert {name: value["StringValue"] for name, value in given["MessageAttributes"].items()} == {
        "kind": "BACKUP_FAILED",
        "severity": "critical",
        "target": "shop",
        "state": "reminder",
        "function": "coffre-backup-database",
    }
    assert "function" not in published(ALERT)["MessageAttributes"]


@pytest.mark.parametrize("letter", ["x", "é", "\U0001f534", "\ud800"])
def test_a_text_of_any_length_and_letters_is_one_that_sns_takes(letter: str) -> None:
    long = Alert(ALERT.kind, ALERT.target, ALERT.subject, letter * 300_000)

    text = published(long)["Message"]

    assert 190_000 < len(text.encode()) < 256 * 1024


def test_a_topic_that_does_not_answer_is_an_error_that_says_what_was_not_told() -> None:
    with pytest.raises(AlertError, match="BACKUP_FAILED"):
        Publisher(lambda: Topic(answers=False), "arn").publish(ALERT)  # type: ignore[arg-type, return-value]
