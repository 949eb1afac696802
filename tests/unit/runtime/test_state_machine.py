"""The state machine is started, stopped and followed, and says clearly why it cannot be."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

import boto3
import pytest
from botocore.exceptions import EndpointConnectionError
from botocore.stub import Stubber
from moto import mock_aws

from coffre.model.errors import CoffreError, SettingsError
from coffre.runtime.state_machine import Machine, machine

if TYPE_CHECKING:
    from mypy_boto3_stepfunctions import SFNClient

RUN, OTHER = "01K9X000000000000000000000", "01K9X000000000000000000001"
ARN = "arn:aws:states:eu-west-1:123456789012:stateMachine:coffre-spread"
DEFINITION = '{"StartAt": "Wait", "States": {"Wait": {"Type": "Wait", "Seconds": 60, "End": true}}}'


@pytest.fixture
def client() -> Iterator[SFNClient]:
    with mock_aws():
        yield boto3.client("stepfunctions", region_name="eu-west-1")


@pytest.fixture
def deployed(client: SFNClient) -> Machine:
    role = "arn:aws:iam::123456789012:role/coffre-spread"
    made = client.create_state_machine(name="coffre-spread", definition=DEFINITION, roleArn=role)
    return Machine(client, made["stateMachineArn"])


def test_a_run_is_started_once_followed_and_stopped(deployed: Machine) -> None:
    given = {"target": "main", "width": 4}
    assert deployed.status(RUN) is None
    deployed.start(RUN, given)
    deployed.start(RUN, given)
    assert deployed.status(RUN) == "RUNNING"
    assert deployed.stop(RUN, "cancelled")
    assert deployed.status(RUN) == "ABORTED"
    assert not deployed.stop(OTHER, "cancelled")


def test_another_run_of_the_same_id_is_refused(deployed: Machine) -> None:
    deployed.start(RUN, {"width": 4})
    with pytest.raises(CoffreError) as refused:
        deployed.start(RUN, {"width": 5})
    assert refused.value.code == "MACHINE_RUN_EXISTS"


def test_a_stack_without_the_machine_is_named(client: SFNClient) -> None:
    with pytest.raises(CoffreError) as refused:
        Machine(client, ARN).start(RUN, {})
    assert refused.value.code == "MACHINE_MISSING"
    assert "limits.spread: never" in (refused.value.hint or "")


@pytest.mark.parametrize(
    ("operation", "right"),
    [("start", "StartExecution"), ("stop", "StopExecution"), ("status", "DescribeExecution")],
)
@pytest.mark.parametrize(
    ("code", "expected"), [("AccessDeniedException", "MACHINE_DENIED"), ("ThrottlingException", "MACHINE_UNAVAILABLE")]
)
def test_what_step_functions_refuses_is_explained(
    client: SFNClient, operation: str, right: str, code: str, expected: str
) -> None:
    calls: dict[str, tuple[str, Any]] = {
        "start": ("start_execution", (RUN, {})),
        "stop": ("stop_execution", (RUN, "why")),
        "status": ("describe_execution", (RUN,)),
    }
    method, arguments = calls[operation]
    with Stubber(client) as stub:
        stub.add_client_error(method, service_error_code=code, service_message="no")
        with pytest.raises(CoffreError) as refused:
            getattr(Machine(client, ARN), operation)(*arguments)
    assert refused.value.code == expected
    assert "coffre-spread" in refused.value.message
    assert expected != "MACHINE_DENIED" or f"states:{right}" in (refused.value.hint or "")


def test_a_silent_step_functions_is_named(client: SFNClient, monkeypatch: pytest.MonkeyPatch) -> None:
    def silent(**_: object) -> None:
        raise EndpointConnectionError(endpoint_url="https://states.example")

    for name in ("start_execution", "stop_execution", "describe_execution"):
        monkeypatch.setattr(client, name, silent)
    one = Machine(client, ARN)
    for call in (lambda: one.start(RUN, {}), lambda: one.stop(RUN, "why"), lambda: one.status(RUN)):
        with pytest.raises(CoffreError) as refused:
            call()
        assert refused.value.code == "MACHINE_UNAVAILABLE"


@pytest.mark.parametrize("arn", [None, ""])
def test_a_function_without_a_machine_says_so(client: SFNClient, arn: str | None) -> None:
    with pytest.raises(SettingsError, match="knows no state machine"):
        machine(client, arn)
