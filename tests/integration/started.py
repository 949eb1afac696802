"""The invocations that a function starts of itself: kept, to be looked at and delivered."""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from typing import Any

from botocore.exceptions import ClientError
from tests.integration.conftest import Coffre, Context


@dataclass
class Started:
    """Lambda, played: `events` are those that were started and not yet delivered; `refused` are targets to refuse."""

    events: list[dict[str, Any]] = field(default_factory=list)
    refused: set[str] = field(default_factory=set)

    def invoke(self, FunctionName: str, InvocationType: str, Payload: bytes) -> dict[str, Any]:  # noqa: N803 - as boto
        event = json.loads(Payload)
        if event.get("target") in self.refused:
            raise ClientError({"Error": {"Code": "TooManyRequestsException", "Message": "busy"}}, "Invoke")
        self.events.append(event)
        return {"StatusCode": 202}

    def take(self) -> list[dict[str, Any]]:
        """Return the events, which are delivered then."""
        taken, self.events = self.events, []
        return taken


def starting(coffre: Coffre) -> Started:
    """Let the function `backup_database` start invocations that a test delivers."""
    started = Started()
    coffre.backup_function().services.__dict__["functions"] = started
    return started


def deliver(coffre: Coffre, started: Started) -> list[dict[str, Any]]:
    """Deliver every event, those that they start too, and return the answers in their order."""
    answers = []
    while events := started.take():
        answers += [coffre.backup_function().handle(event, Context()) for event in events]
    return answers
