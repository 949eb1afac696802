"""Messages of the topic: Coffre's own alerts, and CloudWatch's alarms about Coffre."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Self

from pydantic import ValidationError

from coffre.alerts.alert import EVERY_TARGET, AlertKind, Severity, State
from coffre.model.document import Document, FrozenModel, parse_json


class Message(Document):
    """One alert as a chat shows it. `kind` is that of an alert, or `ALARM`; `function` sent it."""

    kind: str
    severity: str
    target: str
    state: str
    subject: str
    text: str
    function: str | None = None

    @property
    def is_over(self) -> bool:
        """Whether it reports the end of a problem."""
        return self.state == State.RECOVERED

    @property
    def runbook(self) -> str | None:
        """The file name of the runbook."""
        return f"{self.kind}.md" if self.kind in set(AlertKind) else None

    @classmethod
    def of_sns(cls, subject: str | None, text: str, attributes: Mapping[str, str]) -> Self:
        """Return the message of what SNS delivers. Any text is accepted."""
        alarm = _alarm(text)
        return cls(
            kind=attributes.get("kind", "ALARM"),
            severity=attributes.get("severity", alarm.severity if alarm else Severity.CRITICAL),
            target=attributes.get("target", EVERY_TARGET),
            state=attributes.get("state", alarm.state if alarm else State.NEW),
            subject=subject or "Coffre",
            text=alarm.text if alarm else text,
            function=attributes.get("function"),
        )


class _Alarm(FrozenModel):
    """What CloudWatch publishes when an alarm changes its state."""

    AlarmName: str
    AlarmDescription: str | None = None
    NewStateValue: str
    NewStateReason: str = ""

    @property
    def severity(self) -> str:
        return Severity.CRITICAL if self.NewStateValue == "ALARM" else Severity.INFO

    @property
    def state(self) -> str:
        return State.RECOVERED if self.NewStateValue == "OK" else State.NEW

    @property
    def text(self) -> str:
        what = self.AlarmDescription or self.AlarmName
        return f"{what}\n\nIt is {self.NewStateValue} now: {self.NewStateReason}".rstrip(": ")


def _alarm(text: str) -> _Alarm | None:
    try:
        data: Any = parse_json(text)
        return _Alarm.model_validate(data)
    except (ValueError, ValidationError):
        return None
