"""Between which values a sequence is at a moment, whatever drains are killed and whenever it is set back."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime
from types import SimpleNamespace

from hypothesis import given, settings
from hypothesis import strategies as st
from tests.unit.policy.test_moments import FIRST, at, base, segment

from coffre.model.journal import JournalSegment
from coffre.model.manifest import SequenceValue
from coffre.policy.moments import Point, made_from
from coffre.policy.sequence_values import continued, goes_back
from coffre_cli.commands.keys.kit import restore


def value(last: int) -> SequenceValue:
    return SequenceValue(schema_name="public", sequence_name="s", last_value=last, is_called=True)


def around(point: Point, *segments: JournalSegment, lsn: int = 50) -> list[int | None]:
    """Return what was read around a moment, and last after it; None: by the base."""
    found = made_from(point, replace(FIRST, segments=segments, end=None), "B", base(lsn)[1])
    values = [one if one is None else one[0].last_value for one in (*found.earlier, found.sequences or None)]
    return values[:-1] if values[-1] is None else values


def test_a_moment_is_between_what_was_surely_read_before_it_and_what_was_read_after_it() -> None:
    ones = [segment(number, number * 100 - 100, number * 100) for number in range(1, 6)]
    assert around(Point(lsn=60), *ones) == [None, 100]
    # The first drain may have read behind it, the base too.
    assert around(Point(lsn=160), *ones) == [None, 100, 200]
    assert around(Point(lsn=260), *ones) == [100, 200, 300]
    assert around(Point(lsn=460), *ones) == [300, 400, 500]
    assert around(Point(at(4.6)), *ones) == [300, 400, 500]
    # After the last commit of a segment, and before its drain: it read after the moment.
    assert around(Point(at(3.95)), *ones) == [200, 300, 400, 500]
    # What was read before the base may be from before the moment, where the base's own is not.
    assert around(Point(lsn=260), *ones, lsn=250) == [100, 200, None, 300]
    assert around(Point(lsn=90), *ones, lsn=100) == []
    # An earlier version stored no values where none had changed.
    assert around(Point(lsn=260), *ones[:2], segment(3, 200, 300, sequences=())) == [100, 200, 200]


def test_what_a_drain_has_read_that_was_killed_is_from_after_the_moments_of_the_next() -> None:
    def steps(number: int, drain: int, *, is_complete: bool = False) -> JournalSegment:
        changes = {"seen_at": at(drain), "is_complete": is_complete, "sequences": (value(drain),)}
        return segment(number, number * 100 - 100, number * 100, **changes)

    whole = [steps(1, 1, is_complete=True), steps(2, 2, is_complete=True)]
    # The next one has two steps, and was killed; so was the one after it.
    killed = [steps(3, 3), steps(4, 4), steps(5, 4), steps(6, 5, is_complete=True)]
    assert around(Point(lsn=550), *whole, *killed) == [1, 2, 3, 4, 5]
    assert around(Point(lsn=450), *whole, *killed) == [1, 2, 3, 4]
    assert around(Point(lsn=250), *whole, *killed) == [1, 2, 3]
    last = steps(7, 6, is_complete=True)
    assert around(Point(lsn=650), *whole, *killed, last) == [4, 5, 6]


@dataclass
class _History:
    """A sequence and drains of its database, in the order of time; every event is a position and a minute further."""

    places: list[int] = field(default_factory=lambda: [1])
    commits: list[int] = field(default_factory=list)
    segments: list[JournalSegment] = field(default_factory=list)
    noted: int = 0
    back_at: int = 1 << 30
    back_by: int = 0
    read: tuple[SequenceValue, ...] = ()

    @property
    def now(self) -> int:
        return len(self.places)

    def clock(self, lsn: int) -> datetime:
        """Return the server's time, which was set back once."""
        return at(lsn - self.back_by if lsn >= self.back_at else lsn)

    def passes(self, event: str, amount: int) -> None:
        last = self.places[-1]
        if event == "use":
            last += amount
            self.commits.append(self.now)
        elif event == "set back":
            last = max(last - amount, 1)
        elif event == "note":  # a drain begins; the one before is gone, wherever it was
            self.noted, self.read = self.now, ()
        elif event == "read" and not self.read:
            self.read = self.reading(self.now, last)
        elif event == "step" and self.read:
            self._store(amount)
        self.places.append(last)

    @staticmethod
    def reading(now: int, last: int) -> tuple[SequenceValue, ...]:
        return value(last), value(now).model_copy(update={"sequence_name": "when it was read"})

    def _store(self, amount: int) -> None:
        begin = self.segments[-1].to_lsn if self.segments else 0
        end = min(begin + 2 * amount, self.noted)
        if end <= begin:
            return
        commits = [self.clock(lsn) for lsn in self.commits if begin < lsn <= end]
        self.segments.append(
            segment(
                len(self.segments) + 1,
                begin,
                end,
                seen_at=self.clock(self.noted),
                is_complete=end == self.noted,
                sequences=self.read,
                transactions=len(commits),
                first_commit=min(commits, default=None),
                last_commit=max(commits, default=None),
            )
        )


