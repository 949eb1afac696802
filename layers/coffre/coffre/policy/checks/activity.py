"""Checks of what other sessions do: transactions that last, statements that wait, slots that keep the log."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Final

from coffre.model.checkup import Severity
from coffre.model.words import size, span
from coffre.policy.checks.check import Finding, check, names

_LONG_SECONDS: Final = 3600
_OLD_XMIN: Final = 5_000_000
_BLOATED_BYTES: Final = 1024**3
_LOST: Final = frozenset({"lost", "unreserved"})


@dataclass(frozen=True)
class Transaction:
    """A transaction of another session. `seconds` is None when the role may not see when it began."""

    pid: int
    role: str
    seconds: float | None
    xmin_age: int

    @property
    def is_long(self) -> bool:
        """Whether it has lasted for an hour, or holds back vacuum by five million transactions."""
        return (self.seconds or 0) >= _LONG_SECONDS or self.xmin_age >= _OLD_XMIN

    def __str__(self) -> str:
        since = f"open for {span(self.seconds)}" if self.seconds is not None else "its start is hidden from the role"
        return f"pid {self.pid} of {self.role}, {since}, {self.xmin_age:,} transactions behind"


@dataclass(frozen=True)
class Slot:
    """A replication slot. `status` is the server's word (`reserved`, `extended`, `unreserved`, `lost`)."""

    name: str
    is_active: bool
    retained_bytes: int
    status: str | None = None

    @property
    def is_bloated(self) -> bool:
        """Whether no reader is connected and it keeps a gigabyte of the log, or has lost what it kept."""
        return self.status in _LOST or (not self.is_active and self.retained_bytes >= _BLOATED_BYTES)

    def __str__(self) -> str:
        state = self.status or ("active" if self.is_active else "inactive")
        return f"{self.name} ({state}, keeps {size(self.retained_bytes)})"


@dataclass(frozen=True)
class Activity:
    """What other sessions do. `queued` are (table, pid) of statements that wait for a table for themselves alone."""

    transactions: tuple[Transaction, ...] = ()
    queued: tuple[tuple[str, int], ...] = ()
    slots: tuple[Slot, ...] = ()


@check(
    "LONG_TRANSACTION",
    Severity.WARNING,
    Activity,
    fine="No transaction has been open for an hour.",
    cure="Find out what it does, then: SELECT pg_terminate_backend(PID);",
)
def long_transaction(activity: Activity) -> Iterator[Finding]:
    """Find transactions that keep vacuum from working, and locks."""
    found = [one for one in activity.transactions if one.is_long]
    if found:
        yield Finding(
            f"{len(found):,} transactions have been open for long: they keep vacuum from removing rows, and their "
            "locks can keep a backup waiting.",
            evidence=names(str(one) for one in found),
            cure=f"Find out what it does, then: SELECT pg_terminate_backend({found[0].pid});",
        )


@check(
    "QUEUED_DDL_BEHIND_US",
    Severity.WARNING,
    Activity,
    fine="No statement waits to have a table for itself.",
    cure="SELECT pg_blocking_pids(PID); then end the session that holds the lock: SELECT pg_terminate_backend(PID);",
)
def queued_ddl_behind_us(activity: Activity) -> Iterator[Finding]:
    """Find an ALTER TABLE, VACUUM FULL or the like in the queue: every later reader waits behind it."""
    if activity.queued:
        yield Finding(
            "A statement waits to have a table for itself alone, and everybody who reads the table waits behind it: "
            "so would a backup, until limits.lock_timeout_seconds.",
            evidence=names(f"{table} (pid {pid})" for table, pid in activity.queued),
            cure=f"SELECT pg_blocking_pids({activity.queued[0][1]}); then end the session that holds the lock: "
            "SELECT pg_terminate_backend(PID);",
        )


@check(
    "BLOATED_SLOT",
    Severity.WARNING,
    Activity,
    fine="No replication slot keeps the log for a reader that is gone.",
    cure="SELECT pg_drop_replication_slot('NAME'); if nothing will read from it again.",
)
def bloated_slot(activity: Activity) -> Iterator[Finding]:
    """Find replication slots that fill the server's disk, or have lost what they kept."""
    found = [one for one in activity.slots if one.is_bloated]
    if found:
        yield Finding(
            f"{len(found):,} replication slots keep the server's log and nothing reads it: the disk fills up, and the "
            "server stops.",
            evidence=names(str(one) for one in found),
            cure=f"If nothing will read from it again: SELECT pg_drop_replication_slot('{found[0].name}');",
        )
