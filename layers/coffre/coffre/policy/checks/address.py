"""Checks of a database's secret and address: what can be known before a server answers."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from coffre.model.backup import Failure
from coffre.model.checkup import Severity
from coffre.policy.checks.check import Finding, check
from coffre.policy.poolers import session_endpoint


@dataclass(frozen=True)
class DatabaseSecret:
    """The secret with a database's address: `problem` is why it cannot be used.

    `has_iam_token`: its password is a token of RDS, which is valid for 15 minutes.
    """

    reference: str
    problem: Failure | None = None
    has_iam_token: bool = False


@dataclass(frozen=True)
class Address:
    """Where the database is. `place` names where the address is kept, for a person.

    `addresses` are those that the host's name stands for (none: it is not known), and `has_ipv6` is whether there is a
    way to the IPv6 internet from here.
    """

    host: str
    port: int
    user: str
    place: str
    addresses: tuple[str, ...]
    has_ipv6: bool

    @property
    def supabase_project(self) -> str | None:
        """The reference of the Supabase project whose direct host this is."""
        parts = self.host.split(".")
        return parts[1] if parts[0] == "db" and parts[2:] == ["supabase", "co"] else None

    @property
    def is_transaction_pooler(self) -> bool:
        """Whether the name or the port is that of a pooler in transaction mode (Neon, Supabase)."""
        return session_endpoint(self.host, self.port) is not None


@check(
    "DATABASE_SECRET",
    Severity.BLOCKER,
    DatabaseSecret,
    fine="The secret with the address and password can be read.",
    cure="Store the database's URL in the secret that the target names.",
)
def database_secret(secret: DatabaseSecret) -> Iterator[Finding]:
    """Find a secret that is missing, or that lacks a field."""
    if secret.problem is not None:
        yield Finding(
            secret.problem.message,
            evidence=secret.problem.code,
            cure=secret.problem.hint
            or f"aws secretsmanager put-secret-value --secret-id {secret.reference} --secret-string file://secret.json",
        )


@check(
    "AUTH_IAM_SHORT",
    Severity.BLOCKER,
    DatabaseSecret,
    fine="The password is no token that expires by itself.",
    cure="Create a role with a password for backups, and store that in the secret: docs/roles.md.",
)
def auth_iam_short(secret: DatabaseSecret) -> Iterator[Finding]:
    """Find a token of RDS's IAM authentication where a password belongs."""
    if secret.has_iam_token:
        yield Finding(
            f"The password in the secret {secret.reference} is an IAM token: it is valid for 15 minutes, and no "
            "scheduled backup can log in with it.",
            evidence="the password has the form of a signed request (X-Amz-Signature)",
        )


@check(
    "ADDRESS_IPV6_ONLY",
    Severity.BLOCKER,
    Address,
    fine="The host has an address of a kind that the function can use.",
    cure="Use an IPv4 endpoint of the provider, or give the function a subnet with IPv6.",
)
def address_ipv6_only(address: Address) -> Iterator[Finding]:
    """Find a host that has only IPv6 addresses, seen from where there is no IPv6."""
    if address.has_ipv6 or not address.addresses or not all(":" in one for one in address.addresses):
        return
    project = address.supabase_project
    cure = (
        "Use the session pooler (Supabase: Connect > Session pooler): port 5432, "
        f"user postgres.{project}. Put it into {address.place}."
        if project
        else None
    )
    yield Finding(
        f"The host {address.host} has only an IPv6 address, and the function has no IPv6.",
        evidence=", ".join(address.addresses),
        cure=cure,
    )
