"""Which base and which segments make a moment, and what is said of one that cannot be restored."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from coffre.model.errors import RestoreError
from coffre.model.journal import DefinitionMark, IntervalEnd, JournalEnd, JournalInterval, JournalSegment, JournalState
from coffre.model.manifest import JournalBase, SequenceValue
from coffre.policy.moments import Chosen, Point, Stretch, choose

NOON = datetime(2026, 11, 27, 12, tzinfo=UTC)
SHA = "0" * 64


def at(minutes: float) -> datetime:
    return NOON + timedelta(minutes=minutes)


def interval(number: int, from_lsn: int) -> JournalInterval:
    return JournalInterval(
        id=f"I{number}",
        target="shop",
        database="shop",
        slot="s",
        plugin="test_decoding",
        system=None,
        timeline=1,
        from_lsn=from_lsn,
        started_at=at(from_lsn / 100),
        fingerprint=SHA,
        definitions=(),
    )


def base(lsn: int, **changes: Any) -> tuple[str, JournalBase]:
    """A backup whose snapshot was taken within ten bytes of WAL."""
    facts = {"snapshot": "1:1:", "before_lsn": lsn - 10, "lsn": lsn, "at": at(lsn / 100), "fingerprint": SHA}
    return f"B{lsn}", JournalBase.model_validate(facts | changes)


def segment(number: int, from_lsn: int, to_lsn: int, **changes: Any) -> JournalSegment:
    """A segment of a clock that shows a minute for each hundred bytes of WAL."""
    facts = {
        "interval": "I1",
        "number": number,
        "previous": SHA,
        "from_lsn": from_lsn,
        "to_lsn": to_lsn,
        "seen_at": at(to_lsn / 100),
        "is_complete": True,
        "transactions": 1,
        "lines": 3,
        "first_commit": at(from_lsn / 100 + 0.1),
        "last_commit": at(to_lsn / 100 - 0.1),
        "size": 10,
        "frames": (),
        "packs": (),
        "sequences": (SequenceValue(schema_name="public", sequence_name="s", last_value=to_lsn, is_called=True),),
    }
    return JournalSegment.model_validate(facts | changes)


def ended(reason: JournalEnd, lsn: int, text: str) -> IntervalEnd:
    return IntervalEnd(reason=reason, stored_lsn=lsn, seen_at=at(lsn / 100), ended_at=at(lsn / 100), text=text)


# The first journal has two bases, and ends at 400; the next one begins at 600, and its first base is of 700.
SEGMENTS = (segment(1, 0, 100), segment(2, 100, 200), segment(3, 200, 300))
FIRST = Stretch(
    interval(1, 0), ended(JournalEnd.DEFINITIONS, 400, "the table a was changed"), SEGMENTS, (base(50), base(150))
)
SECOND = Stretch(interval(2, 600), None, (segment(1, 600, 800),), (base(700),))


def chosen(point: Point, *stretches: Stretch[str]) -> Chosen[str]:
    return choose("shop", point, stretches or (FIRST, SECOND), at(1000))


def numbers(found: Chosen[str]) -> list[int]:
    return [one.number for one in found.segments]


@pytest.mark.parametrize(
    ("point", "backup", "segments", "value"),
    [
        (Point(lsn=50), "B50", [1], 100),  # the base itself: what its snapshot did not show yet is replayed
        (Point(at(0.5)), "B50", [1], 100),
        (Point(lsn=100), "B50", [1], 100),  # where a transaction ends, it belongs to the moment
        (Point(lsn=101), "B50", [1, 2], 200),
        (Point(lsn=149), "B50", [1, 2], 200),
        # One segment more than the base's position asks for: what is invisible to it can be before it
        (Point(lsn=150), "B150", [1, 2], 200),
        (Point(at(0.9)), "B50", [1, 2], 200),  # the time of a commit: others may have the same
        (Point(at(0.8)), "B50", [1], 100),
        (Point(at(2.5)), "B150", [1, 2, 3], 300),
        (Point(at(4)), "B150", [1, 2, 3], 300),  # nothing was committed after the last segment
        (Point(lsn=400), "B150", [1, 2, 3], 300),
        (Point(at(7)), "B700", [1], 800),
        (Point(at(8)), "B700", [1], 800),
    ],
)
def test_a_moment_is_made_from_the_last_base_before_it(
    point: Point, backup: str, segments: list[int], value: int
) -> None:
    found = chosen(point)
    assert (found.backup, numbers(found)) == (backup, segments)
    assert [one.last_value for one in found.sequences] == [value]


@pytest.mark.parametrize(
    ("point", "why", "nearest"),
    [
        (Point(at(0.4)), "it is before the first base", "12:00:30.000000+00."),
        (Point(lsn=49), "it is before the first base", "0/32."),
        (
            Point(at(5)),
            "in a gap of the journal (the table a was changed)",
            "12:04:00.000000+00 and 2026-11-27 12:07:",
        ),
        (Point(at(6.5)), "in a gap of the journal", "12:04:00.000000+00 and 2026-11-27 12:07:00.000000+00."),
        (Point(lsn=401), "in a gap of the journal", "0/190 and 0/2BC."),
        (Point(at(8.01)), "the journal is not stored so far yet", "12:08:00.000000+00."),
        (Point(at(1000)), "the journal is not stored so far yet", "coffre journal drain shop"),
        (
            Point(at(1001)),
            "the moment is in the future, it is 2026-11-28 04:40:00.000000+00 now",
            "The newest moment that is stored: 2026-11-27 12:08:00.000000+00.",
        ),
        (Point(lsn=801), "the journal is not stored so far yet", "0/320."),
    ],
)
def test_a_moment_that_cannot_be_restored_is_refused_with_the_nearest_that_can(
    point: Point, why: str, nearest: str
) -> None:
    with pytest.raises(RestoreError) as caught:
        chosen(point)
    assert caught.value.code == "JOURNAL_MOMENT"
    assert why in caught.value.message
    assert caught.value.hint is not None
    assert nearest in caught.value.hint


def test_a_journal_that_has_ended_has_no_base_or_does_not_exist_says_so() -> None:
    def why(*stretches: Stretch[str]) -> str:
        with pytest.raises(RestoreError) as caught:
            choose("shop", Point(at(9)), stretches, at(9))
        return caught.value.message

    assert "has ended before it (the table a was changed)" in why(FIRST)
    assert "its journal has no base yet" in why(Stretch(SECOND.interval, None, SECOND.segments, ()))
    assert "it has no journal" in why()
    # A base is worth nothing when changes after it are deleted, or are not stored yet.
    assert "its journal has no base yet" in why(Stretch(interval(1, 0), None, SEGMENTS[1:], (base(50),)))
    assert "its journal has no base yet" in why(Stretch(interval(1, 0), None, SEGMENTS, (base(350),)))


def test_a_position_of_two_histories_is_none_until_a_time_says_which() -> None:
    """The server was restored from a snapshot of the provider: its positions began again before the journal's end."""
    restored = SECOND.interval.model_copy(update={"system": "other", "from_lsn": 100, "started_at": at(6)})
    again = Stretch(restored, None, (segment(1, 100, 800, seen_at=at(8)),), (base(120, at=at(6.5)),))
    with pytest.raises(RestoreError, match=r"0/C8 of shop exists 2 times"):
        chosen(Point(lsn=200), FIRST, again)
    assert chosen(Point(lsn=110), FIRST, again).backup == "B50"
    assert chosen(Point(at(7)), FIRST, again).backup == "B120"


