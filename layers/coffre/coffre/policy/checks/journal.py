"""Checks of what a journal needs from its server. A target without a journal is not asked (docs/point-in-time.md)."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Final

from coffre.model.checkup import CheckResult, Severity, State
from coffre.model.journal_options import PUBLICATION
from coffre.model.names import quoted
from coffre.model.words import size
from coffre.policy.checks.check import Finding, check, names
from coffre.policy.checks.time_limit import Provider

_MIB: Final = 1 << 20
_ENOUGH_BYTES: Final = 256 * _MIB
# Drains that may fail in a row before a slot is given up.
_MISSED: Final = 3
# After so long without a connection Neon suspends a compute.
_AWAKE_MINUTES: Final = 5


@dataclass(frozen=True)
class JournalServer:
    """What the server says about slots, and what of the database a journal cannot follow.

    Parameters
    ----------
    has_slot
        A journal of Coffre's has a slot for this database.
    kept_bytes
        WAL that the server keeps for a slot at most (`max_slot_wal_keep_size`); None: without a limit.
    idle_seconds
        After which time without use the server gives up a slot (`idle_replication_slot_timeout` of PostgreSQL 18); 0:
        never.
    every_minutes
        How often the journal is drained.
    wanted_slots
        How many more slots the server is to have, if this database has none: one for each journal that is switched on.
    without_identity
        Tables of which an UPDATE or DELETE names no row, as `schema.name`, sorted.
    """

    wal_level: str
    role: str
    may_replicate: bool
    slots: int
    most_slots: int
    has_slot: bool
    kept_bytes: int | None
    maximum_lag_bytes: int
    without_identity: tuple[str, ...] = ()
    unlogged: tuple[str, ...] = ()
    large_objects: int = 0
    is_standby: bool = False
    idle_seconds: int = 0
    every_minutes: int = 5
    wanted_slots: int = 1


@check(
    "JOURNAL_NOT_POSSIBLE",
    Severity.WARNING,
    JournalServer,
    fine="The server allows the slot of the journal.",
    cure="Set the server up: docs/point-in-time.md says how, by provider.",
)
def journal_not_possible(server: JournalServer) -> Iterator[Finding]:
    """Find what keeps a slot from being made."""
    if server.is_standby:
        yield Finding(
            "The journal stores nothing: the server is a standby, and a journal reads the primary.",
            cure="Give the target the address of the primary (the writer).",
            subject="standby",
        )
    if server.wal_level != "logical":
        yield Finding(
            "The journal stores nothing: the server's log does not have the rows.",
            evidence=f"wal_level = {server.wal_level}",
            cure="ALTER SYSTEM SET wal_level = logical; and restart the server. By provider: docs/point-in-time.md.",
            subject="wal_level",
        )
    role = quoted(server.role)
    if not server.may_replicate:
        yield Finding(
            f'The journal stores nothing: the role "{server.role}" may not make a slot.',
            cure=f"ALTER ROLE {role} REPLICATION; (RDS: GRANT rds_replication TO {role};)",
            subject="role",
        )
    if not server.has_slot and server.slots + server.wanted_slots > server.most_slots:
        more = f", and {server.wanted_slots} are needed" if server.wanted_slots > 1 else ""
        yield Finding(
            "The journal stores nothing: the server has no free slot."
            if server.slots >= server.most_slots
            else "Some of the journals store nothing: the server has too few free slots.",
            evidence=f"{server.slots} of max_replication_slots = {server.most_slots} are in use{more}",
            cure="Drop slots that nothing reads, or raise max_replication_slots and restart the server.",
            subject="slots",
        )


@check(
    "JOURNAL_WAL_LIMIT",
    Severity.WARNING,
    JournalServer,
    fine="The server limits the log that it keeps for slots, has enough of it, and leaves a slot that is used alone.",
    cure="Set max_slot_wal_keep_size to a part of the disk that is free.",
)
def journal_wal_limit(server: JournalServer) -> Iterator[Finding]:
    """Find a server that keeps any amount of its log for a slot, next to nothing, or only for a short time."""
    if server.kept_bytes is None:
        yield Finding(
            "The server keeps its log for a slot without a limit. If Coffre cannot drop the slot of the journal, the "
            "disk fills up, and the server stops.",
            evidence=f"max_slot_wal_keep_size = -1; Coffre drops the slot at {size(server.maximum_lag_bytes)}",
            cure="ALTER SYSTEM SET max_slot_wal_keep_size = '8GB'; SELECT pg_reload_conf();",
        )
    elif server.kept_bytes < _ENOUGH_BYTES:
        yield Finding(
            "The server keeps little of its log for a slot: the journal loses its slot when more is written between "
            "two drains.",
            evidence=f"max_slot_wal_keep_size = {size(server.kept_bytes)}",
        )
    if 0 < server.idle_seconds < _MISSED * server.every_minutes * 60:
        yield Finding(
            "The server gives up a slot that nothing has used for a short time: the journal loses its slot when a few "
            "drains fail.",
            evidence=f"idle_replication_slot_timeout = {server.idle_seconds} s; every_minutes = {server.every_minutes}",
            cure="Raise idle_replication_slot_timeout (0: never), or drain more often (every_minutes).",
            subject="idle",
        )


@check(
    "JOURNAL_AWAKE",
    Severity.NOTE,
    Provider,
    JournalServer,
    fine="The journal keeps no server awake that would sleep.",
    cure="If losing more minutes is acceptable: drain less often, such as each 60 minutes (every_minutes).",
)
def journal_awake(provider: Provider, server: JournalServer) -> Iterator[Finding]:
    """Find a compute that would be suspended without connections, and is not because of the drains."""
    if provider.name == "neon":
        often = server.every_minutes <= _AWAKE_MINUTES
        yield Finding(
            "Neon suspends a compute after five minutes without connections: with these drains it never sleeps, and "
            "is paid for all day."
            if often
            else "Neon suspends a compute without connections: each drain wakes it, and is paid for.",
            evidence=f"a drain each {server.every_minutes} minutes",
        )


@check(
    "JOURNAL_NO_IDENTITY",
    Severity.WARNING,
    JournalServer,
    fine="Every table of the journal has what identifies a row.",
    cure="Give the tables a primary key; or ALTER TABLE ... REPLICA IDENTITY FULL, which makes the log larger.",
)
def journal_no_identity(server: JournalServer) -> Iterator[Finding]:
    """Find tables whose updates and deletes cannot be followed."""
    if server.without_identity:
        yield Finding(
            f"An UPDATE or DELETE in one of {len(server.without_identity):,} tables ends what the journal can restore, "
            "until the next backup: nothing says which row it was.",
            evidence=names(server.without_identity),
        )


@check(
    "JOURNAL_LEFT_OUT",
    Severity.NOTE,
    JournalServer,
    fine="Everything in the database that changes is in the journal.",
    cure="Nothing has to be done: a restore to a moment has them as in the backup before.",
)
def journal_left_out(server: JournalServer) -> Iterator[Finding]:
    """Find what changes and is in no journal."""
    left_out = [*server.unlogged, *(["large objects"] if server.large_objects else [])]
    if left_out:
        yield Finding(
            "Changes of unlogged tables and large objects are not in the journal: a restore to a moment has them as "
            "in the backup before.",
            evidence=names(left_out),
        )


def prevents_journal(result: CheckResult) -> bool:
    """Return whether a journal stores nothing as long as this is so; other findings only say what it lacks."""
    if result.state is not State.FINDING:
        return False
    unusable = result.code == "JOURNAL_PUBLICATION" and result.subject == PUBLICATION
    return unusable or result.is_blocker or result.code == journal_not_possible.code
