"""Find what is stored and not in the catalog: a drain was killed between the two, or the catalog is a new one."""

from __future__ import annotations

from coffre.model.errors import ObjectMissingError
from coffre.model.journal import JournalInterval, JournalState
from coffre.operations.journal.job import JournalJob
from coffre.operations.journal.keeping import keep, with_segment
from coffre.vault.journal import interval_sha256, intervals, read_end, read_segment, segment_keys
from coffre.vault.layout import SegmentKey, segment_key


def adopt(job: JournalJob) -> JournalState | None:
    """Return how far the journal is, in the catalog and in the vault; None: it has neither slot nor open interval.

    Raises
    ------
    IntegrityError
        `JOURNAL_DAMAGED`, `JOURNAL_GAP`
    """
    state = job.journals.find(job.target)
    if state is None or state.interval is None:
        return _adopt_interval(job, state)
    return _adopt_segments(job, state)


def _adopt_segments(job: JournalJob, state: JournalState) -> JournalState:
    """Adopt what a drain has stored and not kept: the key of a segment follows from the record before it."""
    while state.interval is not None:
        number = state.number + 1
        key = segment_key(job.target, state.interval, number, state.segment_lsn)
        try:
            found = _with_segment(job, state, SegmentKey(key, number, state.segment_lsn))
        except ObjectMissingError:
            break
        state = keep(job, state, **found)
    return state


def _adopt_interval(job: JournalJob, state: JournalState | None) -> JournalState | None:
    """Adopt the newest interval, if it is open; of the slot that the catalog knows, if it knows one."""
    slot = state.slot if state else None
    found = [interval for interval in intervals(job.vault, job.target) if slot in (None, interval.slot)]
    if not found or not _is_open(job, found[-1]):
        return state
    interval = found[-1]
    before = state or JournalState(target=job.target)
    adopted = before.model_copy(
        update={
            "slot": interval.slot,
            "plugin": interval.plugin,
            "database": interval.database,
            "system": interval.system,
            "timeline": interval.timeline,
            "interval": interval.id,
            "from_lsn": interval.from_lsn,
            "number": 0,
            "sha256": interval_sha256(job.vault, job.target, interval.id),
            "segment_lsn": interval.from_lsn,
            "stored_lsn": interval.from_lsn,
            "fingerprint": interval.fingerprint,
            "publication": interval.publication,
            "marked": "",
            "marks_in": 0,
            "sequences": "",
            "base_wanted_at": job.now(),
        }
    )
    for key in segment_keys(job.vault, job.target, interval.id, after=None):
        # The segments before the first one may have been deleted.
        follows = adopted if key.number == adopted.number + 1 else adopted.model_copy(update={"sha256": ""})
        adopted = adopted.model_copy(update=_with_segment(job, follows, key))
    return keep(job, state, **adopted.model_dump(exclude={"target", "revision"}))


def _with_segment(job: JournalJob, state: JournalState, key: SegmentKey) -> dict[str, object]:
    """Return what changes in a state with the next segment, which is read and has to follow the one before."""
    segment, sha256 = read_segment(job.vault, key, state.sha256 or None)
    return with_segment(state, segment, sha256)


def _is_open(job: JournalJob, interval: JournalInterval) -> bool:
    try:
        read_end(job.vault, job.target, interval.id)
    except ObjectMissingError:
        return True
    return False
