"""Facts about the network of functions."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import replace
from typing import Final

from tests.unit.policy.checks.bench import Fixture

from coffre.policy.checks.check import Facts, facts_of
from coffre.policy.checks.network import SERVICES
from coffre.policy.checks.stack_facts import Endpoint, Network, Reach, Route, Subnet

PRIVATE: Final = Subnet("subnet-1", "vpc-1", (Route("10.0.0.0/16", "local"), Route("0.0.0.0/0", "nat-1")))
PUBLIC: Final = replace(PRIVATE, routes=(Route("10.0.0.0/16", "local"), Route("0.0.0.0/0", "igw-1")))
ISOLATED: Final = replace(PRIVATE, routes=(Route("10.0.0.0/16", "local"),))
ENDPOINTS: Final = tuple(
    Endpoint(f"vpce-{service}", "vpc-1", service, service in ("s3", "dynamodb"), gateway_of=frozenset({"subnet-1"}))
    for service in SERVICES
)
NETWORK: Final = Network("eu-west-3", "vault", (PRIVATE,), ENDPOINTS)


def policy(*statements: Mapping[str, object]) -> str:
    """Return a policy document."""
    return json.dumps({"Version": "2012-10-17", "Statement": statements})


def s3_with(document: str) -> Network:
    """Return a network whose endpoint for S3 has this policy."""
    endpoints = tuple(replace(one, policy=document) if one.service == "s3" else one for one in ENDPOINTS)
    return replace(NETWORK, endpoints=endpoints)


_OF_ANOTHER = {"Effect": "Allow", "Principal": "*", "Action": "s3:*", "Resource": "arn:aws:s3:::other/*"}
_OF_THE_VAULT = {**_OF_ANOTHER, "Resource": ["arn:aws:s3:::vault", "arn:aws:s3:::vault/*"]}

HEALTHY: Final[Facts] = facts_of(NETWORK, Reach({"events": None, "sns": None}))
FIXTURES: Final = (
    Fixture(
        "SUBNET_WITHOUT_ROUTE",
        provokes=(replace(NETWORK, subnets=(PUBLIC,), endpoints=()),),
        spares=(replace(NETWORK, subnets=(PUBLIC, ISOLATED)),),
    ),
    Fixture(
        "SERVICE_UNREACHABLE",
        provokes=(Reach({"events": "events.example: TimeoutError: timed out", "sns": None}),),
        spares=(Reach({}),),
    ),
    Fixture(
        "ENDPOINT_POLICY",
        provokes=(s3_with(policy(_OF_ANOTHER)),),
        spares=(s3_with(policy(_OF_ANOTHER, _OF_THE_VAULT)),),
    ),
)
