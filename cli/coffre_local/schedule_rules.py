"""Schedules of the deployed stack, fired now instead of at their time.

The local AWS fires cron rules at their time, within ten seconds, but tests cannot wait that long. PutEvents
is no way around: it refuses events of `aws.events`, as AWS does, and sets the time itself. So what EventBridge does
with a due rule is done here: its event, its target's input, then an asynchronous invocation, with the function's own
retries and failure destination.
"""

import datetime
import fnmatch
import json
import re
import uuid
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from coffre_local.aws import ACCOUNT, session
from coffre_local.errors import StackError

if TYPE_CHECKING:
    from mypy_boto3_lambda import LambdaClient

EVENTS_PRINCIPAL = "events.amazonaws.com"
# A string of the template, or a placeholder that is a value of its own.
TEMPLATE_TOKENS = re.compile(r'"(?:\\.|[^"\\])*"|<[^<>]+>')
PLACEHOLDER = re.compile(r"<([^<>]+)>")


@dataclass(frozen=True, slots=True)
class Firing:
    """One invocation that a rule caused."""

    function: str
    payload: str
    request_id: str


def fire_rule(environment: Mapping[str, str], rule_name: str, scheduled_time: datetime.datetime) -> list[Firing]:
    """Invoke the targets of a rule as EventBridge does when its time comes; do not wait for them.

    Parameters
    ----------
    rule_name
        Name of the deployed rule (`rules_of` returns the names).
    scheduled_time
        Aware time that the event carries.

    Raises
    ------
    StackError
        The rule is missing or disabled, has no target, or may not invoke its function.
    """
    connection = session(environment)
    events = connection.client("events", endpoint_url=environment["AWS_ENDPOINT_URL"])
    functions = connection.client("lambda", endpoint_url=environment["AWS_ENDPOINT_URL"])
    try:
        rule = events.describe_rule(Name=rule_name)
    except events.exceptions.ResourceNotFoundException as error:
        raise StackError(f"There is no rule {rule_name} in the local stack.", code="LOCAL_RULE_MISSING") from error
    targets = events.list_targets_by_rule(Rule=rule_name)["Targets"]
    if rule["State"] != "ENABLED" or not targets:
        raise StackError(
            f"The rule {rule_name} would start nothing: it is {rule['State'].lower()} and has {len(targets)} targets.",
            code="LOCAL_RULE_IDLE",
        )
    event = scheduled_event(rule["Arn"], scheduled_time, region=environment["AWS_REGION"])
    return [_invoke(functions, rule["Arn"], target["Arn"], target_input(target, event)) for target in targets]


def rules_of(environment: Mapping[str, str], stack: str) -> dict[str, str]:
    """Return the rules of a deployed stack: logical id -> name."""
    client = session(environment).client("cloudformation", endpoint_url=environment["AWS_ENDPOINT_URL"])
    resources = client.describe_stack_resources(StackName=stack)["StackResources"]
    return {
        resource["LogicalResourceId"]: resource["PhysicalResourceId"].rpartition("/")[2]
        for resource in resources
        if resource["ResourceType"] == "AWS::Events::Rule"
    }


def scheduled_event(rule_arn: str, time: datetime.datetime, *, region: str) -> dict[str, Any]:
    """Return the event of a due schedule."""
    return {
        "version": "0",
        "id": str(uuid.uuid4()),
        "detail-type": "Scheduled Event",
        "source": "aws.events",
        "account": ACCOUNT,
        "time": time.astimezone(datetime.UTC).strftime("%Y-%m-%dT%H:%M:%SZ"),
        "region": region,
        "resources": [rule_arn],
        "detail": {},
    }


def target_input(target: Mapping[str, Any], event: Mapping[str, Any]) -> str:
    """Return what a target receives for an event: by `InputTransformer`, `Input` or `InputPath`, or the whole event."""
    if "InputTransformer" in target:
        transformer = target["InputTransformer"]
        paths = transformer.get("InputPathsMap", {})
        values = {name: _at(event, path) for name, path in paths.items()}
        values |= {"aws.events.rule-arn": event["resources"][0], "aws.events.event.json": event}
        values["aws.events.rule-name"] = event["resources"][0].rpartition("/")[2]
        values["aws.events.event.ingestion-time"] = event["time"]
        return _rendered(transformer["InputTemplate"], values)
    if "Input" in target:
        return str(target["Input"])
    return json.dumps(_at(event, target["InputPath"]) if "InputPath" in target else event)


def _at(event: Mapping[str, Any], path: str) -> Any:
    place: Any = event
    for name in path.removeprefix("$").strip(".").split("."):
        if name:
            place = place.get(name) if isinstance(place, Mapping) else None
    return place


def _rendered(template: str, values: Mapping[str, Any]) -> str:
    def inside(match: re.Match[str]) -> str:
        value = values.get(match[1], match[0])
        return value if isinstance(value, str) else json.dumps(value).replace('"', "")

    def render(match: re.Match[str]) -> str:
        token = match[0]
        if token.startswith('"'):
            return PLACEHOLDER.sub(inside, token)
        return json.dumps(values[token[1:-1]]) if token[1:-1] in values else token

    return TEMPLATE_TOKENS.sub(render, template)


def _invoke(functions: "LambdaClient", rule_arn: str, function_arn: str, payload: str) -> Firing:
    name = function_arn.rpartition(":")[2]
    try:
        policy = json.loads(functions.get_policy(FunctionName=function_arn)["Policy"])
    except functions.exceptions.ResourceNotFoundException:
        policy = {"Statement": []}
    if not any(_permits(statement, rule_arn) for statement in policy["Statement"]):
        raise StackError(
            f"EventBridge may not invoke {name} for {rule_arn.rpartition('/')[2]}: AWS would drop the event silently.",
            code="LOCAL_RULE_NOT_PERMITTED",
            hint="Add an AWS::Lambda::Permission with the rule as SourceArn to the template.",
        )
    answer = functions.invoke(FunctionName=function_arn, InvocationType="Event", Payload=payload.encode())
    return Firing(name, payload, answer["ResponseMetadata"]["RequestId"])


def _permits(statement: Mapping[str, Any], rule_arn: str) -> bool:
    principal = statement.get("Principal", {})
    service = principal.get("Service") if isinstance(principal, Mapping) else principal
    sources = statement.get("Condition", {}).get("ArnLike", {}).get("AWS:SourceArn", "*")
    return (
        statement.get("Effect") == "Allow"
        and service in {EVENTS_PRINCIPAL, "*"}
        and fnmatch.fnmatchcase(rule_arn, str(sources))
    )
