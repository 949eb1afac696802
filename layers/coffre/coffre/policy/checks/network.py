"""Checks of the functions' network: do their subnets reach AWS's services, and what do endpoints let through?"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from fnmatch import fnmatchcase
from typing import Any, Final

from coffre.model.checkup import Severity
from coffre.policy.checks.answers import Refused
from coffre.policy.checks.check import Finding, Unread, check
from coffre.policy.checks.stack_facts import Endpoint, Network, Reach, Route, Subnet

SERVICES: Final = ("s3", "dynamodb", "ssm", "secretsmanager", "sns", "events", "lambda")
"""What functions call themselves. KMS is called by the services that encrypt, and Lambda ships logs and traces."""

_EVERYWHERE: Final = frozenset({"0.0.0.0/0"})
# A gateway of this kind takes packets of functions nowhere: they have no public address.
_INTERNET_GATEWAY: Final = "igw-"
# One call of each service without which a backup fails, and which a policy of an endpoint has to allow.
_NEEDED: Final = {
    "s3": ("s3:PutObject", "s3:GetObject", "s3:ListBucket"),
    "dynamodb": ("dynamodb:GetItem", "dynamodb:PutItem", "dynamodb:Query", "dynamodb:UpdateItem"),
    "ssm": ("ssm:GetParameter",),
    "secretsmanager": ("secretsmanager:GetSecretValue",),
    "sns": ("sns:Publish",),
    "events": ("events:PutEvents",),
    "lambda": ("lambda:InvokeFunction",),
}

type Found = Iterator[Finding | Unread]


@check(
    "SUBNET_WITHOUT_ROUTE",
    Severity.BLOCKER,
    Network,
    fine="The functions have a way to every service that they call.",
    cure="Choose private subnets whose route table leads 0.0.0.0/0 to a NAT gateway, or add endpoints.",
)
def subnet_without_route(network: Network) -> Found:
    """Find subnets from which functions do not reach a service, as their routes are set up."""
    if isinstance(network.subnets, Refused):
        yield network.subnets.unread("The subnets of the functions")
        return
    for subnet in network.subnets:
        outside = [route for route in subnet.routes if route.destination in _EVERYWHERE]
        if any(route.is_active and not route.through.startswith(_INTERNET_GATEWAY) for route in outside):
            continue
        if isinstance(network.endpoints, Refused):
            yield network.endpoints.unread(f"The endpoints of the VPC of {subnet.id}")
            continue
        missing = [one for one in SERVICES if not any(_serves(found, one, subnet) for found in network.endpoints)]
        if missing:
            yield _no_route(subnet, outside, missing, network.region)


def _no_route(subnet: Subnet, outside: list[Route], missing: list[str], region: str) -> Finding:
    seen = ", ".join(f"0.0.0.0/0 through {one.through}{_dead(one)}" for one in outside) or "no default route"
    why = (
        " Functions in a public subnet have no public address: an internet gateway takes them nowhere."
        if any(route.through.startswith(_INTERNET_GATEWAY) for route in outside)
        else ""
    )
    return Finding(
        f"Functions in the subnet {subnet.id} do not reach {', '.join(missing)}.{why}",
        f"{seen}; no endpoint for {', '.join(missing)}",
        "Choose private subnets whose route table leads 0.0.0.0/0 to a NAT gateway, or add an endpoint for each: "
        + "; ".join(_creation(service, subnet, region) for service in missing),
        subnet.id,
    )


def _dead(route: Route) -> str:
    return "" if route.is_active else " (blackhole: it no longer exists)"


def _serves(endpoint: Endpoint, service: str, subnet: Subnet) -> bool:
    if endpoint.service != service or endpoint.vpc != subnet.vpc or not endpoint.is_available:
        return False
    return subnet.id in endpoint.gateway_of if endpoint.is_gateway else endpoint.is_private_dns


def _creation(service: str, subnet: Subnet, region: str) -> str:
    kind = "Gateway" if service in ("s3", "dynamodb") else "Interface"
    return (
        f"aws ec2 create-vpc-endpoint --vpc-id {subnet.vpc} --vpc-endpoint-type {kind} "
        f"--service-name com.amazonaws.{region}.{service}"
    )


@check(
    "SERVICE_UNREACHABLE",
    Severity.BLOCKER,
    Reach,
    fine="The function can connect to every service that it calls.",
    cure="Give its subnets a NAT gateway, or an endpoint for the service; let its security groups send to port 443.",
)
def service_unreachable(reach: Reach) -> Found:
    """Find services that the function itself could not connect to."""
    for service, problem in reach.services.items():
        if problem is not None:
            yield Finding(f"The function does not reach {service}.", problem, subject=service)


@check(
    "ENDPOINT_POLICY",
    Severity.BLOCKER,
    Network,
    fine="The policies of the VPC's endpoints let backups through.",
    cure="Allow the actions in the policy of the endpoint.",
)
def endpoint_policy(network: Network) -> Found:
    """Find endpoints whose policy stops what Coffre calls."""
    if isinstance(network.endpoints, Refused):
        yield network.endpoints.unread("The endpoints of the VPC")
        return
    resource = f"arn:aws:s3:::{network.vault_bucket}"
    for endpoint in network.endpoints:
        if endpoint.service not in _NEEDED or not endpoint.is_available:
            continue
        statements, is_s3 = _statements(endpoint.policy), endpoint.service == "s3"
        refused = [
            action
            for action in _NEEDED[endpoint.service]
            if not _lets_through(statements, action, _resource(resource, action) if is_s3 else None)
        ]
        if refused:
            yield Finding(
                f"The endpoint for {endpoint.service} stops what Coffre calls: {', '.join(refused)}.",
                f"the policy of {endpoint.id} does not allow it, or denies it",
                f"Allow {', '.join(refused)}{f' on {resource} and {resource}/*' if is_s3 else ''} in its policy: aws "
                f"ec2 modify-vpc-endpoint --vpc-endpoint-id {endpoint.id} --policy-document file://policy.json",
                endpoint.id,
            )


def _resource(bucket: str, action: str) -> str:
    return bucket if action == "s3:ListBucket" else f"{bucket}/v1/packs/x"


def _statements(policy: str | None) -> list[Mapping[str, Any]]:
    """Return the statements of a policy; without one an endpoint lets everything through."""
    if not policy:
        return [{"Effect": "Allow", "Action": "*", "Resource": "*"}]
    found = json.loads(policy).get("Statement", [])
    return found if isinstance(found, list) else [found]


def _lets_through(statements: list[Mapping[str, Any]], action: str, resource: str | None) -> bool:
    """Return whether a policy lets a call through, as far as it can be judged without the call.

    A condition of an `Allow` is taken for fulfilled, one of a `Deny` for not: who sends the call decides that.
    Resources are only compared where they are known.
    """
    applying = [one for one in statements if _applies(one, action, resource)]
    if any(one.get("Effect") == "Deny" and not one.get("Condition") for one in applying):
        return False
    return any(one.get("Effect") == "Allow" for one in applying)


def _applies(statement: Mapping[str, Any], action: str, resource: str | None) -> bool:
    actions, others = _texts(statement.get("Action")), _texts(statement.get("NotAction"))
    is_meant = _matches(actions, action.lower()) if "Action" in statement else not _matches(others, action.lower())
    if not is_meant or resource is None:
        # A `Deny` of other resources is none of ours.
        return is_meant and (statement.get("Effect") != "Deny" or _texts(statement.get("Resource")) == ["*"])
    places, elsewhere = _texts(statement.get("Resource")), _texts(statement.get("NotResource"))
    return _matches(places, resource) if "NotResource" not in statement else not _matches(elsewhere, resource)


def _matches(patterns: list[str], text: str) -> bool:
    # Brackets mean nothing to IAM.
    return any(fnmatchcase(text.lower(), pattern.lower().replace("[", "[[]")) for pattern in patterns)


def _texts(value: object) -> list[str]:
    return [value] if isinstance(value, str) else [str(one) for one in value] if isinstance(value, list) else []
