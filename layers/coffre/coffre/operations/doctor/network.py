"""How the subnets of the functions reach AWS's services: read with a person's own credentials, and nothing is changed.

Facts (Amazon VPC User Guide, read 2026-11): a subnet without a route table of its own has the main one of its VPC; a
gateway endpoint serves the subnets of the route tables that it is associated with.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any, Final, Protocol

from coffre.operations.doctor.aws_calls import ask
from coffre.policy.checks.answers import Answer, Refused
from coffre.policy.checks.stack_facts import Endpoint, Network, Route, Subnet

_DESTINATIONS: Final = ("DestinationCidrBlock", "DestinationIpv6CidrBlock", "DestinationPrefixListId")
_THROUGH: Final = (
    "NatGatewayId",
    "TransitGatewayId",
    "VpcPeeringConnectionId",
    "EgressOnlyInternetGatewayId",
    "NetworkInterfaceId",
    "InstanceId",
    "CoreNetworkArn",
    "LocalGatewayId",
    "CarrierGatewayId",
    "GatewayId",
)


class Ec2(Protocol):
    """The part of EC2's client that is used here."""

    def describe_subnets(self, **request: Any) -> Mapping[str, Any]:
        """Describe subnets."""

    def get_paginator(self, name: str) -> Any:
        """Return what reads all pages of an operation."""


def read_network(ec2: Ec2, subnet_ids: Sequence[str], *, region: str, vault_bucket: str) -> Network:
    """Return the subnets with their routes, and the endpoints of their VPC."""
    if not subnet_ids:
        return Network(region, vault_bucket)
    found = ask("ec2:DescribeSubnets", lambda: ec2.describe_subnets(SubnetIds=list(subnet_ids))["Subnets"])
    if isinstance(found, Refused):
        return Network(region, vault_bucket, found, found)
    of_vpcs = [{"Name": "vpc-id", "Values": sorted({subnet["VpcId"] for subnet in found})}]
    tables: Answer[list[Any]] = ask(
        "ec2:DescribeRouteTables", lambda: _all(ec2, "describe_route_tables", "RouteTables", of_vpcs)
    )
    if isinstance(tables, Refused):
        return Network(region, vault_bucket, tables, tables)
    table_of = {subnet["SubnetId"]: _table_of(subnet, tables) for subnet in found}
    subnets = tuple(
        Subnet(subnet["SubnetId"], subnet["VpcId"], _routes(table_of[subnet["SubnetId"]])) for subnet in found
    )
    endpoints: Answer[list[Any]] = ask(
        "ec2:DescribeVpcEndpoints", lambda: _all(ec2, "describe_vpc_endpoints", "VpcEndpoints", of_vpcs)
    )
    if isinstance(endpoints, Refused):
        return Network(region, vault_bucket, subnets, endpoints)
    tables_of = {name: table.get("RouteTableId", "") for name, table in table_of.items()}
    return Network(region, vault_bucket, subnets, tuple(_endpoint(one, tables_of) for one in endpoints))


def _all(ec2: Ec2, operation: str, what: str, filters: list[dict[str, Any]]) -> list[Any]:
    return [one for page in ec2.get_paginator(operation).paginate(Filters=filters) for one in page[what]]


def _table_of(subnet: Mapping[str, Any], tables: Iterable[Mapping[str, Any]]) -> Mapping[str, Any]:
    main: Mapping[str, Any] = {}
    for table in tables:
        for association in table.get("Associations", []):
            if association.get("SubnetId") == subnet["SubnetId"]:
                return table
            if association.get("Main") and table.get("VpcId") == subnet["VpcId"]:
                main = table
    return main


def _routes(table: Mapping[str, Any]) -> tuple[Route, ...]:
    return tuple(
        Route(_first(route, _DESTINATIONS), _first(route, _THROUGH), route.get("State", "active") == "active")
        for route in table.get("Routes", [])
    )


def _first(route: Mapping[str, Any], names: Iterable[str]) -> str:
    return next((str(route[name]) for name in names if route.get(name)), "")


def _endpoint(found: Mapping[str, Any], tables_of: Mapping[str, str]) -> Endpoint:
    tables = set(found.get("RouteTableIds", []))
    is_gateway = found.get("VpcEndpointType") == "Gateway"
    return Endpoint(
        id=found["VpcEndpointId"],
        vpc=found.get("VpcId", ""),
        service=found["ServiceName"].rpartition(".")[2],
        is_gateway=is_gateway,
        is_available=str(found.get("State", "")).lower() == "available",
        is_private_dns=is_gateway or bool(found.get("PrivateDnsEnabled")),
        gateway_of=frozenset(name for name, table in tables_of.items() if table in tables),
        policy=found.get("PolicyDocument"),
    )
