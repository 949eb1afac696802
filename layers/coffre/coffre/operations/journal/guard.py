"""The guard: a slot is dropped before the WAL that it holds is a danger to its server."""

from __future__ import annotations

import psycopg2.extensions

from coffre.model.errors import StoreError, StoreTransientError
from coffre.model.journal import IntervalEnd, JournalEnd, JournalState
from coffre.operations.journal.adopt_stored import adopt
from coffre.operations.journal.barrier import drop_ours, end, reported
from coffre.operations.journal.begin_interval import without_slot
from coffre.operations.journal.catalog_state import claimed
from coffre.operations.journal.job import JournalJob, opened_at_server
from coffre.policy.journal_health import silence, slot_danger
from coffre.postgres.journal import slot
from coffre.postgres.journal.slot import Slot


def guard(job: JournalJob) -> IntervalEnd | None:
    """Drop the journal's slot if it is a danger to its server, and return the end of its interval; None: it is none.

    Raises
    ------
    JournalTransientError
        `JOURNAL_SLOT_BUSY`, `JOURNAL_TWO_DRAINS`
    StoreError, StoreTransientError
        The vault does not answer. A slot that is a danger was dropped; the next drain ends the interval.
    """
    unread: StoreError | StoreTransientError | None = None
    try:
        state = adopt(job).state
    except (StoreError, StoreTransientError) as error:
        state, unread = job.journals.find(job.target), error
    ended = None
    if state is not None and state.slot is not None:
        with opened_at_server(job) as session:
            found = slot.inspect(session, state.slot)
            why = _why_dropped(job, state, found) if found is not None else None
            if why and unread is not None:
                _, left = _dropped(job, session, state)
                if left:
                    unread.add_note(left)
            elif why:
                ended = drop_for(job, session, state, why)[1]
    if unread is not None:
        raise unread
    return ended


def _why_dropped(job: JournalJob, state: JournalState, found: Slot) -> str | None:
    danger = slot_danger(found.retained_bytes, found.safe_bytes, job.guarding)
    return danger or silence(state, job.guarding, job.now())


def drop_for(
    job: JournalJob, session: psycopg2.extensions.connection, state: JournalState, why: str
) -> tuple[JournalState, IntervalEnd | None]:
    """Drop the slot, end the interval, and report that; raises `JOURNAL_SLOT_BUSY` and `JOURNAL_TWO_DRAINS` before.

    The slot goes first: its server is in danger also when the vault takes nothing. The next drain ends the interval
    then, as one whose slot is missing.
    """
    state, left = _dropped(job, session, state)
    ended = end(job, state, JournalEnd.GUARD, f"{why} {left}" if left else why)
    if ended is not None:
        state = reported(job, state, ended)
    return without_slot(job, state), ended


def _dropped(
    job: JournalJob, session: psycopg2.extensions.connection, state: JournalState
) -> tuple[JournalState, str | None]:
    """Drop the slot, and return what there is to say of another one of its name, which is left alone."""
    found = slot.inspect(session, state.slot) if state.slot else None
    if found is not None:
        slot.require_idle(found)
    state = claimed(job, state)
    drop_ours(session, state)
    is_left = found is not None and slot.inspect(session, found.name) is not None
    return state, left_alone(state.slot or "") if is_left else None


def left_alone(name: str) -> str:
    """Return the sentence about a slot that may be another program's."""
    return (
        f"The replication slot {name} was left alone, as it may be another program's: the server keeps WAL for it until"
        f" it is dropped. If nothing reads from it: SELECT pg_drop_replication_slot('{name}');"
    )
