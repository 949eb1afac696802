"""What is read of a stack with the operator's credentials. CloudFormation and Lambda are played, the rest is moto."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any, cast

import boto3
import pytest
from botocore.config import Config
from botocore.exceptions import ClientError
from tests.unit.cli.conftest import BUCKET, OUTPUTS, RECIPIENT, REGION, STACK, TABLE, Account

from coffre import __version__
from coffre.model.audit import KEY_OPENED
from coffre.model.checkup import CheckResult, State
from coffre.operations.doctor.checkup import gather
from coffre.policy.checks.answers import Refused
from coffre.policy.checks.check import Facts, Unread
from coffre.policy.checks.history_facts import KeyFacts
from coffre.policy.checks.local_facts import LocalFacts
from coffre.policy.checks.registry import run_checks
from coffre.policy.checks.stack_facts import AccountLimits, Function, Network, Rule, StackFacts, Subscription
from coffre.policy.checks.vault_facts import LockProbe, PublicAccess, VaultSettings
from coffre_cli import aws
from coffre_cli.commands.doctor.stack_readers import readers_of_machine, readers_of_stack
from coffre_cli.deployed import DeployedStack

IDENTITY = "coffre/identity/main"
FUNCTIONS = [OUTPUTS[output] for output in sorted(OUTPUTS) if output.endswith("Function")]


@dataclass
class Played:
    """CloudFormation and Lambda, as far as they are asked."""

    parameters: dict[str, str] = field(default_factory=lambda: {"MemorySize": "3008", "DrillMemorySize": "2048"})
    denied: set[str] = field(default_factory=set)
    closed: int = 0

    def close(self) -> None:
        self.closed += 1

    def describe_stacks(self, StackName: str) -> Mapping[str, Any]:  # noqa: N803
        self._refuse("DescribeStacks")
        parameters = [{"ParameterKey": key, "ParameterValue": value} for key, value in self.parameters.items()]
        return {"Stacks": [{"StackStatus": "UPDATE_COMPLETE", "Parameters": parameters}]}

    def get_paginator(self, operation: str) -> Played:
        assert operation == "list_stack_resources"
        return self

    def paginate(self, StackName: str) -> Iterator[Mapping[str, Any]]:  # noqa: N803
        rule = {
            "ResourceType": "AWS::Events::Rule",
            "LogicalResourceId": "ReadRule",
            "PhysicalResourceId": "safe-Read-1",
        }
        yield {"StackResourceSummaries": [rule]}

    def get_function_configuration(self, FunctionName: str) -> Mapping[str, Any]:  # noqa: N803
        self._refuse("GetFunctionConfiguration")
        return {"MemorySize": 3008}

    def get_function_concurrency(self, FunctionName: str) -> Mapping[str, Any]:  # noqa: N803
        return {}

    def get_account_settings(self) -> Mapping[str, Any]:
        self._refuse("GetAccountSettings")
        limits = {"ConcurrentExecutions": 1000, "UnreservedConcurrentExecutions": 900, "TotalCodeSize": 100}
        return {"AccountLimit": limits, "AccountUsage": {"TotalCodeSize": 1}}

    def _refuse(self, operation: str) -> None:
        if operation in self.denied:
            raise ClientError({"Error": {"Code": "AccessDenied", "Message": "no"}}, operation)


@pytest.fixture
def played(account: Account, monkeypatch: pytest.MonkeyPatch) -> Played:
    played, real = Played(), aws.client

    def client(service: str, config: Config | None = None) -> Any:
        return played if service in ("cloudformation", "lambda") else real(service, config)

    monkeypatch.setattr(aws, "client", client)
    return played


@pytest.fixture
def stack(account: Account, played: Played) -> DeployedStack:
    """A stack as the template makes it, but for a bucket without any setting."""
    topic = boto3.client("sns").create_topic(Name="alerts")["TopicArn"]
    boto3.client("events").put_rule(Name="safe-Read-1", ScheduleExpression="rate(1 day)")
    account.secrets.create_secret(Name=IDENTITY, SecretString="AGE-SECRET-KEY-1")
    more = {"AlertTopic": topic, "IdentitySecret": IDENTITY, "Version": __version__}
    return DeployedStack(STACK, {**OUTPUTS, **more})


def facts_of(stack: DeployedStack, *, probe: bool = False) -> Facts:
    failures: list[Exception] = []
    facts = gather(readers_of_stack(stack, probe=probe), failures.append)
    assert failures == []
    return facts


def found(facts: Facts, state: State = State.FINDING) -> list[CheckResult]:
    return [one for one in run_checks(facts) if one.state is state]


def test_a_stack_is_read_whole_and_every_client_is_closed(stack: DeployedStack, played: Played) -> None:
    facts = facts_of(stack)

    assert facts[StackFacts] == StackFacts(
        stack=STACK,
        version=__version__,
        command_version=__version__,
        catalog_table=TABLE,
        refusals=(),
        wanted_memory_mb={"MemorySize": 3008, "DrillMemorySize": 2048},
        targets=1,
        subscriptions=cast("tuple[Subscription, ...]", ()),
        rules=(Rule("ReadRule", "safe-Read-1", "ENABLED"),),
        functions=tuple(Function(name, 3008, None) for name in FUNCTIONS),
        limits=AccountLimits(1000, 900, 100, 1),
        point_in_time_recovery=False,
    )
    assert facts[Network] == Network(REGION, BUCKET)
    assert facts[VaultSettings] == VaultSettings(
        BUCKET, "", "Off", PublicAccess(blocked=False, by_policy=False, by_grant=False), (), ()
    )
    assert played.closed >= 2


def test_what_such_a_stack_lacks_is_found(stack: DeployedStack) -> None:
    assert {one.code for one in found(facts_of(stack))} == {
        "ALERTS_REACH_NO_ONE",
        "CATALOG_RECOVERY_OFF",
        "HISTORY_LEAVES_WITH_ACCOUNT",
        "KEY_ONE_RECIPIENT",
        "VAULT_PUBLIC_NOT_BLOCKED",
        "VAULT_VERSIONING_OFF",
    }
    assert found(facts_of(stack), State.COULD_NOT_LOOK) == []


def test_calls_that_are_denied_are_named_and_the_rest_is_read(stack: DeployedStack, played: Played) -> None:
    played.denied = {"GetAccountSettings", "GetFunctionConfiguration"}

    facts = facts_of(stack)

    unseen = {one.code: one.sentence for one in found(facts, State.COULD_NOT_LOOK)}
    assert unseen.keys() == {"CONCURRENCY_TOO_LOW", "QUOTA", "SUBNET_WITHOUT_ROUTE", "ENDPOINT_POLICY"}
    assert "lambda:GetFunctionConfiguration was denied" in unseen["SUBNET_WITHOUT_ROUTE"]
    assert isinstance(facts[VaultSettings], VaultSettings)


def test_a_stack_that_cannot_be_described_leaves_its_own_facts_unread(stack: DeployedStack, played: Played) -> None:
    played.denied = {"DescribeStacks"}

    facts = facts_of(stack)

    assert facts[StackFacts] == Unread("AWS refused the request. [AWS_REFUSED]")
    assert isinstance(facts[KeyFacts], KeyFacts)


def test_keys_are_read_with_when_each_was_tried(stack: DeployedStack, account: Account) -> None:
    now = datetime.now(UTC)
    account.catalog.recipients.note_use(RECIPIENT, now)
    account.catalog.audit.record(now, "ada", KEY_OPENED, "shop", RECIPIENT)
    account.backup(verified_at=now)

    keys = facts_of(stack)[KeyFacts]

    assert isinstance(keys, KeyFacts)
    assert keys.recipients == {"shop": (RECIPIENT,)}
    assert set(keys.opened) == set(keys.used_since) == {RECIPIENT}
    assert set(keys.verified_at) == {"shop"}
    assert (keys.identity_secret, keys.identity) == (IDENTITY, True)


@pytest.mark.parametrize("is_gone", [True, False])
def test_a_secret_that_is_missing_or_about_to_be_deleted_is_no_identity(
    stack: DeployedStack, account: Account, is_gone: bool
) -> None:
    account.secrets.delete_secret(SecretId=IDENTITY, **({"ForceDeleteWithoutRecovery": True} if is_gone else {}))

    keys = facts_of(stack)[KeyFacts]

    assert isinstance(keys, KeyFacts)
    assert keys.identity is False


def test_without_encryption_no_keys_are_asked_for(stack: DeployedStack, account: Account) -> None:
    account.configure("shop", encryption="none")

    assert KeyFacts not in facts_of(stack)


@pytest.mark.parametrize(
    ("probe", "lock", "is_tried"), [(True, "governance", True), (True, "off", False), (False, "governance", False)]
)
def test_locks_are_tried_when_asked_and_where_there_are_any(
    stack: DeployedStack, played: Played, probe: bool, lock: str, is_tried: bool
) -> None:
    played.parameters["ObjectLock"] = lock

    facts = facts_of(stack, probe=probe)

    assert (LockProbe in facts) is is_tried
    if is_tried:
        probed = facts[LockProbe]
        assert isinstance(probed, LockProbe)
        assert isinstance(probed.free_deleted, Refused), "the bucket of this test takes no locks"
    else:
        assert "Contents" not in boto3.client("s3").list_objects_v2(Bucket=BUCKET)


def test_the_machine_says_who_and_where_it_is(account: Account) -> None:
    local = gather(readers_of_machine(), print)[LocalFacts]

    assert isinstance(local, LocalFacts)
    assert isinstance(local.caller, str)
    assert local.caller.startswith("arn:aws:sts:")
    assert local.region == REGION


def test_a_machine_without_credentials_is_looked_at_all_the_same(
    account: Account, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"):
        monkeypatch.delenv(name)
    monkeypatch.setattr("botocore.credentials.CredentialResolver.load_credentials", lambda _: None)

    local = gather(readers_of_machine(), print)[LocalFacts]

    assert isinstance(local, LocalFacts)
    assert isinstance(local.caller, Refused)
    assert "NoCredentialsError" in local.caller.why