def test_what_a_drain_stored_beyond_the_end_of_its_interval_is_no_moment_of_it() -> None:
    early = Stretch(
        FIRST.interval, ended(JournalEnd.DEFINITIONS, 200, "the table a was changed"), SEGMENTS, FIRST.bases
    )
    assert numbers(chosen(Point(lsn=200), early)) == [1, 2]
    with pytest.raises(RestoreError, match="has ended before it"):
        chosen(Point(lsn=201), early)
    state = JournalState(target="shop", interval="I1", stored_lsn=300, seen_at=at(3))
    with pytest.raises(RestoreError, match="has ended before it"):
        chosen(Point(at(2.5)), replace(early, segments=SEGMENTS[:2], state=state))


def test_what_was_stored_without_changes_is_known_by_the_catalog_alone() -> None:
    state = JournalState(target="shop", interval="I2", stored_lsn=900, seen_at=at(9))
    known = Stretch(SECOND.interval, None, SECOND.segments, SECOND.bases, state)
    assert numbers(chosen(Point(at(9)), FIRST, known)) == [1]
    assert numbers(chosen(Point(lsn=900), FIRST, known)) == [1]
    other = Stretch(FIRST.interval, None, FIRST.segments, FIRST.bases, state)
    with pytest.raises(RestoreError, match="not stored so far"):
        chosen(Point(lsn=301), other)


def test_a_segment_that_was_cut_has_the_time_of_its_last_commit_in_part() -> None:
    cut = segment(4, 300, 350, is_complete=False)
    open_ended = Stretch(FIRST.interval, None, (*SEGMENTS, cut), FIRST.bases)
    assert numbers(chosen(Point(at(3.4) - timedelta(microseconds=1)), open_ended)) == [1, 2, 3, 4]
    with pytest.raises(RestoreError, match="not stored so far"):
        chosen(Point(at(3.4)), open_ended)


