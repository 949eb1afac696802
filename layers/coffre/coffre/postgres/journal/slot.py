"""A permanent logical replication slot, by SQL: made, looked at, advanced, dropped. `slot_changes.py` reads it."""

from __future__ import annotations

import re
import secrets
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

import psycopg2.extensions

from coffre.model.errors import JournalError, JournalTransientError
from coffre.model.journal_options import PUBLICATION
from coffre.postgres.journal import pgoutput, test_decoding
from coffre.postgres.journal.changes import lsn_text, parse_lsn
from coffre.postgres.journal.slot_errors import lost, missing, reason_of_loss, translated

# The server's limit for names is 63 bytes; "coffre_" and "_" with eight digits take sixteen.
_MOST_OF_TARGET: Final = 47
type Options = Mapping[str, tuple[str, ...]]
OPTIONS: Final[Options] = {
    test_decoding.PLUGIN: ("include-timestamp", "on", "skip-empty-xacts", "on"),
    pgoutput.PLUGIN: ("proto_version", "1", "publication_names", PUBLICATION),
}
"""What a plugin is asked for: names and values in turn."""
WITH_EMPTY: Final[Options] = {
    **OPTIONS,
    test_decoding.PLUGIN: ("include-timestamp", "on", "skip-empty-xacts", "off"),
}
"""The same, with transactions that changed no row, as far as the plugin can send those."""


@dataclass(frozen=True)
class Slot:
    """A slot as its server shows it.

    Parameters
    ----------
    confirmed_lsn
        Up to where it was advanced.
    flush_lsn
        How far the server's WAL is on disk.
    retained_bytes
        WAL that the server keeps because of this slot.
    safe_bytes
        How much more WAL can be written before the slot is lost; None without a limit (`max_slot_wal_keep_size`).
    wal_status
        `reserved`, `extended`, `unreserved` (about to be lost) or `lost`; None when it never held any.
    active_pid
        The server's process that reads it now.
    timeline
        Of the server's WAL: another one after a failover.
    database_oid
        Stays what it is when the database is renamed.
    """

    name: str
    plugin: str
    database: str
    confirmed_lsn: int | None
    flush_lsn: int
    retained_bytes: int
    safe_bytes: int | None
    wal_status: str | None
    active_pid: int | None
    is_temporary: bool
    is_two_phase: bool
    timeline: int
    database_oid: int = 0


@dataclass(frozen=True)
class Ownership:
    """What the records say of a slot: it is only used while all of this is true.

    Parameters
    ----------
    stored_lsn
        Up to where the stream is in the vault.
    """

    name: str
    database: str
    stored_lsn: int
    timeline: int
    plugin: str = test_decoding.PLUGIN


def new_name(target: str) -> str:
    """Return a name for a target's slot that no other slot has: its end is drawn by chance."""
    return f"{_prefix(target)}{secrets.token_hex(4)}"


def named_for(session: psycopg2.extensions.connection, target: str) -> list[str]:
    """Return the slots of this database whose names can be of a target's journal, also one of another deployment."""
    with session, session.cursor() as cursor:
        cursor.execute(_NAMED_FOR, (_pattern(target),))
        return [name for (name,) in cursor.fetchall()]


def listing(target: str) -> str:
    """Return a statement that lists the slots of a server that may be a target's, by what `new_name` gives."""
    return f"SELECT slot_name, database, active FROM pg_replication_slots WHERE slot_name ~ '{_pattern(target)}';"  # noqa: S608


def _pattern(target: str) -> str:
    """Return what such names match: letters, digits and _ alone."""
    return f"^{_prefix(target)}[0-9a-f]{{8}}$"


def _prefix(target: str) -> str:
    return f"coffre_{re.sub('[^a-z0-9_]', '_', target.lower())[:_MOST_OF_TARGET]}_"


def create(
    session: psycopg2.extensions.connection,
    name: str,
    *,
    patience_seconds: float,
    plugin: str = test_decoding.PLUGIN,
) -> Ownership:
    """Make a slot. The server waits for the transactions that are open now, for a limited time.

    Raises
    ------
    JournalError
        `JOURNAL_NOT_POSSIBLE`: the server's settings, or the role's rights, do not allow it.
    JournalTransientError
        `JOURNAL_WAITS`: a transaction stayed open. No slot is left behind.
    """
    with translated(name), session, session.cursor() as cursor:
        cursor.execute("SELECT set_config('statement_timeout', %s, true)", (str(int(patience_seconds * 1000)),))
        cursor.execute("SELECT lsn::text FROM pg_create_logical_replication_slot(%s, %s)", (name, plugin))
        ((lsn,),) = cursor.fetchall()
    made = inspect(session, name)
    if made is None:  # another session has dropped it since
        raise missing(name)
    return Ownership(name, made.database, parse_lsn(lsn), made.timeline, plugin)


def inspect(session: psycopg2.extensions.connection, name: str) -> Slot | None:
    """Look at a slot of any database of the server; None when none of this name exists."""
    version = session.server_version
    statement = _LOOK.format(
        limits="safe_wal_size, wal_status" if version >= _SHOWS_LIMITS else "NULL::bigint, NULL::text",
        two_phase="two_phase" if version >= _HAS_TWO_PHASE else "false",
    )
    with translated(name), session, session.cursor() as cursor:
        cursor.execute(statement, (name,))
        found = cursor.fetchall()
    if not found:
        return None
    ((confirmed, flush, *rest),) = found
    plugin, database, retained, safe, status, pid, is_temporary, is_two_phase, timeline, database_oid = rest
    return Slot(
        name,
        plugin,
        database,
        None if confirmed is None else parse_lsn(confirmed),
        parse_lsn(flush),
        retained,
        safe,
        status,
        pid,
        is_temporary,
        is_two_phase,
        int(timeline, 16),
        database_oid,
    )


