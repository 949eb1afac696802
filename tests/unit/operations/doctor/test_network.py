"""Subnets, routes and endpoints as EC2 describes them; and connections that a function opens."""

import json
from collections.abc import Iterator
from typing import Any

import boto3
import pytest

from coffre.operations.doctor.network import read_network
from coffre.operations.doctor.reachable_services import read_reach
from coffre.policy.checks.answers import Refused
from coffre.policy.checks.stack_facts import Network, Subnet

REGION = "eu-west-3"


@pytest.fixture
def ec2(aws: None) -> Iterator[Any]:
    client = boto3.client("ec2")
    yield client
    client.close()


def read(ec2: Any, *subnets: str) -> Network:
    return read_network(ec2, subnets, region=REGION, vault_bucket="vault")


def subnet_in(ec2: Any) -> tuple[str, str]:
    vpc = ec2.create_vpc(CidrBlock="10.0.0.0/16")["Vpc"]["VpcId"]
    return vpc, ec2.create_subnet(VpcId=vpc, CidrBlock="10.0.1.0/24")["Subnet"]["SubnetId"]


def subnets_of(network: Network) -> tuple[Subnet, ...]:
    assert not isinstance(network.subnets, Refused)
    return network.subnets


def test_functions_outside_a_vpc_need_no_question(ec2: Any) -> None:
    assert read(ec2) == Network(REGION, "vault")


def test_a_subnet_without_a_table_of_its_own_has_the_main_one(ec2: Any) -> None:
    vpc, subnet = subnet_in(ec2)
    gateway = ec2.create_internet_gateway()["InternetGateway"]["InternetGatewayId"]
    ec2.attach_internet_gateway(InternetGatewayId=gateway, VpcId=vpc)
    (table,) = ec2.describe_route_tables(Filters=[{"Name": "vpc-id", "Values": [vpc]}])["RouteTables"]
    ec2.create_route(RouteTableId=table["RouteTableId"], DestinationCidrBlock="0.0.0.0/0", GatewayId=gateway)

    (found,) = subnets_of(read(ec2, subnet))

    assert (found.id, found.vpc) == (subnet, vpc)
    assert [(one.destination, one.through) for one in found.routes] == [
        ("10.0.0.0/16", "local"),
        ("0.0.0.0/0", gateway),
    ]


def test_a_subnet_has_the_table_that_it_is_associated_with(ec2: Any) -> None:
    vpc, subnet = subnet_in(ec2)
    address = ec2.allocate_address(Domain="vpc")["AllocationId"]
    nat = ec2.create_nat_gateway(SubnetId=subnet, AllocationId=address)["NatGateway"]["NatGatewayId"]
    table = ec2.create_route_table(VpcId=vpc)["RouteTable"]["RouteTableId"]
    ec2.associate_route_table(RouteTableId=table, SubnetId=subnet)
    ec2.create_route(RouteTableId=table, DestinationCidrBlock="0.0.0.0/0", NatGatewayId=nat)

    (found,) = subnets_of(read(ec2, subnet))

    assert [(one.destination, one.through) for one in found.routes][-1] == ("0.0.0.0/0", nat)


def test_a_gateway_endpoint_serves_the_subnets_of_its_tables(ec2: Any) -> None:
    vpc, subnet = subnet_in(ec2)
    other = ec2.create_subnet(VpcId=vpc, CidrBlock="10.0.2.0/24")["Subnet"]["SubnetId"]
    table = ec2.create_route_table(VpcId=vpc)["RouteTable"]["RouteTableId"]
    ec2.associate_route_table(RouteTableId=table, SubnetId=subnet)
    policy = json.dumps({"Statement": [{"Effect": "Allow", "Principal": "*", "Action": "*", "Resource": "*"}]})
    ec2.create_vpc_endpoint(
        VpcId=vpc,
        ServiceName=f"com.amazonaws.{REGION}.s3",
        VpcEndpointType="Gateway",
        RouteTableIds=[table],
        PolicyDocument=policy,
    )

    network = read(ec2, subnet, other)

    assert not isinstance(network.endpoints, Refused)
    (found,) = network.endpoints
    assert (found.service, found.is_gateway, found.is_available) == ("s3", True, True)
    assert found.gateway_of == {subnet}
    assert json.loads(found.policy or "") == json.loads(policy)


def test_a_subnet_that_does_not_exist_is_no_answer(ec2: Any) -> None:
    found = read(ec2, "subnet-00000000").subnets

    assert isinstance(found, Refused)
    assert found.action == "ec2:DescribeSubnets"
    assert "InvalidSubnetID.NotFound" in found.why


def test_a_service_is_reached_by_its_host_and_port() -> None:
    asked = []

    def connect(host: str, port: int) -> None:
        asked.append((host, port))
        if host.startswith("events"):
            raise TimeoutError("timed out")

    found = read_reach({"events": "https://events.eu-west-3.amazonaws.com", "sns": "http://127.0.0.1:4566"}, connect)

    assert sorted(asked) == [("127.0.0.1", 4566), ("events.eu-west-3.amazonaws.com", 443)]
    assert found.services == {
        "events": "events.eu-west-3.amazonaws.com: TimeoutError: timed out",
        "sns": None,
    }