def test_of_a_time_that_a_clock_showed_twice_the_first_is_meant() -> None:
    """Up to 200 the clock went to 12:02, then it was set back to 12:00; the base of 250 was taken at 12:00:30."""
    back = segment(3, 200, 300, seen_at=at(1), first_commit=at(0.1), last_commit=at(0.9))
    later = base(250, at=at(0.5))
    story = Stretch(interval(1, 0), None, (*SEGMENTS[:2], back), (base(50), later))
    found = chosen(Point(at(0.8)), story)
    assert (found.backup, numbers(found)) == ("B50", [1])
    # The position says which one is meant.
    assert chosen(Point(lsn=280), story).backup == "B250"


def test_tables_that_a_truncate_may_have_emptied_are_those_with_marks_up_to_the_moment() -> None:
    """A TRUNCATE after a drain has noted its position, and before its look, is in the segment after its marks."""
    marks = [(DefinitionMark(schema_name="public", name=name, shape="x", file=2),) for name in ("a", "b", "c")]
    segments = [segment(number + 1, number * 100, number * 100 + 100, marks=marks[number]) for number in range(3)]
    stretch = replace(FIRST, end=None, segments=segments, bases=(base(190),))
    assert chosen(Point(lsn=195), stretch).emptied == {("public", "a"), ("public", "b")}
    assert chosen(Point(lsn=250), stretch).emptied == {("public", "a"), ("public", "b"), ("public", "c")}


def with_tail(stretch: Stretch[str], upto: int, **changes: Any) -> Stretch[str]:
    """The same with what was committed between its end and a drain that found other definitions."""
    assert stretch.end is not None
    tail = segment(len(SEGMENTS) + 1, 300, upto, **changes)
    return replace(stretch, end=stretch.end.model_copy(update={"tail": tail}))


def test_a_moment_in_a_tail_is_made_with_it_and_one_before_without() -> None:
    ended_so = with_tail(FIRST, 500)
    for point in (Point(lsn=401), Point(lsn=500), Point(at(4.1)), Point(at(5))):
        found = chosen(point, ended_so, SECOND)
        assert (found.backup, numbers(found), found.end) == ("B150", [1, 2, 3, 4], ended_so.end)
        assert [one.last_value for one in found.sequences] == [500]
        assert [one.last_value for one in found.earlier[-1] or ()] == [300]
    for point in (Point(lsn=400), Point(at(4))):
        found = chosen(point, ended_so, SECOND)
        assert (numbers(found), found.end) == ([1, 2, 3], None)
    # What is proven counts first: another interval that has the moment too
    early = Stretch(interval(2, 0), None, (segment(1, 0, 800),), (base(420),))
    assert chosen(Point(lsn=450), ended_so, early).backup == "B420"
    for point, nearest in ((Point(lsn=501), "0/1F4 and 0/2BC."), (Point(at(5.1)), "12:05:00.000000+00 and ")):
        with pytest.raises(RestoreError, match="in a gap of the journal") as caught:
            chosen(point, ended_so, SECOND)
        assert nearest in (caught.value.hint or "")


def test_a_tail_that_was_cut_has_the_time_of_its_last_commit_in_part() -> None:
    cut = with_tail(FIRST, 500, is_complete=False)
    assert chosen(Point(at(4.9) - timedelta(microseconds=1)), cut).end == cut.end
    with pytest.raises(RestoreError, match="has ended before it"):
        chosen(Point(at(4.9)), cut)
    without = with_tail(FIRST, 500, is_complete=False, last_commit=None)
    with pytest.raises(RestoreError, match="has ended before it"):
        chosen(Point(at(4.1)), without)


def test_a_base_that_was_taken_within_a_tail_makes_its_moments_alone() -> None:
    within = replace(with_tail(FIRST, 500), bases=(*FIRST.bases, base(450)))
    assert chosen(Point(lsn=470), within).backup == "B450"
    assert chosen(Point(lsn=430), within).backup == "B150"
    assert chosen(Point(at(4)), within).backup == "B150"
    # also where a clock says that it was taken before the end
    back = replace(with_tail(FIRST, 500), bases=(*FIRST.bases, base(450, at=at(3.5))))
    assert chosen(Point(at(3.8)), back).backup == "B150"


def test_a_tail_without_sequences_says_that_all_were_dropped() -> None:
    found = chosen(Point(lsn=450), with_tail(FIRST, 500, sequences=()))
    assert (found.sequences, [one.last_value for one in found.earlier[-1] or ()]) == ((), [300])
