"""The template as CloudFormation would resolve it for given parameters, and what its roles may do."""

from __future__ import annotations

import pickle
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

from tests.template.policies import Decision, Principal, Request, decide

from coffre_cli.deploying.template import parse_template

ROOT = Path(__file__).parents[2]
ACCOUNT, REGION, STACK = "111122223333", "eu-west-1", "safe"
PSEUDO = {
    "AWS::AccountId": ACCOUNT,
    "AWS::Region": REGION,
    "AWS::StackName": STACK,
    "AWS::StackId": f"arn:aws:cloudformation:{REGION}:{ACCOUNT}:stack/{STACK}/0a1b2c3d-4e5f-6a7b-8c9d-0e1f2a3b4c5d",
    "AWS::Partition": "aws",
    "AWS::URLSuffix": "amazonaws.com",
}
NO_VALUE = object()
# Over TLS, and an object only where none exists.
AS_COFFRE_CALLS = {"aws:SecureTransport": "true", "s3:if-none-match": "*", "s3:ObjectCreationOperation": "true"}
ARNS = {
    "AWS::S3::Bucket": "arn:aws:s3:::{name}",
    "AWS::DynamoDB::Table": f"arn:aws:dynamodb:{REGION}:{ACCOUNT}:table/{{name}}",
    "AWS::SQS::Queue": f"arn:aws:sqs:{REGION}:{ACCOUNT}:{{name}}",
    "AWS::SNS::Topic": f"arn:aws:sns:{REGION}:{ACCOUNT}:{{name}}",
    "AWS::Logs::LogGroup": f"arn:aws:logs:{REGION}:{ACCOUNT}:log-group:{{name}}:*",
    "AWS::IAM::Role": f"arn:aws:iam::{ACCOUNT}:role/{{name}}",
    "AWS::CloudWatch::Alarm": f"arn:aws:cloudwatch:{REGION}:{ACCOUNT}:alarm:{{name}}",
    "AWS::Events::Rule": f"arn:aws:events:{REGION}:{ACCOUNT}:rule/{{name}}",
    "AWS::Serverless::Function": f"arn:aws:lambda:{REGION}:{ACCOUNT}:function:{{name}}",
}


def read_template(name: str = "template.yaml") -> dict[str, Any]:
    """Return a template with its functions in their long form; it is the caller's own."""
    template: dict[str, Any] = pickle.loads(_parsed(name))
    return template


@cache
def _parsed(name: str) -> bytes:
    """Read a template once: to copy it from here takes a twentieth of the time."""
    return pickle.dumps(parse_template((ROOT / name).read_text()))


@dataclass(frozen=True)
class Rendered:
    """The template with every function resolved: names and ARNs are made up, parameters are as given."""

    resources: Mapping[str, Any]
    globals: Mapping[str, Any]
    attribute: Callable[[str, str], str]

    def of_type(self, kind: str) -> dict[str, Any]:
        """Return the properties of all resources of a type by logical id."""
        return {
            name: resource.get("Properties", {})
            for name, resource in self.resources.items()
            if resource["Type"] == kind
        }

    def functions(self) -> dict[str, dict[str, Any]]:
        """Return each function's properties with those of `Globals`, as SAM puts the two together."""
        common = self.globals["Function"]
        return {
            name: _merged(common, properties) for name, properties in self.of_type("AWS::Serverless::Function").items()
        }

    def statements(self, role: str) -> list[dict[str, Any]]:
        """Return every statement of a role's own policies."""
        policies = self.resources[role]["Properties"]["Policies"]
        return [statement for policy in policies for statement in policy["PolicyDocument"]["Statement"]]

    def allows(
        self, role: str, action: str, resource: str, context: Mapping[str, str | tuple[str, ...]] = AS_COFFRE_CALLS
    ) -> bool:
        """Return whether a role's own policies allow a call."""
        principal = Principal(role, statements=self.statements(role))
        return decide(principal, Request(action, resource, context)) is Decision.ALLOWED


def render(**parameters: str) -> Rendered:
    """Return the template for these parameters, the others at their defaults."""
    return rendered(read_template(), parameters)


def rendered(template: Mapping[str, Any], parameters: Mapping[str, str]) -> Rendered:
    """Return a template in its long form for these parameters."""
    unknown = set(parameters) - set(template["Parameters"])
    assert not unknown, f"the template has no parameter {unknown}"
    resolver = _Resolver(template, parameters)
    resources = resolver.resolved(template["Resources"])
    return Rendered(resources, resolver.resolved(template["Globals"]), resolver.attribute)


