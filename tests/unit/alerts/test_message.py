"""What the topic delivers: Coffre's alerts, CloudWatch's alarms, and whatever somebody else publishes."""

from __future__ import annotations

import json
from pathlib import Path

from hypothesis import given
from hypothesis import strategies as st

from coffre.alerts.message import Message
from coffre.runtime.events.notify import NotifyEvent

EVENTS = Path(__file__).parents[3] / "events" / "notify"


def delivered(name: str) -> Message:
    [message] = NotifyEvent.parse(json.loads((EVENTS / name).read_text())).messages
    return message


def test_an_alert_keeps_what_its_attributes_say() -> None:
    message = delivered("topic.json")

    assert (message.kind, message.severity, message.target, message.state) == (
        "BACKUP_FAILED",
        "critical",
        "shop",
        "new",
    )
    assert message.function == "coffre-backup-database"
    assert message.runbook == "BACKUP_FAILED.md"
    assert not message.is_over


def test_an_alarm_of_cloudwatch_is_told_in_words() -> None:
    message = delivered("alarm.json")
    calm = json.dumps({"AlarmName": "Failed", "NewStateValue": "OK", "NewStateReason": "All is well."})

    assert (message.kind, message.severity, message.target) == ("ALARM", "critical", "-")
    assert message.text.startswith("A run of Coffre failed at every attempt")
    assert "It is ALARM now: Threshold Crossed" in message.text
    assert message.runbook is None
    over = Message.of_sns("OK: Failed", calm, {})
    assert (over.is_over, over.severity, over.text) == (True, "info", "Failed\n\nIt is OK now: All is well.")


@given(st.none() | st.text(), st.text())
def test_whatever_is_published_is_shown(subject: str | None, text: str) -> None:
    message = Message.of_sns(subject, text, {})

    assert message.text == text
    assert message.subject
