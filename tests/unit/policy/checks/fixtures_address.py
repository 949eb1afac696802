"""Facts about addresses."""

from __future__ import annotations

from dataclasses import replace
from typing import Final

from tests.unit.policy.checks.bench import Fixture

from coffre.policy.checks.address import Address
from coffre.policy.checks.check import Facts, facts_of

_ADDRESS: Final = Address("db.example.com", 5432, "backup", "the secret shop", ("203.0.113.7",), has_ipv6=False)

HEALTHY: Final[Facts] = facts_of(_ADDRESS)
FIXTURES: Final = (
    Fixture(
        "ADDRESS_IPV6_ONLY",
        provokes=(replace(_ADDRESS, host="db.abc.supabase.co", addresses=("2001:db8::7",)),),
        spares=(replace(_ADDRESS, addresses=("2001:db8::7", "203.0.113.7")),),
    ),
)