_EVENTS = st.tuples(st.sampled_from(["use", "use", "set back", "note", "read", "step", "step"]), st.integers(1, 9))


@settings(max_examples=300)
@given(events=st.lists(_EVENTS, min_size=5, max_size=60), chance=st.integers(0, 1000), is_time=st.booleans())
def test_a_sequence_is_behind_only_if_it_was_set_back_where_no_reading_shows_it(
    events: list[tuple[str, int]], chance: int, *, is_time: bool
) -> None:
    history = _History()
    for event, amount in events:
        history.passes(event, amount)
    if not history.segments:
        return
    moment = chance % history.segments[-1].to_lsn + 1  # what was committed there belongs to it
    point = Point(at(moment)) if is_time else Point(lsn=moment)
    stretch = replace(FIRST, segments=history.segments, end=None)
    found = made_from(point, stretch, "B", base(0)[1])
    readings = [one or history.reading(0, 1) for one in (*found.earlier, found.sequences)]
    values, times = [one for one, _ in readings], [when.last_value for _, when in readings]

    assert times == sorted(set(times))
    assert times[0] <= moment <= times[-1]
    between = history.places[times[0] : times[-1] + 1]
    result, place = continued(values, 1), history.places[moment]
    assert max(one.last_value for one in values) == result.last_value
    if between == sorted(between):
        assert result == values[-1]
    if result.last_value < place:
        assert not goes_back(values, 1)
        assert (after := history.places[moment : times[-1] + 1]) != sorted(after)


def read_by_kit(segments: Sequence[JournalSegment], time: datetime) -> list[int]:
    """Return when values were read that the recovery kit takes into account; 0: by the base."""
    kit = restore.Journal.__new__(restore.Journal)
    of_base = [one.model_dump() for one in _History.reading(0, 1)]
    kit.backup = SimpleNamespace(manifest={"content": {"sequences": of_base}})  # type: ignore[assignment]
    kit.base, kit.at, kit.tail = {"lsn": 0}, time, None
    kit.segments = [one.model_dump(mode="json") for one in segments]
    without, *read = kit.readings()
    assert without == []
    return [when["last_value"] for _, when in read]


@settings(max_examples=150)
@given(
    events=st.lists(_EVENTS, min_size=5, max_size=60),
    chance=st.integers(0, 1000),
    back_at=st.integers(1, 50),
    back_by=st.integers(1, 40),
)
def test_where_a_clock_was_set_back_values_are_of_a_state_that_had_the_rows_of_the_moment(
    events: list[tuple[str, int]], chance: int, back_at: int, back_by: int
) -> None:
    history = _History(back_at=back_at, back_by=back_by)
    for event, amount in events:
        history.passes(event, amount)
    if not history.segments:
        return
    time = history.clock(chance % history.segments[-1].to_lsn + 1)
    found = made_from(Point(time), replace(FIRST, segments=history.segments, end=None), "B", base(0)[1])
    times = [one[1].last_value if one else 0 for one in (*found.earlier, found.sequences)]
    assert read_by_kit(found.segments, time) == times

    stored = [lsn for lsn in history.commits if lsn <= found.segments[-1].to_lsn]
    beyond = next((lsn for lsn in stored if history.clock(lsn) > time), found.segments[-1].to_lsn + 1)
    last = max((lsn for lsn in stored if lsn < beyond), default=0)
    assert max(last, times[0]) <= min(beyond - 1, times[-1])
