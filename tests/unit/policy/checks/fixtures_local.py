"""Facts about the operator's machine."""

from __future__ import annotations

from dataclasses import replace
from typing import Final

from tests.unit.policy.checks.bench import Fixture

from coffre.policy.checks.answers import Refused
from coffre.policy.checks.check import Facts, facts_of
from coffre.policy.checks.local_facts import LocalFacts

LOCAL: Final = LocalFacts("arn:aws:iam::123456789012:user/ops", "eu-west-3", 0.4, (3, 13))

HEALTHY: Final[Facts] = facts_of(LOCAL)
FIXTURES: Final = (
    Fixture(
        "CREDENTIALS_UNUSABLE",
        provokes=(replace(LOCAL, caller=Refused("sts:GetCallerIdentity", "ExpiredToken: It has expired.")),),
        spares=(LOCAL,),
    ),
    Fixture("REGION_MISSING", provokes=(replace(LOCAL, region=None),), spares=(LOCAL,)),
    Fixture(
        "LOCAL_CLOCK_SKEW",
        provokes=(replace(LOCAL, clock_ahead_seconds=-5.1),),
        spares=(replace(LOCAL, clock_ahead_seconds=5.0),),
    ),
    Fixture("PYTHON_UNSUPPORTED", provokes=(replace(LOCAL, python=(3, 12)),), spares=(replace(LOCAL, python=(3, 14)),)),
)
