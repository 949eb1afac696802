"""How a deployed stack and its account are set up: read with a person's own credentials, and nothing is changed.

Facts (AWS API references, read 2026-11): a rule's physical id may be `BUS|NAME`; `GetFunctionConcurrency` answers
without a number when none is reserved; SNS lists a subscription that was not confirmed as `PendingConfirmation`.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING, Any, Final

from coffre.operations.doctor.aws_calls import ask, ask_unless
from coffre.policy.checks.answers import Answer, Refused
from coffre.policy.checks.stack_facts import AccountLimits, Function, Rule, Subscription

if TYPE_CHECKING:
    from mypy_boto3_cloudformation import CloudFormationClient
    from mypy_boto3_dynamodb import DynamoDBClient
    from mypy_boto3_events import EventBridgeClient
    from mypy_boto3_lambda import LambdaClient
    from mypy_boto3_sns import SNSClient

_PENDING: Final = "PendingConfirmation"
_RULE: Final = "AWS::Events::Rule"
_BEGUN: Final = frozenset({"CREATE_IN_PROGRESS", "UPDATE_IN_PROGRESS"})
_EVENTS_READ: Final = 500


def read_subscriptions(sns: SNSClient, topic: str) -> Answer[tuple[Subscription, ...]]:
    """Return who is subscribed to a topic."""

    def read() -> tuple[Subscription, ...]:
        pages = sns.get_paginator("list_subscriptions_by_topic").paginate(TopicArn=topic)
        found = [one for page in pages for one in page["Subscriptions"]]
        return tuple(
            Subscription(one["Protocol"], one["Endpoint"], one["SubscriptionArn"] != _PENDING) for one in found
        )

    return ask("sns:ListSubscriptionsByTopic", read)


def read_rules(cloudformation: CloudFormationClient, events: EventBridgeClient, stack: str) -> Answer[tuple[Rule, ...]]:
    """Return the rules of a stack, each with its state."""

    def names() -> list[tuple[str, str]]:
        pages = cloudformation.get_paginator("list_stack_resources").paginate(StackName=stack)
        found = [one for page in pages for one in page["StackResourceSummaries"] if one["ResourceType"] == _RULE]
        return [(one["LogicalResourceId"], one.get("PhysicalResourceId", "").rpartition("|")[2]) for one in found]

    named = ask("cloudformation:ListStackResources", names)
    if isinstance(named, Refused):
        return named
    # An emulator returns the rule's ARN.
    return tuple(Rule(name, deployed.rpartition("/")[2], _state(events, deployed)) for name, deployed in named)


def _state(events: EventBridgeClient, name: str) -> Answer[str | None]:
    def read() -> str | None:
        return events.describe_rule(Name=name.rpartition("/")[2]).get("State", "ENABLED")

    return ask_unless("events:DescribeRule", read, "ResourceNotFoundException", None)


def read_function(functions: LambdaClient, name: str) -> tuple[Function, tuple[str, ...]]:
    """Return a function, and the subnets that it is in."""
    found = ask("lambda:GetFunctionConfiguration", lambda: functions.get_function_configuration(FunctionName=name))
    reserved: Answer[int | None] = ask(
        "lambda:GetFunctionConcurrency",
        lambda: functions.get_function_concurrency(FunctionName=name).get("ReservedConcurrentExecutions"),
    )
    if isinstance(found, Refused):
        return Function(name, found, reserved), ()
    subnets = found.get("VpcConfig", {}).get("SubnetIds", [])
    return Function(name, found["MemorySize"], reserved), tuple(subnets)


def read_limits(functions: LambdaClient) -> Answer[AccountLimits]:
    """Return what the account allows Lambda in this region."""

    def read() -> AccountLimits:
        found = functions.get_account_settings()
        limit, usage = found["AccountLimit"], found["AccountUsage"]
        return AccountLimits(
            limit["ConcurrentExecutions"],
            limit["UnreservedConcurrentExecutions"],
            limit["TotalCodeSize"],
            usage["TotalCodeSize"],
        )

    return ask("lambda:GetAccountSettings", read)


def read_refusals(cloudformation: CloudFormationClient, stack: str, status: str) -> Answer[tuple[str, ...]]:
    """Return why resources of the last deployment could not be made; none unless it failed.

    Parameters
    ----------
    status
        The stack's status.
    """
    if "ROLLBACK" not in status and "FAILED" not in status:
        return ()

    def read() -> tuple[str, ...]:
        pages = cloudformation.get_paginator("describe_stack_events").paginate(StackName=stack)
        events = (event for page in pages for event in page["StackEvents"])
        return tuple(_refusals(events, stack))

    return ask("cloudformation:DescribeStackEvents", read)


def _refusals(events: Iterator[Mapping[str, Any]], stack: str) -> Iterator[str]:
    """Yield the reasons of the newest deployment; the newest event comes first."""
    for number, event in enumerate(events):
        state = event.get("ResourceStatus", "")
        if state.endswith("_FAILED") and "ResourceStatusReason" in event:
            yield f"{event['LogicalResourceId']}: {event['ResourceStatusReason']}"
        if (state in _BEGUN and event.get("LogicalResourceId") == stack) or number >= _EVENTS_READ:
            return


def read_recovery(dynamodb: DynamoDBClient, table: str) -> Answer[bool]:
    """Return whether point-in-time recovery of a table is on."""

    def read() -> bool:
        found = dynamodb.describe_continuous_backups(TableName=table)["ContinuousBackupsDescription"]
        return found.get("PointInTimeRecoveryDescription", {}).get("PointInTimeRecoveryStatus") == "ENABLED"

    return ask("dynamodb:DescribeContinuousBackups", read)
