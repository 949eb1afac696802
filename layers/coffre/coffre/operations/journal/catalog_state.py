"""The state of a journal in the catalog: what another drain has changed meanwhile is never overwritten."""

from __future__ import annotations

from typing import Any

from coffre.model.errors import CoffreError, JournalTransientError
from coffre.model.journal import JournalSegment, JournalState
from coffre.operations.journal.job import JournalJob
from coffre.postgres.journal.drain_view import hash_of
from coffre.postgres.journal.slot import Ownership


def keep(job: JournalJob, seen: JournalState | None, **changes: Any) -> JournalState:
    """Change a state that was seen, and return what the catalog has.

    Raises
    ------
    JournalTransientError
        `JOURNAL_TWO_DRAINS`: another drain has changed it.
    """
    before = seen or JournalState(target=job.target)
    kept = job.journals.keep(before.model_copy(update=changes), seen)
    if kept is None:
        raise two_drains(job)
    return kept


def claimed(job: JournalJob, state: JournalState) -> JournalState:
    """Keep a state as it is, before its slot is dropped: a drain that has seen it, too, is the slower one now.

    Raises
    ------
    JournalTransientError
        `JOURNAL_TWO_DRAINS`
    """
    return keep(job, state)


def with_segment(state: JournalState, segment: JournalSegment, sha256: str) -> dict[str, Any]:
    """Return what changes in a state with the next segment of its interval."""
    changes: dict[str, Any] = {
        "number": segment.number,
        "sha256": sha256,
        "segment_lsn": segment.to_lsn,
        "stored_lsn": max(state.stored_lsn, segment.to_lsn),
        "sequences": hash_of(segment.sequences),
    }
    if segment.transactions or segment.is_complete:
        changes["slow"] = 0
    if segment.is_complete:
        changes["seen_at"] = segment.seen_at
    if segment.marks:
        changes |= {"marks_in": segment.number, "marked": ""}
    return changes


def two_drains(job: JournalJob) -> JournalTransientError:
    """Return the error of the slower of two drains."""
    return JournalTransientError(
        f'Another drain of the journal of "{job.target}" has gone further meanwhile.',
        code="JOURNAL_TWO_DRAINS",
        hint="Nothing is lost or stored twice: the next drain continues from there.",
    )


def note_failure(job: JournalJob, error: CoffreError) -> None:
    """Write into the state why a drain failed; what was done before stays as it is.

    Another drain that works meanwhile is not disturbed; of two drains, the slower one has not failed.
    """
    if error.code == "JOURNAL_TWO_DRAINS":
        return
    seen = job.journals.find(job.target)
    failure = {"failed_at": job.now(), "error": error.code, "message": error.message}
    if seen is None:
        job.journals.keep(JournalState(target=job.target).model_copy(update=failure), None)
    else:
        job.journals.note(seen.model_copy(update=failure))


def ownership(state: JournalState) -> Ownership:
    """Return what the records say of the slot.

    Raises
    ------
    ValueError
        The journal has no slot.
    """
    if state.slot is None:
        raise ValueError("the journal has no slot")
    return Ownership(state.slot, state.database, state.stored_lsn, state.timeline, state.plugin)
