"""Checks of time: does a backup fit into a function's 15 minutes, and what bounds it."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Final

from coffre.model.checkup import Severity
from coffre.model.words import size, span
from coffre.policy.checks.check import Finding, Unread, check

WINDOW_SECONDS: Final = 900
"""The longest that a function of Lambda can run."""

_TIGHT_SHARE: Final = 0.7
# Even the slowest disks that providers sell read this much before the time is over.
_ALWAYS_FITS_BYTES: Final = 1024**3
# A function reads several times as much from a server on gp3 (docs/benchmarks.md).
_SLOW_BYTES_PER_SECOND: Final = 15_000_000
_WORTH_LOOKING_BYTES: Final = 1024**3


@dataclass(frozen=True)
class Volume:
    """How much there is to read: the bytes of the target's tables, with their TOAST."""

    bytes: int


@dataclass(frozen=True)
class Runs:
    """How fast earlier backups of the target read: the plaintext and the time of the newest complete ones.

    (bytes, seconds), newest first; at most five.
    """

    read: tuple[tuple[int, float], ...] = ()

    @property
    def bytes_per_second(self) -> float | None:
        """What the slowest of them read in a second; None: none is known."""
        rates = [amount / seconds for amount, seconds in self.read if seconds > 0 and amount > 0]
        return min(rates, default=None)


@dataclass(frozen=True)
class Provider:
    """Who runs the server: `supabase`, `neon`, `rds`, `aurora`, or `plain`."""

    name: str
    host: str


@check(
    "SIZE_WINDOW",
    Severity.WARNING,
    Volume,
    Runs,
    fine="A backup fits into the 15 minutes of a function.",
    cure="Divide the target (tables.include, tables.exclude), raise MemorySize for more cores, or use a faster disk.",
)
def size_window(volume: Volume, runs: Runs) -> Iterator[Finding | Unread]:
    """Find a database that takes too long to read, at the rate of its own earlier backups."""
    rate = runs.bytes_per_second
    if volume.bytes <= _ALWAYS_FITS_BYTES:
        return
    if rate is None:
        yield Unread("How fast the server can be read is not known before a first backup.")
        return
    seconds = volume.bytes / rate
    if seconds >= WINDOW_SECONDS * _TIGHT_SHARE:
        yield Finding(
            f"Reading the tables takes about {span(seconds)}; a function has {span(WINDOW_SECONDS)}.",
            evidence=f"{size(volume.bytes)} of tables; the slowest of the last {len(runs.read)} backups read "
            f"{size(rate)} a second",
        )


@check(
    "DISK_THROUGHPUT_BOUND",
    Severity.NOTE,
    Volume,
    Runs,
    fine="Nothing suggests that the server's disk is what backups wait for.",
    cure="Choose a larger compute size or faster disk at the provider, or take backups at a quiet hour.",
)
def disk_throughput_bound(volume: Volume, runs: Runs) -> Iterator[Finding]:
    """Find a server that is read far more slowly than a function can."""
    rate = runs.bytes_per_second
    if rate is not None and rate < _SLOW_BYTES_PER_SECOND and volume.bytes >= _WORTH_LOOKING_BYTES:
        yield Finding(
            "The server is read more slowly than a function could: its disk is the bound, or its network. More memory "
            "for the function will not help.",
            evidence=f"{size(rate)} a second",
        )


@check(
    "COMPUTE_SUSPENDS",
    Severity.NOTE,
    Provider,
    fine="The server is not one that sleeps.",
    cure="Nothing has to be done. To save compute hours, schedule the target's backups close to other work.",
)
def compute_suspends(provider: Provider) -> Iterator[Finding]:
    """Find a compute that is suspended without connections: each backup wakes it up."""
    if provider.name == "neon":
        yield Finding(
            "Neon suspends a compute without connections: each backup wakes it (and is paid for), and the rows of "
            "unlogged tables are lost whenever it sleeps.",
            evidence=provider.host,
        )
