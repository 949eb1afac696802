"""Checks of the server itself: its version, its clock, its age in transactions."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Final

from coffre.model.checkup import Severity
from coffre.policy.checks.check import Finding, check

OLDEST_MAJOR: Final = 12
"""The oldest PostgreSQL that backups are tested with."""

_SKEW_SECONDS: Final = 5.0
# Of 2,147 million, of which autovacuum uses 200 million by default. At about 2,100 million the server stops writing.
_OLD_XIDS: Final = 1_000_000_000


@dataclass(frozen=True)
class Server:
    """What the server says about itself, and the client programs that read it.

    `newer_minor` is the note about a minor version that the client programs do not know (`note_of_newer_minor`).
    `skew_seconds` is how far the server's clock is ahead, `uncertain_seconds` how far off that can be.
    `xid_ages` are the ages in transactions of the databases, by name.
    """

    version: str
    version_number: int
    client_major: int
    newer_minor: str | None
    skew_seconds: float
    uncertain_seconds: float
    xid_ages: tuple[tuple[str, int], ...]

    @property
    def major(self) -> int:
        """17 of 17.2."""
        return self.version_number // 10000


@check(
    "SERVER_UNSUPPORTED",
    Severity.BLOCKER,
    Server,
    fine="The server's version is one that Coffre supports.",
    cure="Upgrade the server, or update Coffre to a version whose client programs know the server's major version.",
)
def server_unsupported(server: Server) -> Iterator[Finding]:
    """Find a server that is older than what is tested, or newer than the client programs."""
    if server.major > server.client_major:
        yield Finding(
            f"The server is PostgreSQL {server.major}, newer than the client programs ({server.client_major}).",
            evidence=server.version,
            cure="Update Coffre: an older pg_dump refuses this server.",
        )
    elif server.major < OLDEST_MAJOR:
        yield Finding(
            f"The server is PostgreSQL {server.major}; the oldest supported version is {OLDEST_MAJOR}.",
            evidence=server.version,
            cure="Upgrade the server: this version gets no security fixes any more.",
        )


@check(
    "CLIENT_OLDER",
    Severity.WARNING,
    Server,
    fine="The client programs know the server's minor version.",
    cure="coffre drill TARGET; and update Coffre when a version with newer client programs exists.",
)
def client_older(server: Server) -> Iterator[Finding]:
    """Find a server with a minor version that the client programs were not tested with."""
    if server.newer_minor is not None and server.major <= server.client_major:
        yield Finding(server.newer_minor, evidence=server.version)


@check(
    "CLOCK_SKEW",
    Severity.WARNING,
    Server,
    fine="The server's clock agrees with the function's.",
    cure="Set the server's clock by NTP (on the server: timedatectl set-ntp true).",
)
def clock_skew(server: Server) -> Iterator[Finding]:
    """Find a clock that is off by more than 5 seconds."""
    if abs(server.skew_seconds) - server.uncertain_seconds > _SKEW_SECONDS:
        ahead = "ahead" if server.skew_seconds > 0 else "behind"
        yield Finding(
            f"The server's clock is {abs(server.skew_seconds):.0f} seconds {ahead}: times in rows and the times of "
            "backups do not fit together.",
            evidence=f"{server.skew_seconds:+.1f} s, give or take {server.uncertain_seconds:.1f} s",
        )


@check(
    "XID_WRAPAROUND",
    Severity.WARNING,
    Server,
    fine="No database is near the wraparound of transaction ids.",
    cure="VACUUM (FREEZE) the oldest tables; end what holds it up: old transactions, slots, prepared transactions.",
)
def xid_wraparound(server: Server) -> Iterator[Finding]:
    """Find a database whose oldest row is a thousand million transactions old."""
    old = sorted(((age, name) for name, age in server.xid_ages if age >= _OLD_XIDS), reverse=True)
    if old:
        yield Finding(
            "Autovacuum is far behind: at about 2,100 million transactions the server refuses to write.",
            evidence=", ".join(f"{name}: {age / 1e6:,.0f} million" for age, name in old[:3]),
        )
