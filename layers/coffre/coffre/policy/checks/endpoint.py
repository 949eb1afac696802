"""Checks of an endpoint: one server behind it, sessions that stay, and room for as many as a backup uses."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Final

from coffre.model.checkup import Severity
from coffre.policy.checks.address import Address
from coffre.policy.checks.check import Finding, Unread, check
from coffre.policy.poolers import session_endpoint

FEWEST_SESSIONS: Final = 3
"""Without this number of sessions there is no backup: the holder, `pg_dump`, and a reader."""


@dataclass(frozen=True)
class Sharing:
    """Whether two sessions that were open together had the same server process; None: the name says it already."""

    same_process: bool | None


@dataclass(frozen=True)
class Endpoint:
    """What several sessions, open together, saw.

    `wanted` sessions are what a backup would use, `free` is how many the server has room for, and `tried` were opened
    at most: half of what is free stays for the applications. `opened` came to be; `refusal` is why no more did.
    `seeing` of the opened ones could read in the snapshot that another one exported.
    """

    wanted: int
    free: int
    tried: int
    opened: int
    seeing: int
    refusal: str | None = None


@dataclass(frozen=True)
class Standby:
    """Whether the server replays another's changes, and how long it lets a query delay that (its setting)."""

    is_standby: bool
    delay: str = ""


@dataclass(frozen=True)
class SnapshotExport:
    """Whether a snapshot could be exported: `refusal` has the server's words."""

    refusal: str | None = None


@check(
    "POOLER_TRANSACTION",
    Severity.BLOCKER,
    Address,
    Sharing,
    fine="The endpoint keeps a session for each connection.",
    cure="Use the direct address of the server, or the pooler's session mode (PgBouncer: pool_mode = session).",
)
def pooler_transaction(address: Address, sharing: Sharing) -> Iterator[Finding]:
    """Find a pooler in transaction mode: it gives each transaction another server process."""
    instead = session_endpoint(address.host, address.port)
    if not sharing.same_process and instead is None:
        return
    yield Finding(
        f"{address.host}:{address.port} is a transaction pooler: a consistent backup needs sessions of its own.",
        evidence="two open connections had the same server process"
        if sharing.same_process
        else "the host's name or the port is that of a transaction pooler",
        cure=f"{instead} Change it in {address.place}." if instead else None,
    )


@check(
    "POOLER_WIDTH",
    Severity.WARNING,
    Endpoint,
    fine="There is room for all sessions of a backup.",
    cure="Lower limits.streams of the target, or raise max_connections (on a pooler: the pool size).",
)
def pooler_width(endpoint: Endpoint) -> Iterator[Finding]:
    """Find a server or pooler with too little room for a backup's sessions."""
    if endpoint.opened < endpoint.tried:
        room, evidence = endpoint.opened, endpoint.refusal or f"{endpoint.opened} of {endpoint.tried} sessions opened"
    elif endpoint.tried < endpoint.wanted:
        room, evidence = endpoint.tried, f"{endpoint.free} connections are free; half of them stay for applications"
    else:
        return
    if room < FEWEST_SESSIONS:
        yield Finding(
            f"There is room for {room} sessions, and a backup needs {FEWEST_SESSIONS}.",
            evidence=evidence,
            severity=Severity.BLOCKER,
        )
    else:
        yield Finding(
            f"There is room for {room} of the {endpoint.wanted} sessions that a backup uses: it will be slower.",
            evidence=evidence,
        )


@check(
    "ENDPOINT_NOT_ONE_INSTANCE",
    Severity.BLOCKER,
    Endpoint,
    fine="All sessions came to the same server.",
    cure="Use the address of the writer (RDS, Aurora: the cluster or instance endpoint, never -ro), no load balancer.",
)
def endpoint_not_one_instance(endpoint: Endpoint) -> Iterator[Finding | Unread]:
    """Find an address behind which there are several servers: a snapshot of one is unknown to the others."""
    if endpoint.opened < 2:
        yield Unread("Only one session could be opened, so two could not be compared.")
    elif endpoint.seeing < endpoint.opened:
        yield Finding(
            "The address leads to several servers: a snapshot exported in one session does not exist in another.",
            evidence=f"{endpoint.opened - endpoint.seeing} of {endpoint.opened} sessions did not see it",
        )


@check(
    "ENDPOINT_STANDBY",
    Severity.WARNING,
    Standby,
    fine="The server is a primary.",
    cure="Use the primary's address. Or, on the standby: ALTER SYSTEM SET hot_standby_feedback = on; and reload.",
)
def endpoint_standby(standby: Standby) -> Iterator[Finding]:
    """Find a standby, which cancels long queries and may be behind."""
    if standby.is_standby:
        yield Finding(
            "The server is a standby: it cancels a backup's queries when they hold up the replay, it can be behind "
            "the primary, and the rows of unlogged tables cannot be read there.",
            evidence=f"pg_is_in_recovery() is true; max_standby_streaming_delay = {standby.delay}",
        )


@check(
    "SNAPSHOT_EXPORT_REFUSED",
    Severity.BLOCKER,
    SnapshotExport,
    fine="The server exports a snapshot.",
    cure="Use the direct address of the server. What is in between, or a setting, refuses pg_export_snapshot().",
)
def snapshot_export_refused(export: SnapshotExport) -> Iterator[Finding]:
    """Find a server that does not export snapshots."""
    if export.refusal is not None:
        yield Finding("The server does not export a snapshot, which every backup begins with.", evidence=export.refusal)
