"""How a stack and its account are set up, as AWS answers it."""

from collections.abc import Iterator, Mapping, Sequence
from typing import Any, cast

import boto3
import pytest
from botocore.stub import Stubber

from coffre.operations.doctor.stack import (
    read_function,
    read_limits,
    read_recovery,
    read_refusals,
    read_rules,
    read_subscriptions,
)
from coffre.policy.checks.answers import Refused
from coffre.policy.checks.stack_facts import AccountLimits, Function, Rule, Subscription


@pytest.fixture
def client(aws: None) -> Iterator[Any]:
    """Make clients, and close them."""
    made: list[Any] = []

    def make(service: str) -> Any:
        made.append(boto3.client(service))  # type: ignore[call-overload]
        return made[-1]

    yield make
    for one in made:
        one.close()


def answering(client: Any, *answers: tuple[str, Mapping[str, Any]]) -> Any:
    """Let a client answer these operations, in this order."""
    stub = Stubber(client)
    for operation, answer in answers:
        stub.add_response(operation, dict(answer))
    stub.activate()
    return client


def denying(client: Any, operation: str, code: str = "AccessDeniedException") -> Any:
    stub = Stubber(client)
    stub.add_client_error(operation, code, "no")
    stub.activate()
    return client


def test_subscriptions_say_who_has_confirmed(client: Any) -> None:
    sns = client("sns")
    topic = sns.create_topic(Name="alerts")["TopicArn"]
    sns.subscribe(TopicArn=topic, Protocol="sqs", Endpoint="arn:aws:sqs:eu-west-3:123456789012:q")

    assert read_subscriptions(sns, topic) == (
        Subscription("sqs", "arn:aws:sqs:eu-west-3:123456789012:q", is_confirmed=True),
    )


def test_a_mail_that_was_not_answered_is_unconfirmed(client: Any) -> None:
    waiting = {"Protocol": "email", "Endpoint": "ops@example.org", "SubscriptionArn": "PendingConfirmation"}
    sns = answering(client("sns"), ("list_subscriptions_by_topic", {"Subscriptions": [waiting]}))

    assert read_subscriptions(sns, "arn:aws:sns:eu-west-3:123456789012:alerts") == (
        Subscription("email", "ops@example.org", is_confirmed=False),
    )


def test_rules_have_their_state_and_one_that_was_deleted_has_none(client: Any) -> None:
    events = client("events")
    events.put_rule(Name="coffre-DailyBackupRule-1", ScheduleExpression="rate(1 day)", State="ENABLED")
    events.put_rule(Name="coffre-ReadRule-1", ScheduleExpression="rate(1 day)", State="DISABLED")
    names = ("DailyBackupRule", "ReadRule", "DrillRule")
    stack = answering(client("cloudformation"), ("list_stack_resources", {"StackResourceSummaries": _resources(names)}))

    assert read_rules(stack, events, "coffre") == (
        Rule("DailyBackupRule", "coffre-DailyBackupRule-1", "ENABLED"),
        Rule("ReadRule", "coffre-ReadRule-1", "DISABLED"),
        Rule("DrillRule", "coffre-DrillRule-1", None),
    )


def _resources(rules: Sequence[str]) -> list[dict[str, Any]]:
    common = {"ResourceStatus": "CREATE_COMPLETE", "LastUpdatedTimestamp": "2026-11-28T12:00:00Z"}
    found = [
        {
            "LogicalResourceId": name,
            "PhysicalResourceId": f"coffre-{name}-1",
            "ResourceType": "AWS::Events::Rule",
            **common,
        }
        for name in rules
    ]
    topic = {"LogicalResourceId": "AlertTopic", "ResourceType": "AWS::SNS::Topic", **common}
    return [*found, topic]


def test_a_function_says_its_memory_subnets_and_what_is_reserved(client: Any) -> None:
    functions = answering(
        client("lambda"),
        ("get_function_configuration", {"MemorySize": 3008, "VpcConfig": {"SubnetIds": ["subnet-1"]}}),
        ("get_function_concurrency", {"ReservedConcurrentExecutions": 0}),
    )

    assert read_function(functions, "coffre-drill") == (Function("coffre-drill", 3008, 0), ("subnet-1",))


