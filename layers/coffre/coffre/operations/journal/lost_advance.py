"""An advance of the slot that was lost makes the server send again what is stored; anything else is another history."""

from __future__ import annotations

from collections.abc import Iterable
from contextlib import closing
from datetime import datetime
from typing import Final

import psycopg2.extensions

from coffre.model.errors import IntegrityError, JournalError, JournalTransientError, ObjectMissingError
from coffre.model.journal import JournalState
from coffre.operations.journal.catalog_state import ownership
from coffre.operations.journal.job import JournalJob
from coffre.operations.journal.segment import in_time
from coffre.postgres.journal import slot_changes
from coffre.postgres.journal.slot import Slot
from coffre.postgres.journal.transactions import Transaction, outline
from coffre.vault.journal import read_segment, segment_keys

_UNSEARCHABLE: Final = ("JOURNAL_TOO_LARGE", "JOURNAL_TOO_SLOW")


def require_same_history(
    job: JournalJob, session: psycopg2.extensions.connection, state: JournalState, found: Slot
) -> None:
    """Look for the last commit of the newest segment among what the server sends again, and for none behind it.

    A server whose disk was put back to an earlier state (a snapshot of its storage) has the same name, timeline and
    slot, and may have written more WAL since then than is stored: its positions mean other transactions then.

    Raises
    ------
    JournalError
        `JOURNAL_TIMELINE`
    """
    try:
        keys = segment_keys(job.vault, job.target, state.interval or "", after=None)
        newest = [key for key in keys if key.number == state.number]
        segment = read_segment(job.vault, newest[0], None)[0] if newest else None
    except ObjectMissingError:  # swept meanwhile
        segment = None
    except IntegrityError as error:  # it would be so in each drain
        raise JournalError(
            f"What the server sends again cannot be compared with what is stored: {error.message}",
            code="JOURNAL_TIMELINE",
            hint="The journal begins again with a new slot and a new base.",
        ) from error
    # The first ones may only have what the slot had from before the interval; or nothing of it comes again.
    last_commit = segment.last_commit if segment is not None and segment.to_lsn > state.from_lsn else None
    if segment is not None and (found.confirmed_lsn or 0) >= segment.to_lsn:
        last_commit = None
    upto = max(state.segment_lsn, state.stored_lsn)
    if last_commit is None and upto == state.segment_lsn:
        return
    try:
        with closing(in_time(job, session, ownership(state), upto, slot_changes.lines)) as lines:
            if _is_repeated(outline(lines), last_commit, state.segment_lsn, upto):
                return
    except (JournalError, JournalTransientError) as error:
        if error.code not in _UNSEARCHABLE:
            raise
        return  # after a crash much can come again: that it is too much says nothing
    raise JournalError(
        f"The server of the replication slot {state.slot} has gone back in time: it sends other transactions than those"
        " that are stored.",
        code="JOURNAL_TIMELINE",
        hint="Its disk was put back to an earlier state: the journal begins again with a new slot and a new base.",
    )


def _is_repeated(found: Iterable[Transaction], last_commit: datetime | None, segment_lsn: int, upto: int) -> bool:
    """Return whether a commit is among transactions, and no other is behind the newest segment: nothing was."""
    is_there = last_commit is None
    for one in found:
        if segment_lsn < one.commit_lsn <= upto:
            return False
        is_there = is_there or one.time == last_commit
    return is_there
