"""What is known about the deployed stack and the account that it is in, read with a person's own credentials."""

from __future__ import annotations

from dataclasses import dataclass, field

from coffre.policy.checks.answers import Answer


@dataclass(frozen=True, slots=True)
class Subscription:
    """Who gets alerts: `protocol` and `endpoint` (an address), and whether they agreed."""

    protocol: str
    endpoint: str
    is_confirmed: bool


@dataclass(frozen=True, slots=True)
class Rule:
    """A rule that starts a function: the name in the template, and its state (`ENABLED`); None: it does not exist."""

    name: str
    deployed_name: str
    state: Answer[str | None]


@dataclass(frozen=True, slots=True)
class Function:
    """A deployed function: its name, memory in MB, and what it may use of the account's concurrency (None: all)."""

    name: str
    memory_mb: Answer[int]
    reserved: Answer[int | None]


@dataclass(frozen=True, slots=True)
class AccountLimits:
    """What the account may run: invocations at the same time, and bytes of code with what is used of them."""

    concurrent: int
    unreserved: int
    code_bytes: int
    used_code_bytes: int


@dataclass(frozen=True, slots=True)
class StackFacts:
    """The stack.

    Attributes
    ----------
    stack, version
        Its name, and the version of the template that was deployed (None: older than the output Version).
    command_version
        Of the command that asks.
    catalog_table
        The name of the catalog's table.
    refusals
        Reasons that CloudFormation noted for resources of its last update that could not be made.
    wanted_memory_mb
        The parameters MemorySize and DrillMemorySize, by name.
    targets
        The number of configured targets, which is that of the invocations that start together.
    point_in_time_recovery
        Whether the catalog can be restored to any second of the last weeks.
    journals
        The names of the targets with a journal.
    """

    stack: str
    version: str | None
    command_version: str
    catalog_table: str
    refusals: Answer[tuple[str, ...]]
    wanted_memory_mb: dict[str, int]
    targets: int
    subscriptions: Answer[tuple[Subscription, ...]]
    rules: Answer[tuple[Rule, ...]]
    functions: tuple[Function, ...]
    limits: Answer[AccountLimits]
    point_in_time_recovery: Answer[bool]
    journals: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Route:
    """One route of a table: where to (`0.0.0.0/0`, a prefix list), through what (`nat-...`), and whether it works."""

    destination: str
    through: str
    is_active: bool = True


@dataclass(frozen=True, slots=True)
class Subnet:
    """A subnet that functions are in, with the routes that hold for it."""

    id: str
    vpc: str
    routes: tuple[Route, ...]


@dataclass(frozen=True, slots=True)
class Endpoint:
    """A VPC endpoint for a service (`s3`, `dynamodb`, `sns` ...).

    Attributes
    ----------
    subnets
        Those that it has an address in, of an interface endpoint.
    is_private_dns
        The service's usual name leads to it.
    gateway_of
        The ids of the subnets whose route tables lead to it, of a gateway endpoint.
    policy
        The policy document, as JSON.
    """

    id: str
    vpc: str
    service: str
    is_gateway: bool
    is_available: bool = True
    is_private_dns: bool = True
    gateway_of: frozenset[str] = frozenset()
    policy: str | None = None


@dataclass(frozen=True, slots=True)
class Network:
    """The network of the functions; without subnets they are not in a VPC and reach every service."""

    region: str
    vault_bucket: str
    subnets: Answer[tuple[Subnet, ...]] = ()
    endpoints: Answer[tuple[Endpoint, ...]] = ()


@dataclass(frozen=True, slots=True)
class Reach:
    """Which services the function could open a connection to: name, and what connecting raised (None: it works)."""

    services: dict[str, str | None] = field(default_factory=dict)