def require_ours(session: psycopg2.extensions.connection, ours: Ownership) -> Slot:
    """Return the slot, if it is as it was left. A position before the stored one is fine: rows come twice then.

    Raises
    ------
    JournalError
        Each is the end of what can be followed: `JOURNAL_SLOT_MISSING`, `JOURNAL_SLOT_LOST` (the server has removed its
        WAL), `JOURNAL_SLOT_FOREIGN` (another one of this name, or read by another program), `JOURNAL_TIMELINE`.
    JournalTransientError
        `JOURNAL_SLOT_BUSY`: another session reads it now.
    """
    slot = inspect(session, ours.name)
    if slot is None:
        raise missing(ours.name)
    if slot.wal_status == "lost" or slot.confirmed_lsn is None:
        raise lost(slot.name, reason=reason_of_loss(session, slot.name))
    wrong = _differences(slot, ours)
    if wrong:
        raise JournalError(
            f"The replication slot {slot.name} is not as it was left: {', '.join(wrong)}.",
            code="JOURNAL_SLOT_FOREIGN",
            hint="Another program uses it, or has made another one of this name. Leave that one alone, and begin again"
            " with a new slot and a new base.",
        )
    if slot.timeline != ours.timeline or slot.flush_lsn < ours.stored_lsn:
        raise JournalError(
            f"The server of the replication slot {slot.name} is on timeline {slot.timeline} at"
            f" {lsn_text(slot.flush_lsn)}; changes were stored on timeline {ours.timeline} up to"
            f" {lsn_text(ours.stored_lsn)}.",
            code="JOURNAL_TIMELINE",
            hint="After a failover, or in a copy of the server, changes may be missing: begin again with a new slot and"
            " a new base.",
        )
    require_idle(slot)
    return slot


def require_idle(slot: Slot) -> None:
    """Refuse a slot that another session reads now.

    Raises
    ------
    JournalTransientError
        `JOURNAL_SLOT_BUSY`
    """
    if slot.active_pid is not None:
        raise JournalTransientError(
            f"The replication slot {slot.name} is in use by the server's process {slot.active_pid}.",
            code="JOURNAL_SLOT_BUSY",
            hint="It is tried again. If no drain runs, end that session: pg_terminate_backend.",
        )


def bound(slot: Slot, most_bytes: int) -> int:
    """Return how far the next step reads: to the end of the WAL, or a limited number of bytes of it."""
    return min(slot.flush_lsn, (slot.confirmed_lsn or slot.flush_lsn) + most_bytes)


def advance(session: psycopg2.extensions.connection, ours: Ownership) -> None:
    """Let the server forget what is in the vault: what comes up to `stored_lsn`, also where that was nothing.

    Raises
    ------
    JournalTransientError
        `JOURNAL_SLOT_BUSY`
    """
    with translated(ours.name), session, session.cursor() as cursor:
        cursor.execute(_ADVANCE, {"name": ours.name, "lsn": lsn_text(ours.stored_lsn)})


def drop(session: psycopg2.extensions.connection, name: str) -> bool:
    """Drop a slot; False when it does not exist.

    Raises
    ------
    JournalTransientError
        `JOURNAL_SLOT_BUSY`
    """
    if inspect(session, name) is None:
        return False
    with translated(name), session, session.cursor() as cursor:
        cursor.execute("SELECT pg_catalog.pg_drop_replication_slot(%s)", (name,))
    return True


def _differences(slot: Slot, ours: Ownership) -> list[str]:
    wrong = list[str]()
    if slot.plugin != ours.plugin:
        wrong.append(f"its plugin is {slot.plugin}")
    if slot.database != ours.database:
        wrong.append(f"its database is {slot.database}")
    if slot.is_temporary:
        wrong.append("it is temporary")
    if slot.is_two_phase:
        wrong.append("it sends prepared transactions")
    if slot.confirmed_lsn is not None and slot.confirmed_lsn > ours.stored_lsn:
        wrong.append(f"it was advanced to {lsn_text(slot.confirmed_lsn)}, beyond {lsn_text(ours.stored_lsn)}")
    return wrong


_SHOWS_LIMITS: Final = 130000
_HAS_TWO_PHASE: Final = 140000
# pg_current_wal_lsn fails on a standby; a name of a WAL file begins with its timeline.
_LOOK: Final = """
SELECT confirmed_flush_lsn::text, pg_current_wal_flush_lsn()::text, plugin::text, database::text,
       coalesce(pg_wal_lsn_diff(pg_current_wal_flush_lsn(), restart_lsn), 0)::bigint, {limits}, active_pid, temporary,
       {two_phase}, left(pg_walfile_name(pg_current_wal_flush_lsn()), 8), datoid::bigint
FROM pg_replication_slots WHERE slot_name = %s AND slot_type = 'logical'
"""
_NAMED_FOR: Final = """
SELECT slot_name::text FROM pg_catalog.pg_replication_slots
WHERE slot_name ~ %s AND database = pg_catalog.current_database() ORDER BY 1
"""
# A position that the slot has reached already is an error to the server.
_ADVANCE: Final = """
SELECT pg_replication_slot_advance(slot_name, %(lsn)s) FROM pg_replication_slots
WHERE slot_name = %(name)s AND confirmed_flush_lsn < %(lsn)s
"""
