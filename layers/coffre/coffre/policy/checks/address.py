"""Checks of a database's address: what can be known before a server answers."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from coffre.model.checkup import Severity
from coffre.policy.checks.check import Finding, check


@dataclass(frozen=True)
class Address:
    """Where the database is. `place` names where the address is kept, for a person.

    `addresses` are those that the host's name stands for; `has_ipv6` is whether this function has a way to the IPv6
    internet.
    """

    host: str
    port: int
    user: str
    place: str
    addresses: tuple[str, ...]
    has_ipv6: bool


@check(
    "ADDRESS_IPV6_ONLY",
    Severity.BLOCKER,
    Address,
    fine="The host has an address that the function can use.",
    cure="Use an IPv4 endpoint of the provider, or give the function a subnet with IPv6.",
)
def address_ipv6_only(address: Address) -> Iterator[Finding]:
    """Find a host that has only IPv6 addresses, seen from where there is no IPv6."""
    if address.has_ipv6 or not address.addresses or not all(":" in one for one in address.addresses):
        return
    cure = None
    if address.host.startswith("db.") and address.host.endswith(".supabase.co"):
        project = address.host.split(".")[1]
        cure = (
            "Use the session pooler (Supabase: Connect > Session pooler): port 5432, "
            f"user postgres.{project}. Put it into {address.place}."
        )
    yield Finding(
        f"The host {address.host} has only an IPv6 address, and the function has no IPv6.",
        evidence=", ".join(address.addresses),
        cure=cure,
    )
