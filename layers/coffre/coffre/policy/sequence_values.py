"""Between which values a sequence was at a moment: only drains and backups read them."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from datetime import datetime
from itertools import pairwise

from coffre.model.journal import JournalSegment
from coffre.model.manifest import SequenceValue

type Reading = tuple[SequenceValue, ...]


def readings_around(
    segments: Sequence[JournalSegment], base_lsn: int, time: datetime | None, *, ends_in_tail: bool = False
) -> tuple[tuple[Reading | None, ...], Reading]:
    """Return what was read before a moment, or not surely after it, in that order; and what was read after it.

    A drain reads sequences when it has noted its position, and all of its segments have these values. So those of a
    drain that was killed between two of them are of after the moments that the next drain stores, and only where a
    drain is complete, what the one before it has read is from before its end.

    Parameters
    ----------
    segments
        Up to the one in which the moment is.
    base_lsn
        Where the base's snapshot was taken. What the base has read is None here; it is left out where later values are
        from before the moment.
    time
        The moment, if it is a time.
    ends_in_tail
        The last one is the tail of an interval: it has the values of all sequences that exist afterwards.
    """
    if not segments or segments[-1].to_lsn <= base_lsn:
        return (), ()
    # A record without values says that none has changed.
    values = list[Reading]()
    for segment in segments:
        values.append(segment.sequences or (values[-1] if values else ()))
    if ends_in_tail:
        values[-1] = segments[-1].sequences
    found, is_surely_before, is_behind_base = list[Reading | None](), False, True
    drain = segments[-1].seen_at, values[-1]
    for segment, read in zip(reversed(segments[:-1]), reversed(values[:-1]), strict=True):
        if is_behind_base and segment.to_lsn <= base_lsn:
            found.append(None)
            is_behind_base = False
        if (segment.seen_at, read) != drain:
            found.append(read)
            drain = segment.seen_at, read
            if is_surely_before:
                break
        is_surely_before = is_surely_before or (segment.is_complete and (time is None or segment.seen_at <= time))
    else:
        found += [None] if is_behind_base else []
    return tuple(reversed(found)), values[-1]


def place(value: SequenceValue, sign: int) -> tuple[int, bool]:
    """Return how far a sequence is, of one that counts up (1) or down (-1)."""
    return value.last_value * sign, value.is_called


def goes_back(values: Iterable[SequenceValue], sign: int) -> bool:
    """Return whether a sequence was set back between two of its values, which are in the order of their reading."""
    return any(place(after, sign) < place(before, sign) for before, after in pairwise(values))


def continued(values: Sequence[SequenceValue], sign: int) -> SequenceValue:
    """Return the value that a sequence continues from: the last, or the furthest if it was set back before that.

    It is not behind one that was used up to the moment, unless it was set back around the moment: before which of the
    values, and how far it was then, is not known.
    """
    return max(values, key=lambda value: place(value, sign)) if goes_back(values, sign) else values[-1]