def test_a_function_without_a_vpc_and_without_a_reservation(client: Any) -> None:
    functions = answering(
        client("lambda"), ("get_function_configuration", {"MemorySize": 1024}), ("get_function_concurrency", {})
    )

    assert read_function(functions, "coffre-drill") == (Function("coffre-drill", 1024, None), ())


def test_limits_of_the_account(client: Any) -> None:
    limits = {"ConcurrentExecutions": 10, "UnreservedConcurrentExecutions": 9, "TotalCodeSize": 80_530_636_800}
    answer = {"AccountLimit": limits, "AccountUsage": {"TotalCodeSize": 5, "FunctionCount": 7}}

    assert read_limits(answering(client("lambda"), ("get_account_settings", answer))) == AccountLimits(
        10, 9, 80_530_636_800, 5
    )


def test_what_a_failed_update_was_refused_is_read_and_nothing_older(client: Any) -> None:
    def event(name: str, status: str, reason: str | None = None) -> dict[str, Any]:
        said = {"ResourceStatusReason": reason} if reason else {}
        common = {"StackId": "1", "EventId": "1", "StackName": "coffre", "Timestamp": "2026-11-28T12:00:00Z"}
        return {**common, "LogicalResourceId": name, "ResourceStatus": status, **said}

    events = [
        event("coffre", "UPDATE_ROLLBACK_COMPLETE"),
        event("DrillFunction", "UPDATE_FAILED", "'MemorySize' value failed"),
        event("coffre", "UPDATE_IN_PROGRESS"),
        event("VaultBucket", "UPDATE_FAILED", "an older failure"),
    ]
    cloudformation = answering(client("cloudformation"), ("describe_stack_events", {"StackEvents": events}))

    found = read_refusals(cloudformation, "coffre", "UPDATE_ROLLBACK_COMPLETE")

    assert found == ("DrillFunction: 'MemorySize' value failed",)


def test_a_stack_that_was_deployed_is_not_asked(client: Any) -> None:
    assert read_refusals(answering(client("cloudformation")), "coffre", "UPDATE_COMPLETE") == ()


@pytest.mark.parametrize("enabled", [True, False])
def test_point_in_time_recovery(client: Any, enabled: bool) -> None:
    dynamodb = client("dynamodb")
    dynamodb.create_table(
        TableName="catalog",
        KeySchema=[{"AttributeName": "pk", "KeyType": "HASH"}],
        AttributeDefinitions=[{"AttributeName": "pk", "AttributeType": "S"}],
        BillingMode="PAY_PER_REQUEST",
    )
    dynamodb.update_continuous_backups(
        TableName="catalog", PointInTimeRecoverySpecification={"PointInTimeRecoveryEnabled": enabled}
    )

    assert read_recovery(dynamodb, "catalog") is enabled


def test_what_is_denied_names_the_permission(client: Any) -> None:
    found = [
        read_subscriptions(denying(client("sns"), "list_subscriptions_by_topic", "AuthorizationError"), "arn"),
        read_rules(denying(client("cloudformation"), "list_stack_resources", "AccessDenied"), client("events"), "x"),
        read_limits(denying(client("lambda"), "get_account_settings")),
        read_refusals(
            denying(client("cloudformation"), "describe_stack_events", "AccessDenied"), "x", "ROLLBACK_COMPLETE"
        ),
        read_recovery(denying(client("dynamodb"), "describe_continuous_backups"), "catalog"),
    ]

    assert all(isinstance(one, Refused) and one.is_denied for one in found)
    assert [cast("Refused", one).action for one in found] == [
        "sns:ListSubscriptionsByTopic",
        "cloudformation:ListStackResources",
        "lambda:GetAccountSettings",
        "cloudformation:DescribeStackEvents",
        "dynamodb:DescribeContinuousBackups",
    ]


def test_an_answer_that_does_not_come_is_no_denial(client: Any) -> None:
    found = read_limits(denying(client("lambda"), "get_account_settings", "ServiceException"))

    assert isinstance(found, Refused)
    assert not found.is_denied
    assert found.why == "ServiceException: no"
