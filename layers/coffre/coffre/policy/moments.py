"""Which base and which segments of a journal make a moment, or why none do."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Protocol

from coffre.model.errors import RestoreError
from coffre.model.journal import IntervalEnd, JournalInterval, JournalSegment, JournalState
from coffre.model.manifest import JournalBase
from coffre.model.names import TableName
from coffre.policy.sequence_values import Reading, readings_around


class _Begins(Protocol):
    @property
    def from_lsn(self) -> int: ...


@dataclass(frozen=True)
class Point:
    """A moment of a database: a time of its server's clock, or a position in its WAL; one of the two.

    What was committed at exactly that time or position belongs to it.
    """

    time: datetime | None = None
    lsn: int | None = None

    def __str__(self) -> str:
        """As `--at` and `--at-lsn` take it."""
        if self.lsn is not None:
            return f"{self.lsn >> 32:X}/{self.lsn & 0xFFFFFFFF:X}"
        return f"{self.time.astimezone(UTC):%Y-%m-%d %H:%M:%S.%f}+00" if self.time else "-"

    def is_before(self, other: Point) -> bool:
        """Return whether a moment of the same kind comes later."""
        if self.lsn is not None and other.lsn is not None:
            return self.lsn < other.lsn
        return self.time is not None and other.time is not None and self.time < other.time

    def is_before_end_of(self, segment: JournalSegment) -> bool:
        """Return whether a segment reaches beyond the moment, so that no later one is needed."""
        if self.lsn is not None:
            return segment.to_lsn >= self.lsn
        return self.is_before(Point(segment.last_commit))


@dataclass(frozen=True)
class Stretch[B]:
    """An interval with what is stored of it, or a part of one that lacks a segment in between.

    Parameters
    ----------
    end
        Also of a part that another one comes after.
    segments
        In order, without a gap. Those at the beginning may have been deleted.
    bases
        By their positions, the first one first.
    state
        What the catalog knows: how far everything is stored where nothing has changed since the last segment.
    cut
        What is missing or damaged before the first segment of a part.
    """

    interval: JournalInterval
    end: IntervalEnd | None
    segments: Sequence[JournalSegment]
    bases: Sequence[tuple[B, JournalBase]]
    state: JournalState | None = None
    cut: str | None = None

    @property
    def history(self) -> tuple[str | None, int]:
        """Of which WAL its positions and transactions are: of a restored server, or after a failover, of another."""
        return self.interval.system, self.interval.timeline

    @property
    def usable(self) -> Sequence[tuple[B, JournalBase]]:
        """The bases after which no segment is deleted."""
        first = self.segments[0].from_lsn if self.segments else self.interval.from_lsn
        if self.cut is not None:  # nor the one before it (`first_needed`), of which nothing else is known
            first = self.segments[0].to_lsn
        return [(backup, base) for backup, base in self.bases if base.before_lsn >= first]

    def begin(self, point: Point) -> Point | None:
        """Return the first moment that can be restored, in the kind of a point; None: without a base there is none."""
        if not self.usable:
            return None
        base = self.usable[0][1]
        return Point(base.at) if point.lsn is None else Point(lsn=base.lsn)

    def until(self, point: Point) -> Point:
        """Return the last moment up to which everything is stored, in the kind of a point."""
        state = self.state if self.state and self.state.interval == self.interval.id else None
        known = self.end or state  # what was seen after an end is no moment of it
        stored = [known] if known is not None else []
        if point.lsn is not None and self.end is not None:
            return Point(lsn=self.end.stored_lsn)
        if point.lsn is not None:
            lsns = [*(one.to_lsn for one in self.segments), *(one.stored_lsn for one in stored)]
            return Point(lsn=max(lsns, default=self.interval.from_lsn))
        times = [*(one.seen_at for one in stored), *(one.known_until for one in self.segments)]
        return Point(max((time for time in times if time is not None), default=self.interval.started_at))

    @property
    def tail(self) -> JournalSegment | None:
        """What was committed after it, among which definitions were changed."""
        return self.end.tail if self.end is not None else None

    @property
    def all_segments(self) -> Sequence[JournalSegment]:
        """With the tail."""
        return [*self.segments, *([self.tail] if self.tail is not None else [])]

    def tail_until(self, point: Point) -> Point | None:
        """Return the last moment that its tail may have, in the kind of a point; None: there is no tail."""
        if self.tail is None or (point.lsn is None and self.tail.known_until is None):
            return None
        return Point(lsn=self.tail.to_lsn) if point.lsn is not None else Point(self.tail.known_until)

    def base_for(self, point: Point, *, in_tail: bool = False) -> tuple[B, JournalBase] | None:
        """Return the last base at or before a moment up to which everything is stored, or that the tail may have.

        A clock that was set back shows some times twice. The first time is meant, at which a replay ends, too.
        """
        until = self.tail_until(point) if in_tail else self.until(point)
        if until is None or until.is_before(point):
            return None
        found = None
        for backup, base in self.usable:
            if not in_tail and self.end is not None and base.lsn > self.end.stored_lsn:
                continue  # it may have seen what is in the tail
            at = Point(base.at) if point.lsn is None else Point(lsn=base.lsn)
            earlier = [one for one in self.segments if one.to_lsn <= base.before_lsn] if point.lsn is None else []
            if not point.is_before(at) and not any(map(point.is_before_end_of, earlier)):
                found = backup, base
        return found


@dataclass(frozen=True)
class Chosen[B]:
    """What a moment is made of: a base, and the segments that are applied to it until the moment is reached.

    `sequences` are values after the moment: none is behind one that was used up to it, unless it was set back in
    between. Empty: those of the base are right. `earlier` are what was read before them and not surely after the
    moment, in that order; None: what the base has read. With `seen_by` the moment has exactly what this later base has
    seen. `emptied` has the tables that a TRUNCATE of one of the segments may have emptied: those of which a record up
    to the last one has another mark than the interval.
    """

    point: Point
    backup: B
    base: JournalBase
    interval: JournalInterval
    segments: Sequence[JournalSegment]
    sequences: Reading
    earlier: tuple[Reading | None, ...] = ()
    seen_by: JournalBase | None = None
    emptied: frozenset[TableName] = frozenset()
    end: IntervalEnd | None = None


def choose[B](target: str, point: Point, stretches: Sequence[Stretch[B]], now: datetime) -> Chosen[B]:
    """Choose how a moment is made, from the newest interval that has it.

    Parameters
    ----------
    stretches
        The oldest first.
    now
        What is later is refused as being in the future.

    Raises
    ------
    RestoreError
        `JOURNAL_MOMENT`, with the nearest moments before and after it that can be restored.
    """
    for in_tail in (False, True):
        bases = [(stretch, stretch.base_for(point, in_tail=in_tail)) for stretch in reversed(stretches)]
        found = [(stretch, base) for stretch, base in bases if base is not None]
        histories = {stretch.history for stretch, _ in found}
        if point.lsn is not None and len(histories) > 1:
            raise _ambiguous(target, point, len(histories))
        if found:
            stretch, base = found[0]
            return made_from(point, stretch, *base, in_tail=in_tail)
    raise _refusal(target, point, stretches, now)


def _ambiguous(target: str, point: Point, histories: int) -> RestoreError:
    return RestoreError(
        f"The position {point} of {target} exists {histories} times: its server was restored or failed over since.",
        code="JOURNAL_MOMENT",
        hint="Nothing was changed. Give a time (--at); `coffre journal list` shows the intervals with theirs.",
    )


def made_from[B](
    point: Point, stretch: Stretch[B], backup: B, base: JournalBase, *, in_tail: bool = False
) -> Chosen[B]:
    """Return how a moment that is stored, or may be in the tail, is made from a base before it."""
    stored = stretch.all_segments if in_tail else stretch.segments
    first, last = first_needed(stored, base.before_lsn), len(stored) - 1
    last = next((at for at in range(first, last) if point.is_before_end_of(stored[at])), last)
    segments = stored[first : last + 1]
    is_tail = in_tail and bool(segments) and segments[-1] is stretch.tail
    earlier, sequences = readings_around(stored[: last + 1], base.lsn, point.time, ends_in_tail=is_tail)
    emptied = _emptied(stored, segments[-1].number if segments else 0)
    end = stretch.end if is_tail else None
    return Chosen(point, backup, base, stretch.interval, segments, sequences, earlier, emptied=emptied, end=end)


def _emptied(segments: Iterable[JournalSegment], until: int) -> frozenset[TableName]:
    """Return the tables with a mark in one of the segments: that of a TRUNCATE is in its segment or the one before."""
    return frozenset(
        (mark.schema_name, mark.name) for segment in segments if segment.number <= until for mark in segment.marks
    )


def first_needed(segments: Sequence[_Begins], before_lsn: int) -> int:
    """Return the place of the first segment that is applied to a base: one before those that end behind its position.

    While a synchronous standby does not answer, what is in the WAL already is not visible yet, and so not in the base.
    What the base has is left out by its snapshot.
    """
    # A segment ends where the next one begins.
    begun = sum(segment.from_lsn <= before_lsn for segment in segments)
    return max(begun - 2, 0)


@dataclass(frozen=True)
class _Range:
    """From the first base of a stretch to its end, and why it ended (None: it is open)."""

    begin: Point
    end: Point
    why: str | None


def _ranges[B](point: Point, stretches: Sequence[Stretch[B]]) -> Iterator[_Range]:
    for stretch in stretches:
        begin, ended = stretch.begin(point), stretch.end
        end, tail = stretch.until(point), stretch.tail_until(point)
        end = tail if tail is not None and end.is_before(tail) else end
        if begin is not None and not end.is_before(begin):
            yield _Range(begin, end, (ended.text or ended.reason.value) if ended else None)


def _refusal[B](target: str, point: Point, stretches: Sequence[Stretch[B]], now: datetime) -> RestoreError:
    before: _Range | None = None
    after: _Range | None = None
    ranges = list(_ranges(point, stretches))
    for one in ranges:
        if one.end.is_before(point) and (before is None or before.end.is_before(one.end)):
            before = one
        if point.is_before(one.begin) and (after is None or one.begin.is_before(after.begin)):
            after = one
    named = [*([str(before.end)] if before else []), *([str(after.begin)] if after else [])]
    hint = f"What can be restored and is nearest: {' and '.join(named)}." if named else "Restore a backup: coffre list."
    why = _why(stretches, before, after)
    if why is None and Point(now).is_before(point):
        why = f"the moment is in the future, it is {Point(now)} now"
        hint = f"The newest moment that is stored: {before.end}." if before else hint
    elif why is None:
        why = "the journal is not stored so far yet"
        hint = f"{hint} What is newer is stored by the next drain: coffre journal drain {target}"
    return RestoreError(
        f"{point} of {target} cannot be restored: {why}.",
        code="JOURNAL_MOMENT",
        hint=f"Nothing was changed. {hint}",
    )


def _why[B](stretches: Sequence[Stretch[B]], before: _Range | None, after: _Range | None) -> str | None:
    """Return why there is a gap, or nothing at all; None: the moment comes after all that is stored."""
    if before is None:
        if after is not None:
            return "it is before the first base of the journal"
        return "its journal has no base yet, which the next backup is" if stretches else "it has no journal"
    if after is not None:
        return f"it is in a gap of the journal{f' ({before.why})' if before.why else ''}"
    return f"the journal has ended before it ({before.why})" if before.why else None
