"""Find what is stored and not in the catalog: a drain was killed between the two, or the catalog is a new one."""

from __future__ import annotations

from typing import NamedTuple

from coffre.model.errors import IntegrityError, ObjectMissingError
from coffre.model.journal import JournalInterval, JournalState
from coffre.operations.journal.catalog_state import keep, with_segment
from coffre.operations.journal.job import JournalJob
from coffre.vault.journal import interval_ids, interval_sha256, listed_segments, read_end, read_interval, read_segment
from coffre.vault.layout import SegmentKey, segment_key


class Adopted(NamedTuple):
    """How far a journal is; without a `state` it has neither slot nor open interval.

    `damage` is why the interval of the state, or the `unread` one that nothing can be adopted of, cannot be continued.
    """

    state: JournalState | None
    damage: IntegrityError | None = None
    unread: str | None = None


def adopt(job: JournalJob) -> Adopted:
    """Return how far the journal is, in the catalog and in the vault. What is damaged there ends an interval."""
    state = job.journals.find(job.target)
    if state is None or state.interval is None:
        return _adopt_interval(job, state)
    return _adopt_segments(job, state)


def _adopt_segments(job: JournalJob, state: JournalState) -> Adopted:
    """Adopt what a drain has stored and not kept: the key of a segment follows from the record before it."""
    while state.interval is not None:
        number = state.number + 1
        key = segment_key(job.target, state.interval, number, state.segment_lsn)
        try:
            found = _with_segment(job, state, SegmentKey(key, number, state.segment_lsn))
        except ObjectMissingError:
            break
        except IntegrityError as error:
            return Adopted(state, error)
        state = keep(job, state, **found)
    return Adopted(state)


def _adopt_interval(job: JournalJob, state: JournalState | None) -> Adopted:
    """Adopt the newest interval, if it is open; of the slot that the catalog knows, if it knows one."""
    interval: JournalInterval | None = None
    for name in reversed(interval_ids(job.vault, job.target)):
        try:
            interval = read_interval(job.vault, job.target, name)
        except ObjectMissingError:
            continue  # begun by a drain that was killed before it wrote the record
        except IntegrityError as error:
            return Adopted(state, error, name)
        break
    if interval is None or (state is not None and state.slot not in (None, interval.slot)):
        return Adopted(state)
    of_slot = {"slot": interval.slot, "plugin": interval.plugin, "database": interval.database}
    try:
        if not _is_open(job, interval):
            return Adopted(state)
    except IntegrityError as error:  # the end may be anywhere
        return Adopted(keep(job, state, **of_slot), error, interval.id)
    before = state or JournalState(target=job.target)
    adopted = before.model_copy(
        update={
            **of_slot,
            "system": interval.system,
            "timeline": interval.timeline,
            "interval": interval.id,
            "from_lsn": interval.from_lsn,
            "number": 0,
            "sha256": interval_sha256(job.vault, job.target, interval.id),
            "segment_lsn": interval.from_lsn,
            "stored_lsn": interval.from_lsn,
            "fingerprint": interval.fingerprint,
            "recipients": interval.recipients,
            "publication": interval.publication,
            "marked": "",
            "marks_in": 0,
            "sequences": "",
            "base_wanted_at": job.now(),
        }
    )
    damage: IntegrityError | None = None
    for key in listed_segments(job.vault, job.target, interval.id):
        # The segments before the first one may have been deleted, and some in between may be damaged or missing: only
        # a backup after that is a base of what follows.
        follows = damage is None and key.number == adopted.number + 1
        if not follows:
            adopted = adopted.model_copy(update={"from_lsn": key.from_lsn})
        try:
            before = adopted if follows else adopted.model_copy(update={"sha256": ""})
            adopted, damage = adopted.model_copy(update=_with_segment(job, before, key)), None
        except IntegrityError as error:
            damage = error
    changes = {name: getattr(adopted, name) for name in JournalState.model_fields if name not in ("target", "revision")}
    return Adopted(keep(job, state, **changes), damage)


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
