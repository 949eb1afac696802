"""Which two bases of a journal prove it, and whether its values of sequences are behind."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime

from coffre.model.journal_proof import JournalProof
from coffre.model.manifest import SequenceValue
from coffre.model.names import TableName
from coffre.policy import sequence_values
from coffre.policy.moments import Chosen, Point, Stretch, made_from
from coffre.policy.sequence_values import place

type Values = Mapping[TableName, SequenceValue]


@dataclass(frozen=True)
class Pair:
    """What is compared: a base, and what the journal makes of an earlier one; None: there is none, and why not."""

    chosen: Chosen[str] | None
    why: str | None = None


def pair_for(stretch: Stretch[str], newer: str, before: Sequence[JournalProof]) -> Pair:
    """Return how a base is made from an earlier one of its interval.

    The earlier one is where the proof before ended, so that proofs follow each other without a gap; otherwise the first
    that can be used, so that one proof is about as much as possible.

    Parameters
    ----------
    newer
        The id of a backup that is one of the stretch's bases.
    before
        Earlier proofs, the newest first.
    """
    base = dict(stretch.bases)[newer]
    earlier = [(backup, one) for backup, one in stretch.usable if one.lsn < base.lsn]
    if not earlier:
        return Pair(None, "the interval has no earlier base to compare it with")
    point = Point(lsn=base.lsn)
    if stretch.until(point).is_before(point):
        is_over = stretch.end is not None
        return Pair(None, "definitions were changed around it" if is_over else "the journal is not stored so far yet")
    compared = [proof.newer for proof in before if proof.interval == stretch.interval.id and proof.why is None]
    last = next((one for one in earlier if one[0] in compared[:1]), earlier[0])
    return Pair(replace(made_from(point, stretch, *last), seen_by=base))


def is_read_later(stretch: Stretch[str], completed_at: datetime) -> bool:
    """Return whether the journal has been drained since a backup was over, which reads sequences after its snapshot."""
    until = stretch.until(Point(completed_at)).time
    return until is not None and until >= completed_at


def values_by_journal(stretch: Stretch[str], chosen: Chosen[str], own: Iterable[SequenceValue]) -> list[Values]:
    """Return the values of sequences that the journal gives at a base, and those that it knows from later drains.

    Parameters
    ----------
    own
        Those of the earlier base.
    """
    later = [one.sequences for one in stretch.segments if one.to_lsn > (chosen.point.lsn or 0)]
    return [by_name([*own, *chosen.sequences]), *map(by_name, later)]


def by_name(values: Iterable[SequenceValue]) -> Values:
    return {(one.schema_name, one.sequence_name): one for one in values}


def behind(
    wanted: Values, known: Sequence[Values], descending: Collection[TableName]
) -> Iterator[tuple[TableName, SequenceValue, SequenceValue | None]]:
    """Yield the sequences that are behind in all that is known, with the value that is wanted and the newest known."""

    for name, value in wanted.items():
        found, sign = [values[name] for values in known if name in values], _sign(name, descending)
        if not any(place(one, sign) >= place(value, sign) for one in found):
            yield name, value, found[-1] if found else None


def goes_back(name: TableName, read: Sequence[Values], descending: Collection[TableName]) -> bool:
    """Return whether a sequence was set back between two readings, before which a backup may have read it."""
    return sequence_values.goes_back((values[name] for values in read if name in values), _sign(name, descending))


def _sign(name: TableName, descending: Collection[TableName]) -> int:
    return -1 if name in descending else 1
