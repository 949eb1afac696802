"""Checks of the functions' network: do their subnets reach AWS's services, and what do endpoints let through?"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from fnmatch import fnmatchcase
from typing import Any, Final

from coffre.model.checkup import CheckResult
from coffre.policy.checks.answers import Refused
from coffre.policy.checks.code import blocker
from coffre.policy.checks.stack_facts import Endpoint, Network, Reach, Subnet

ROUTE: Final = blocker("SUBNET_WITHOUT_ROUTE")
UNREACHED: Final = blocker("SERVICE_UNREACHABLE")
POLICY: Final = blocker("ENDPOINT_POLICY")

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


def check_network(network: Network) -> Iterator[CheckResult]:
    """Judge routes and endpoints, as they are set up."""
    if isinstance(network.subnets, Refused):
        yield ROUTE.unseen("The subnets of the functions", network.subnets)
    elif not network.subnets:
        yield ROUTE.ok("The functions are in no VPC and reach every service.", "no subnets")
        return
    if isinstance(network.endpoints, Refused):
        yield POLICY.unseen("The endpoints of the VPC", network.endpoints)
    if isinstance(network.subnets, Refused) or isinstance(network.endpoints, Refused):
        return
    yield from (_check_subnet(subnet, network.endpoints, network.region) for subnet in network.subnets)
    yield from (
        _check_policy(one, network.vault_bucket)
        for one in network.endpoints
        if one.service in _NEEDED and one.is_available
    )


def _check_subnet(subnet: Subnet, endpoints: tuple[Endpoint, ...], region: str) -> CheckResult:
    outside = [route for route in subnet.routes if route.destination in _EVERYWHERE]
    if any(route.is_active and not route.through.startswith(_INTERNET_GATEWAY) for route in outside):
        return ROUTE.ok("The subnet has a way to AWS's services.", f"0.0.0.0/0 through {outside[0].through}", subnet.id)
    missing = [service for service in SERVICES if not any(_serves(one, service, subnet) for one in endpoints)]
    seen = ", ".join(f"0.0.0.0/0 through {one.through}{_dead(one.is_active)}" for one in outside) or "no default route"
    if not missing:
        return ROUTE.ok("The subnet reaches every service through an endpoint.", seen, subnet.id)
    why = (
        " Functions in a public subnet have no public address: an internet gateway takes them nowhere."
        if any(route.through.startswith(_INTERNET_GATEWAY) for route in outside)
        else ""
    )
    return ROUTE.found(
        f"Functions in the subnet {subnet.id} do not reach {', '.join(missing)}.{why}",
        f"{seen}; no endpoint for {', '.join(missing)}",
        "Choose private subnets whose route table leads 0.0.0.0/0 to a NAT gateway, or add an endpoint for each: "
        + "; ".join(_creation(service, subnet, region) for service in missing),
        subnet.id,
    )


def _dead(is_active: bool) -> str:  # noqa: FBT001 - one word for one flag
    return "" if is_active else " (blackhole: it no longer exists)"


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


def check_reach(reach: Reach) -> Iterator[CheckResult]:
    """Judge the connections that the function itself opened."""
    for service, problem in reach.services.items():
        if problem is None:
            yield UNREACHED.ok(f"The function reaches {service}.", "a connection was opened", service)
        else:
            yield UNREACHED.found(
                f"The function does not reach {service}.",
                problem,
                "Give its subnets a NAT gateway or an endpoint for this service, and let its security groups send to "
                "port 443 (docs/doctor.md).",
                service,
            )


def _check_policy(endpoint: Endpoint, bucket: str) -> CheckResult:
    resource = f"arn:aws:s3:::{bucket}"
    statements = _statements(endpoint.policy)
    refused = [
        action
        for action in _NEEDED[endpoint.service]
        if not _lets_through(statements, action, None if endpoint.service != "s3" else _resource(resource, action))
    ]
    if not refused:
        return POLICY.ok(f"The endpoint for {endpoint.service} lets Coffre through.", "its policy", endpoint.id)
    return POLICY.found(
        f"The endpoint for {endpoint.service} stops what Coffre calls: {', '.join(refused)}.",
        f"the policy of {endpoint.id} does not allow it, or denies it",
        f"Allow these actions in its policy, for {resource} and {resource}/* with S3: aws ec2 modify-vpc-endpoint "
        f"--vpc-endpoint-id {endpoint.id} --policy-document file://policy.json",
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
