"""What is stored of an interval of a journal: all of it, or its parts before and after what is missing or damaged."""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from dataclasses import dataclass, field, replace
from typing import Final, NamedTuple

from coffre.model.errors import IntegrityError, ObjectMissingError
from coffre.model.journal import IntervalEnd, JournalEnd, JournalInterval, JournalSegment, JournalState
from coffre.model.manifest import JournalBase
from coffre.policy.journal import bases_of
from coffre.policy.moments import Stretch, first_needed
from coffre.vault import journal
from coffre.vault.layout import SegmentKey
from coffre.vault.segment_runs import cut_error, segment_runs
from coffre.vault.vault import Vault

# Records of segments that are read at the same time.
_READERS: Final = 16

type Base[B] = tuple[B, str, JournalBase | None]


def parts_of[B](
    vault: Vault, interval: JournalInterval, backups: Sequence[Base[B]], state: JournalState | None
) -> list[Stretch[B]]:
    """Return what is stored of one interval, the oldest part first.

    What comes after a missing or damaged record continues a later base alone, as does what comes after a deleted one.

    Raises
    ------
    IntegrityError
        `JOURNAL_DAMAGED`: nothing of it can be used.
    """
    end, has_end = None, True
    try:
        end = journal.read_end(vault, interval.target, interval.id)
    except ObjectMissingError:
        has_end = False
    except IntegrityError:  # what it says is not known
        pass
    bases = bases_of(interval, end, backups)
    after = min((base.before_lsn for _, base in bases), default=interval.from_lsn)
    parts = _parts(vault, interval, after)
    found: list[Stretch[B]] = [
        Stretch(interval, _cut_end(interval, part.segments, following.why), part.segments, (), cut=part.why)
        for part, following in itertools.pairwise(parts)
    ]
    last = parts[-1]
    if has_end and end is None:
        # A drain that did not know of the end can have stored one segment more, which may not fit the definitions.
        del last.segments[-1:]
        end = _cut_end(interval, last.segments, "the record of its end is damaged")
    elif end is not None:
        end = _as_stored(end, interval, last.segments)
        last.segments[:] = [one for one in last.segments if one.from_lsn < end.stored_lsn]
    found.append(Stretch(interval, end, last.segments, (), state, last.why))
    usable = [one for one in found if one.segments] or [one for one in found if one.cut is None and len(found) == 1]
    if not usable:
        raise cut_error(interval, found[-1].cut or "")
    return [with_bases(one, backups) for one in usable]


def with_bases[A, B](stretch: Stretch[A], backups: Sequence[Base[B]]) -> Stretch[B]:
    """Return a stretch with its bases among backups."""
    bases = sorted(bases_of(stretch.interval, stretch.end, backups), key=lambda one: one[1].lsn)
    found = Stretch[B](stretch.interval, stretch.end, stretch.segments, bases, stretch.state, stretch.cut)
    return found if stretch.cut is None else replace(found, bases=found.usable)


def _cut_end(interval: JournalInterval, segments: Sequence[JournalSegment], why: str | None) -> IntervalEnd:
    last = segments[-1] if segments else None
    return IntervalEnd(
        reason=JournalEnd.GAP,
        stored_lsn=last.to_lsn if last else interval.from_lsn,
        number=last.number if last else 0,
        ended_at=last.seen_at if last else interval.started_at,
        text=why or "",
    )


def _as_stored(end: IntervalEnd, interval: JournalInterval, segments: Sequence[JournalSegment]) -> IntervalEnd:
    """Return the end of what exists: if the last segments were lost, it is where the last of the others ends."""
    last = segments[-1].number if segments else 0
    if end.number is None or last >= end.number:
        return end
    stored = min(end.stored_lsn, segments[-1].to_lsn if segments else interval.from_lsn)
    text = f"the segments from {last + 1} to {end.number} are missing"
    return end.model_copy(update={"stored_lsn": stored, "seen_at": None, "text": text, "tail": None})


@dataclass
class _Part:
    """Segments that follow one another, and what is wrong before them; None: nothing is."""

    why: str | None
    segments: list[JournalSegment] = field(default_factory=list)


class _Read(NamedTuple):
    """A segment and the SHA-256 of its record; None: it is damaged or gone."""

    segment: JournalSegment | None
    sha256: str = ""


def _parts(vault: Vault, interval: JournalInterval, after_lsn: int) -> list[_Part]:
    """Return the segments of an interval that end behind a position, each proven to follow the one before."""
    runs = segment_runs(vault, interval.target, interval.id)
    listed = [key for run in runs for key in run.keys]
    wanted = listed[first_needed(listed, after_lsn) :]
    breaks = {run.keys[0]: run.why for run in runs if run.keys and run.why}

    def read(key: SegmentKey) -> _Read:
        with suppress(IntegrityError, ObjectMissingError):
            return _Read(*journal.read_segment(vault, key, None))
        return _Read(None)

    with ThreadPoolExecutor(_READERS) as pool:
        found = list(pool.map(read, wanted))
    parts, before = [_Part(None)], _Read(None)
    if wanted and wanted[0].number == 1:
        before = _Read(None, journal.interval_sha256(vault, interval.target, interval.id))
        found[0] = _that_follows(vault, wanted[0], found[0], before)
        if found[0].segment is not None and not _follows(found[0].segment, before):
            raise cut_error(interval, "its record and that of the segment 1 do not fit")
    for key, one in zip(wanted, found, strict=True):
        if key in breaks:
            parts.append(_Part(breaks[key]))
            before = _Read(None)
        one = _that_follows(vault, key, one, before)  # noqa: PLW2901
        if one.segment is None:
            parts.append(_Part(f"the record of the segment {key.number} is damaged"))
        elif _follows(one.segment, before):
            parts[-1].segments.append(one.segment)
        else:  # one of the two was changed; this one was not if the next one follows it
            del parts[-1].segments[-1:]
            why = f"the record of the segment {key.number} does not follow the one before it"
            parts.append(_Part(why, [] if key is wanted[-1] else [one.segment]))
        before = one
    if runs[-1].why and not runs[-1].keys:
        parts.append(_Part(runs[-1].why))
    return parts


def _that_follows(vault: Vault, key: SegmentKey, one: _Read, before: _Read) -> _Read:
    """Return a segment as a copy of the vault has it, if it is another one here than what the one before asks for."""
    if one.segment is None or _follows(one.segment, before):
        return one
    with suppress(IntegrityError, ObjectMissingError):
        return _Read(*journal.read_segment(vault, key, before.sha256))
    return one


def _follows(segment: JournalSegment, before: _Read) -> bool:
    is_next = before.segment is None or before.segment.to_lsn == segment.from_lsn
    return before.sha256 in ("", segment.previous) and is_next
