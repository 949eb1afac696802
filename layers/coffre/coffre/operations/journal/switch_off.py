"""Switch a journal off: its slot is dropped, and what is stored stays as long as it is kept."""

from __future__ import annotations

from dataclasses import dataclass

from coffre.model.journal import IntervalEnd, JournalEnd
from coffre.operations.journal.adopt_stored import adopt
from coffre.operations.journal.barrier import drop_ours, end
from coffre.operations.journal.catalog_state import claimed, two_drains
from coffre.operations.journal.job import JournalJob, opened, opened_at_server
from coffre.postgres.journal import slot


@dataclass(frozen=True)
class SwitchedOff:
    """What was done: whether the slot was dropped, and a slot that was left.

    That is another one of its name, or one whose name can be the journal's where the record of its slot is damaged.
    """

    ended: IntervalEnd | None
    is_dropped: bool
    left: str | None


def switch_off(job: JournalJob) -> SwitchedOff | None:
    """Drop the journal's slot, end its interval, and forget its state; None: it was off already.

    The slot goes first: a run that is killed in between does the rest when it is repeated.

    Raises
    ------
    JournalTransientError
        `JOURNAL_SLOT_BUSY`, `JOURNAL_TWO_DRAINS`: nothing else was done.
    """
    state, _, unread = adopt(job)
    if state is None:
        left = _unclaimed(job) if unread is not None else None
        return SwitchedOff(None, is_dropped=False, left=left) if left is not None else None
    state = claimed(job, state)
    is_dropped, left = False, None
    if state.slot is None and unread is not None:
        left = _unclaimed(job)
    elif state.slot is not None:
        with opened_at_server(job) as session:
            is_dropped = drop_ours(session, state)
            left = state.slot if slot.inspect(session, state.slot) is not None else None
    ended = end(job, state, JournalEnd.SWITCHED_OFF, "The journal was switched off.")
    if not job.journals.forget(state):
        raise two_drains(job)
    return SwitchedOff(ended, is_dropped, left)


def _unclaimed(job: JournalJob) -> str | None:
    """Return a slot that can be the journal's, whose record is damaged."""
    with opened(job) as session:
        return next(iter(slot.named_for(session, job.target)), None)
