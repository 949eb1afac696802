"""Begin: a new slot, and a new interval on a slot that exists."""

from __future__ import annotations

from typing import Final

import psycopg2.extensions
from ulid import ULID

from coffre.model.journal import JournalInterval, JournalState
from coffre.operations.journal.job import JournalJob
from coffre.operations.journal.keeping import keep, ownership
from coffre.postgres.journal import slot
from coffre.postgres.journal.barriers import marks_of
from coffre.postgres.journal.definitions_document import definitions_document
from coffre.postgres.journal.look import Look, look
from coffre.postgres.journal.test_decoding import PLUGIN
from coffre.vault.journal import begin_interval, store_definitions

_PATIENCE_SECONDS: Final = 30.0
# What belongs to a slot, and to an interval.
_NO_INTERVAL: Final = {
    "interval": None,
    "number": 0,
    "sha256": "",
    "from_lsn": 0,
    "segment_lsn": 0,
    "fingerprint": "",
    "marked": "",
    "marks_in": 0,
    "sequences": "",
    "slow": 0,
}


def without_interval(job: JournalJob, state: JournalState) -> JournalState:
    """Keep that an interval has ended; its slot stays."""
    return keep(job, state, **_NO_INTERVAL)


def without_slot(job: JournalJob, state: JournalState) -> JournalState:
    """Keep that a slot is gone, and its interval with it."""
    return keep(job, state, **_NO_INTERVAL, slot=None, stored_lsn=0, retained_bytes=0)


def begin_slot(
    job: JournalJob, session: psycopg2.extensions.connection, state: JournalState | None
) -> tuple[JournalState, Look]:
    """Make a slot and begin an interval on it.

    The name is kept before the slot is made: a slot that a killed function left behind is found again, and of two
    drains only one makes any.

    Raises
    ------
    JournalError
        `JOURNAL_NOT_POSSIBLE`
    JournalTransientError
        `JOURNAL_WAITS`, `JOURNAL_TWO_DRAINS`
    """
    kept = keep(job, state, **_NO_INTERVAL, slot=slot.new_name(job.target), stored_lsn=0, retained_bytes=0)
    patience = max(1.0, min(_PATIENCE_SECONDS, job.remaining_seconds() / 2))
    made = slot.create(session, ownership(kept).name, patience_seconds=patience)
    kept = keep(job, kept, database=made.database, timeline=made.timeline, stored_lsn=made.stored_lsn)
    seen = look(session, job.pause)
    return begin_on_slot(job, kept, seen), seen


def begin_on_slot(job: JournalJob, state: JournalState, seen: Look) -> JournalState:
    """Begin an interval: a backup whose snapshot is taken from now on is its base.

    What the slot has from before is stored as well: a base has it already, and a transaction that is not visible yet
    comes with it.
    """
    interval = JournalInterval(
        id=str(ULID()),
        target=job.target,
        database=seen.database,
        slot=ownership(state).name,
        plugin=PLUGIN,
        system=seen.system,
        timeline=state.timeline,
        from_lsn=max(seen.durable.lsn, state.stored_lsn),
        started_at=job.now(),
        fingerprint=seen.fingerprint,
        recipients=job.recipients,
        definitions=(),
        marks=marks_of(seen.definitions),
    )
    frames = store_definitions(job.vault, job.target, interval.id, job.encoder, definitions_document(seen.definitions))
    sha256 = begin_interval(job.vault, interval.model_copy(update={"definitions": frames}))
    return keep(
        job,
        state,
        **_NO_INTERVAL
        | {
            "interval": interval.id,
            "system": seen.system,
            "sha256": sha256,
            "from_lsn": interval.from_lsn,
            "segment_lsn": interval.from_lsn,
            "fingerprint": seen.fingerprint,
            "marked": seen.marked,
        },
        base_wanted_at=job.now(),
    )
