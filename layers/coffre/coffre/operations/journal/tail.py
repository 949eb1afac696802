"""The tail of an interval: what was committed between its last drain and the one that finds other definitions.

One of its transactions has changed them. Those before it fit the interval's definitions and make moments of it, up to
the last one before a table was dropped; nothing shows which they are, so a restore says what is not known
(docs/adr/0078).
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, replace
from typing import Final

import psycopg2.extensions

from coffre.model.errors import JournalError, JournalTransientError
from coffre.model.journal import DefinitionMark, JournalSegment, JournalState
from coffre.model.names import TableName, shown
from coffre.operations.journal.catalog_state import keep
from coffre.operations.journal.job import JournalJob
from coffre.operations.journal.segment import segment_after, store_followed
from coffre.postgres.journal.drain_view import Look

UNREADABLE: Final = ("JOURNAL_TOO_LARGE", "JOURNAL_TOO_SLOW", "JOURNAL_UNREADABLE", "JOURNAL_NO_STREAM")
"""What the server does not give in one way may come in another one."""


_ANOTHER_DRAIN: Final = ("JOURNAL_TWO_DRAINS", "JOURNAL_SLOT_BUSY")
# Of WAL, where the server has no room for more, and no stream.
_SMALLER_BYTES: Final = (8 << 20, 1 << 19)


@dataclass(frozen=True)
class Tail:
    """What was stored of a tail, and the tables whose rows it may not have; None: it is not known which."""

    segment: JournalSegment
    touched: tuple[str, ...] | None


def store_tail(
    job: JournalJob,
    session: psycopg2.extensions.connection,
    state: JournalState,
    seen: Look,
    marks: tuple[DefinitionMark, ...],
    touched: Iterable[TableName] | None,
) -> Tail | None:
    """Store what the slot has up to a look that has found other definitions, whatever its rows fit.

    Only the end of the interval, written next, names it. It is read in half of the time that is left, and has the WAL
    of one step at most: the next interval needs the rest. None: there is nothing, the server does not give it so, or
    the drain before this one had no time.

    Raises
    ------
    JournalError, JournalTransientError
        As `store_segment`, where a further drain may read it.
    """
    if state.slow:
        return None
    upto = min(seen.durable.lsn, state.stored_lsn + job.step_bytes)
    kept = job.remaining_seconds() / 2
    within = replace(job, remaining_seconds=lambda: job.remaining_seconds() - kept)
    names = None if touched is None else tuple(shown(*name) for name in touched)
    steps = [(upto, False), (upto, True), *((min(upto, state.stored_lsn + size), False) for size in _SMALLER_BYTES)]
    for until, by_stream in steps:
        try:
            found = store_followed(within, session, state, seen, until, None, by_stream=by_stream)
        except (JournalError, JournalTransientError) as error:
            if session.closed and error.code == "JOURNAL_TOO_SLOW":
                keep(job, state, slow=1)
            if session.closed or error.code in _ANOTHER_DRAIN:
                raise
        else:
            is_any = found.upto > state.stored_lsn
            return Tail(segment_after(state, seen, found, marks), names) if is_any else None
    return None
