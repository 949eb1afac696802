"""Begin: a new slot, and a new interval on a slot that exists."""

from __future__ import annotations

from contextlib import suppress
from typing import Final

import psycopg2.extensions
from ulid import ULID

from coffre.model.errors import IntegrityError, JournalTransientError, ObjectMissingError
from coffre.model.journal import JournalInterval, JournalState
from coffre.model.journal_options import PUBLICATION
from coffre.operations.journal.catalog_state import keep, ownership
from coffre.operations.journal.job import JournalJob
from coffre.policy.profiles import detect
from coffre.postgres.connection.provider_facts import read_provider_facts
from coffre.postgres.journal import pgoutput, slot
from coffre.postgres.journal.barriers import marks_of, names_of
from coffre.postgres.journal.definitions import read_definitions
from coffre.postgres.journal.definitions_document import definitions_document
from coffre.postgres.journal.drain_view import Look, look
from coffre.postgres.journal.publication import asking, followed, read_publication
from coffre.postgres.journal.refuse_pooler import require_own_process
from coffre.vault.journal import begin_interval, intervals, read_interval
from coffre.vault.journal_packs import store_definitions

_PATIENCE_SECONDS: Final = 30.0
# What belongs to a slot, and to an interval.
_NO_INTERVAL: Final = {
    "interval": None,
    "number": 0,
    "sha256": "",
    "from_lsn": 0,
    "segment_lsn": 0,
    "fingerprint": "",
    "recipients": None,
    "publication": "",
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
        `JOURNAL_NOT_POSSIBLE`, `JOURNAL_PUBLICATION`
    JournalTransientError
        `JOURNAL_WAITS`, `JOURNAL_TWO_DRAINS`
    ConnectError
        `TRANSACTION_POOLER`
    """
    require_own_process(session, job.connection)
    plugin = plugin_of(job, session)
    publication = _publication(session) if plugin == pgoutput.PLUGIN else ""
    name = slot.new_name(job.target)
    kept = keep(job, state, **_NO_INTERVAL, slot=name, plugin=plugin, database_oid=0, stored_lsn=0, retained_bytes=0)
    _drop_forgotten(job, session)
    patience = max(1.0, min(_PATIENCE_SECONDS, job.remaining_seconds() / 2))
    made = slot.create(session, name, patience_seconds=patience, plugin=plugin)
    kept = keep(job, kept, database=made.database, timeline=made.timeline, stored_lsn=made.stored_lsn)
    seen = look(session, job.pause, plugin)
    if seen.publication != publication:
        raise JournalTransientError(
            f'The publication "{PUBLICATION}" has changed while the slot was made: the next drain makes another one.',
            code="JOURNAL_WAITS",
        )
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
        plugin=state.plugin,
        system=seen.system,
        timeline=state.timeline,
        from_lsn=max(seen.durable.lsn, state.stored_lsn),
        started_at=job.now(),
        fingerprint=seen.fingerprint,
        recipients=job.recipients,
        definitions=(),
        marks=marks_of(seen.definitions),
        names=names_of(seen.definitions),
        publication=seen.publication,
        left_out=seen.left_out,
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
            "recipients": interval.recipients,
            "publication": seen.publication,
            "marked": seen.marked,
        },
        base_wanted_at=job.now(),
    )


def recipients_of(job: JournalJob, state: JournalState) -> tuple[str, ...] | None:
    """Return the public keys that the open interval is encrypted to; None: its record cannot be read."""
    if state.recipients is not None:
        return state.recipients
    try:
        return read_interval(job.vault, job.target, state.interval or "").recipients
    except (IntegrityError, ObjectMissingError):
        return None


def plugin_of(job: JournalJob, session: psycopg2.extensions.connection) -> str:
    """Return the output plugin of a new slot: the one that the target names, or else that of its provider."""
    if job.plugin != "auto":
        return job.plugin
    with session:
        facts = read_provider_facts(asking(session), job.connection.host)
    return detect(facts, job.provider).journal_plugin


def _drop_forgotten(job: JournalJob, session: psycopg2.extensions.connection) -> None:
    """Drop the slots of intervals that the catalog does not know (any more), as when it is an older one."""
    found = slot.named_for(session, job.target)
    ours = {one.slot for one in intervals(job.vault, job.target, lambda _: None)} if found else set()
    for name in ours.intersection(found):
        with suppress(JournalTransientError):  # a program reads it
            slot.drop(session, name)


def _publication(session: psycopg2.extensions.connection) -> str:
    """Return what the publication says, committed before the slot exists: its first transactions have to show it."""
    with session:
        publication = read_publication(asking(session))
        followed(read_definitions(session), publication)
        return publication.sha256
