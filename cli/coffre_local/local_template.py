"""The built template as the local AWS can run it. A pure rewriting: the source template is never touched.

ministack's own Python runtime reports every exception as `Runtime.HandlerError` and sets up no `/opt`. A custom runtime
does better: `bootstrap` starts AWS's runtime client, with the built layers on the path, so error names, deadlines and
retries are the real ones.
"""

import copy
import json
import shlex
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final
from urllib.parse import urlsplit

from coffre_local.conditions import decided

Template = dict[str, Any]

FUNCTION = "AWS::Serverless::Function"
LAYER = "AWS::Serverless::LayerVersion"
MACHINE = "AWS::Serverless::StateMachine"
LOCAL_RUNTIME = "provided.al2023"
# What depends on the machine that Lambda runs the function on, or only makes sense with the managed runtime.
NOT_LOCAL = ("Layers", "Architectures", "RuntimeManagementConfig", "SnapStart")
POSTGRESQL_DIRECTORY = "postgresql"
RESOURCE_POLICIES = {"AWS::S3::BucketPolicy", "AWS::SNS::TopicPolicy", "AWS::SQS::QueuePolicy"}
TLS_CONDITION = "aws:SecureTransport"
# Keys that ministack 1.5.33 never sets: where they must exist, no call would be allowed.
UNKNOWN_KEYS = frozenset({"dynamodb:LeadingKeys", "s3:if-none-match"})
IDENTITY_POLICIES = frozenset({"AWS::IAM::Role", "AWS::IAM::ManagedPolicy"})
# What ministack 1.5.33 cannot make, and nothing else of the template refers to.
NOT_MADE = "AWS::CloudWatch::CompositeAlarm"


@dataclass(frozen=True, slots=True)
class LocalFunction:
    """One function of the template: its logical id and the logical ids of its layers, in order."""

    name: str
    layers: tuple[str, ...]


# As template.yaml writes the console's own address.
CONSOLE_HOST: Final = "https://${ConsoleApi}.execute-api.${AWS::Region}.${AWS::URLSuffix}"


def functions_of(template: Template) -> list[LocalFunction]:
    """Return the template's functions with the layers they get, those of `Globals` first, sorted by name."""
    everywhere = _section(template, "Globals", "Function").get("Layers", [])
    found = []
    for name, resource in sorted(template["Resources"].items()):
        if resource["Type"] == FUNCTION:
            own = resource.get("Properties", {}).get("Layers", [])
            layers = tuple(layer["Ref"] for layer in (*everywhere, *own) if "Ref" in layer)
            found.append(LocalFunction(name, layers))
    return found


def localised(template: Template, code: Mapping[str, str], parameters: Mapping[str, str]) -> Template:
    """Return the template with custom runtimes instead of Python's; what cannot be made here is left out.

    These are layers, and composite alarms.

    The local AWS speaks plain HTTP: a policy that denies calls without TLS would deny every call. And it knows neither
    the partition nor the condition of a call: what a role may do only for some of them, it may do here for all.

    Parameters
    ----------
    template
        What `sam build` wrote.
    code
        Logical id of each function -> directory with its code and its `bootstrap`.
    parameters
        Values of the template's parameters, where they are not the defaults.
    """
    local = copy.deepcopy(template)
    common = _section(local, "Globals", "Function")
    _drop_managed_runtime(common)
    layers = {name for name, resource in local["Resources"].items() if resource["Type"] == LAYER}
    for name in layers:
        del local["Resources"][name]
    for name, directory in code.items():
        properties = local["Resources"][name]["Properties"]
        _drop_managed_runtime(properties)
        properties |= {"Runtime": LOCAL_RUNTIME, "CodeUri": directory}
    local["Resources"] = {name: one for name, one in local["Resources"].items() if one["Type"] != NOT_MADE}
    _drop_tls_demands(local["Resources"])
    for resource in local["Resources"].values():
        if resource["Type"] in IDENTITY_POLICIES:
            _drop_unknown_conditions(resource["Properties"])
    local["Conditions"] = decided(template, parameters)
    outputs = local.get("Outputs", {})
    local["Outputs"] = {name: output for name, output in outputs.items() if not layers & _references(output)}
    return local


def with_local_console(text: str, endpoint: str) -> str:
    """Return a template's text with the console's address as the local AWS serves it: a host below `localhost`.

    Browsers and resolvers lead every such name to this machine (RFC 6761). ministack 1.5.33 puts the bus before the
    name of a rule when it decides who may see it; AWS does that for other buses than the default one alone.
    """
    named = text.replace(":rule/${AWS::StackName}-*", ":rule/default/${AWS::StackName}-*")
    return named.replace(CONSOLE_HOST, f"http://${{ConsoleApi}}.execute-api.localhost:{urlsplit(endpoint).port}")


def bootstrap(python: Path, client: Path, layers: list[Path]) -> str:
    """Return the shell script that a custom runtime starts with.

    Parameters
    ----------
    python
        The bare interpreter. It runs without its site-packages: a function must not find what its layers lack.
    client
        Directory with `awslambdaric`.
    layers
        Contents of the function's layers, in order: what `/opt` would hold.
    """
    packages = ":".join(str(layer / "python") for layer in layers if (layer / "python").is_dir())
    lines = ["#!/bin/sh", f'export PYTHONPATH="$LAMBDA_TASK_ROOT":{shlex.quote(f"{packages}:{client}")}']
    lines += [
        f"export COFFRE_POSTGRES_HOME={shlex.quote(str(layer / POSTGRESQL_DIRECTORY))}"
        for layer in layers
        if (layer / POSTGRESQL_DIRECTORY).is_dir()
    ]
    lines += ['cd "$LAMBDA_TASK_ROOT"', f'exec {shlex.quote(str(python))} -S -m awslambdaric "$_HANDLER"', ""]
    return "\n".join(lines)


def _drop_managed_runtime(properties: dict[str, Any]) -> None:
    properties.pop("Runtime", None)
    for name in NOT_LOCAL:
        properties.pop(name, None)


def _drop_tls_demands(resources: dict[str, Any]) -> None:
    for name, resource in list(resources.items()):
        if resource["Type"] not in RESOURCE_POLICIES:
            continue
        document = resource["Properties"]["PolicyDocument"]
        statements = document["Statement"] if isinstance(document["Statement"], list) else [document["Statement"]]
        kept = [
            statement for statement in statements if TLS_CONDITION not in json.dumps(statement.get("Condition", {}))
        ]
        document["Statement"] = kept
        if not kept:
            del resources[name]


def _drop_unknown_conditions(node: object) -> None:
    """Drop conditions on keys that are never set from every statement below a node."""
    if isinstance(node, list):
        for part in node:
            _drop_unknown_conditions(part)
    if not isinstance(node, dict):
        return
    for name, part in list(node.items()):
        if name == "Condition" and isinstance(part, dict):
            node[name] = {
                operator: kept
                for operator, keys in part.items()
                if (kept := {key: value for key, value in keys.items() if key not in UNKNOWN_KEYS})
            }
            if not node[name]:
                del node[name]
        else:
            _drop_unknown_conditions(part)


def _section(template: Template, *path: str) -> dict[str, Any]:
    place: dict[str, Any] = template
    for name in path:
        place = place.get(name, {})
    return place


def _references(node: object) -> set[str]:
    """Return every string below a node: among them are the logical ids that it refers to."""
    if isinstance(node, dict):
        return {name for value in node.values() for name in _references(value)}
    if isinstance(node, list):
        return {name for value in node for name in _references(value)}
    return {node.removeprefix("${").removesuffix("}")} if isinstance(node, str) else set()