def broken_rules(**parameters: str) -> list[str]:
    """Return what CloudFormation says of these parameters before it makes anything, by the section Rules."""
    template = read_template()
    resolver = _Resolver(template, parameters)
    return [
        assertion["AssertDescription"]
        for rule in template["Rules"].values()
        if resolver.resolved(rule["RuleCondition"])
        for assertion in rule["Assertions"]
        if not resolver.resolved(assertion["Assert"])
    ]


class _Resolver:
    def __init__(self, template: Mapping[str, Any], parameters: Mapping[str, str]) -> None:
        self._resources = template["Resources"]
        self._conditions = template["Conditions"]
        self._values: dict[str, Any] = dict(PSEUDO) | {"AWS::NoValue": NO_VALUE}
        for name, about in template["Parameters"].items():
            value = parameters.get(name, about.get("Default"))
            if about["Type"] == "CommaDelimitedList":
                value = [part.strip() for part in value.split(",")]
            self._values[name] = value

    def resolved(self, node: Any) -> Any:
        if isinstance(node, list):
            return [value for part in node if (value := self.resolved(part)) is not NO_VALUE]
        if not isinstance(node, dict):
            return node
        if len(node) == 1:
            [(key, argument)] = node.items()
            if key in ("Ref", "Condition") or str(key).startswith("Fn::"):
                return self._applied(key, argument)
        return {key: value for key, part in node.items() if (value := self.resolved(part)) is not NO_VALUE}

    def _applied(self, function: str, argument: Any) -> Any:
        match function, argument:
            case "Ref", str(name):
                return self._value(name)
            case "Condition", str(name):
                return self.resolved(self._conditions[name])
            case "Fn::If", [condition, yes, no]:
                return self.resolved(yes if self.resolved(self._conditions[condition]) else no)
            case "Fn::Sub", [text, values]:
                return self._substituted(text, self.resolved(values))
            case "Fn::Sub", str(text):
                return self._substituted(text, {})
            case "Fn::GetAtt", [name, attribute]:
                return self.attribute(name, attribute)
        match function, self.resolved(argument):
            case "Fn::Join", [separator, parts]:
                return separator.join(parts)
            case "Fn::Split", [separator, text]:
                return text.split(separator)
            case "Fn::Select", [index, parts]:
                return parts[int(index)]
            case "Fn::Equals", [left, right]:
                return left == right
            case "Fn::Not", [condition]:
                return not condition
            case "Fn::And", conditions:
                return all(conditions)
            case "Fn::EachMemberEquals", [values, wanted]:
                return all(value == wanted for value in values)
        raise AssertionError(f"{function} is not known here")

    def _value(self, name: str) -> Any:
        if name in self._values:
            return self._values[name]
        if self._resources[name]["Type"] == "AWS::SNS::Topic":
            return self.attribute(name, "Arn")
        return self._physical(name)

    def _physical(self, name: str) -> str:
        chosen = self._resources[name].get("Properties", {}).get("FunctionName")
        return str(self.resolved(chosen)) if chosen else f"{STACK}-{name.lower()}"

    def attribute(self, name: str, attribute: str) -> str:
        """Return an attribute of a resource, made up as `Rendered` has it."""
        if attribute == "Arn":
            return ARNS[self._resources[name]["Type"]].format(name=self._physical(name))
        return f"{self._physical(name)}.{attribute}"

    def _substituted(self, text: str, values: Mapping[str, Any]) -> str:
        def value(match: re.Match[str]) -> str:
            name = match[1]
            if name in values:
                return str(values[name])
            if "." in name:
                return self.attribute(*name.split(".", 1))
            return str(self._value(name))

        return re.sub(r"\$\{([^!}]+)\}", value, text).replace("${!", "${")


def _merged(common: Mapping[str, Any], own: Mapping[str, Any]) -> dict[str, Any]:
    merged = {**common, **own}
    for key in common.keys() & own.keys():
        if isinstance(common[key], dict):
            merged[key] = _merged(common[key], own[key])
        elif isinstance(common[key], list):
            merged[key] = [*common[key], *own[key]]
    return merged


def strings(node: object) -> Iterator[str]:
    """Yield every string below a node, keys included."""
    if isinstance(node, Mapping):
        for key, value in node.items():
            yield from strings(key)
            yield from strings(value)
    elif isinstance(node, str):
        yield node
    elif isinstance(node, Sequence):
        for part in node:
            yield from strings(part)
