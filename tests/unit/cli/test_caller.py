"""The command names who runs it, and proves it, in every event for a function that asks."""

from __future__ import annotations

import io
import json
from collections.abc import Iterator
from typing import Any

import boto3
import pytest
from tests.sts import Sts, sts_server
from tests.unit.cli.conftest import OUTPUTS, REGION

from coffre.model.audit import Actor
from coffre.runtime.caller_proof import Audience
from coffre.runtime.callers import Callers
from coffre.runtime.events.event import SentEvent
from coffre.runtime.events.restore import parse_restore
from coffre.runtime.function import utc_now
from coffre_cli.deployed import DeployedStack

ARN = "arn:aws:sts::123456789012:assumed-role/Operators/alice@example.com"
EVENT = {"backup_id": "latest", "target": "shop", "destination": "coffre/destination/new"}


@pytest.fixture
def sts(aws_environment: None, monkeypatch: pytest.MonkeyPatch) -> Iterator[Sts]:
    """An STS that knows the credentials of this process."""
    credentials = boto3.Session().get_credentials()
    assert credentials is not None
    with sts_server() as server:
        server.keys = {str(credentials.access_key): str(credentials.secret_key)}
        server.arns = {str(credentials.access_key): ARN}
        monkeypatch.setenv("AWS_ENDPOINT_URL_STS", server.url)
        yield server


class Functions:
    """Lambda, which keeps what it is sent."""

    def __init__(self) -> None:
        self.sent: list[dict[str, Any]] = []

    def invoke(self, FunctionName: str, InvocationType: str, Payload: bytes) -> dict[str, Any]:  # noqa: N803
        self.sent.append(json.loads(Payload))
        return {"Payload": io.BytesIO(b"null")}


@pytest.fixture
def stack() -> DeployedStack:
    deployed = DeployedStack("safe", OUTPUTS)
    deployed.__dict__["functions"] = Functions()
    return deployed


def sent(stack: DeployedStack) -> list[dict[str, Any]]:
    functions: Any = stack.functions
    return list(functions.sent)


def test_every_invocation_proves_who_runs_the_command(sts: Sts, stack: DeployedStack) -> None:
    stack.start("restore", EVENT)
    stack.call("restore", EVENT)

    function = Callers(Audience("aws", REGION, "123456789012", "safe-restore"), {"AWS_ENDPOINT_URL": sts.url}, utc_now)
    for event in sent(stack):
        received = parse_restore(event)
        assert isinstance(received, SentEvent)
        assert received.actor == stack.caller == ARN
        assert received.proof is not None
        assert function.verified(received.proof, received.digest) == Actor(ARN, verified=True)


@pytest.mark.parametrize("function", ["backup_database", "backup_storage", "rotate", "verify", "drill", "journal"])
def test_every_function_that_a_person_starts_is_told_who_it_is(sts: Sts, stack: DeployedStack, function: str) -> None:
    stack.start(function, {})

    assert set(sent(stack)[0]) == {"actor", "proof"}


def test_functions_that_only_the_stack_starts_are_not(sts: Sts, stack: DeployedStack) -> None:
    named = DeployedStack("safe", {**OUTPUTS, "NotifyFunction": "safe-notify"})
    named.__dict__["functions"] = stack.functions

    named.start("notify", {"test": True})

    assert sent(stack) == [{"test": True}]


def test_a_network_without_sts_does_not_stop_the_command(sts: Sts, stack: DeployedStack) -> None:
    sts.status = 403

    stack.start("restore", EVENT)

    assert sent(stack) == [EVENT]
    assert stack.caller == "unknown"
