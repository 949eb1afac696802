"""Every name of a bucket is in exactly one range, whatever is done, left, or done twice."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from coffre.policy.ranges import Mark, NameRange, choose_ranges, cover, divide, marks_of

NAMES = st.text(alphabet="ab/é", min_size=1, max_size=4)
ENDS = st.none() | NAMES


def holds(names: NameRange, name: str) -> bool:
    return name > names.after and (names.end is None or name <= names.end)


@given(
    found=st.dictionaries(NAMES, st.integers(0, 2**30), max_size=60),
    after=st.just("") | NAMES,
    end=ENDS,
    width=st.integers(1, 4),
    later=st.lists(NAMES, max_size=5),
)
def test_a_divided_range_has_each_of_its_names_once_in_order(
    found: dict[str, int], after: str, end: str | None, width: int, later: list[str]
) -> None:
    whole = NameRange(after, end)
    inside = sorted(name for name in found if holds(whole, name))
    marks = [*marks_of((name, found[name]) for name in inside), *(Mark(name, 50_000, 0) for name in sorted(later))]

    divided = [one.names for one in divide(whole, marks, width)]

    assert (divided[0].after, divided[-1].end) == (after, end)
    assert [one.end for one in divided[:-1]] == [one.after for one in divided[1:]]
    for name in inside:
        assert sum(holds(one, name) for one in divided) == 1
    assert sum(mark.objects for mark in marks[: len(marks) - len(later)]) == len(inside)


@given(done=st.lists(st.tuples(st.just("") | NAMES, ENDS), max_size=12), names=st.lists(NAMES, max_size=20))
def test_what_is_done_and_what_is_left_have_each_name_once(
    done: list[tuple[str, str | None]], names: list[str]
) -> None:
    ranges = {number: NameRange(*one) for number, one in enumerate(done)}

    chosen, rests = cover(ranges.items())

    together = [*(ranges[number] for number in chosen), *rests]
    for name in names:
        assert sum(holds(one, name) for one in together) == 1
    assert [ranges[number].after for number in chosen] == sorted(ranges[number].after for number in chosen)
    assert cover(enumerate(together))[1] == []


def test_a_worker_that_finishes_late_changes_nothing() -> None:
    late, tiles = NameRange("a", "k"), [NameRange("a", "c"), NameRange("c", "k")]
    done = [(1, NameRange("", "a")), (2, late), (3, tiles[0]), (4, tiles[1]), (5, NameRange("k"))]

    assert cover(done) == ([1, 3, 4, 5], [])
    assert cover(done[:3]) == ([1, 3], [NameRange("c", None)])


def test_large_and_many_objects_are_divided_evenly() -> None:
    many = divide(NameRange(), list(marks_of((f"{number:07}", 100) for number in range(200_000))), 8)
    large = divide(NameRange(), list(marks_of((f"{number:03}", 2**30) for number in range(100))), 8)

    assert len(many) == 200_000 // 7000 + 1
    assert max(one.objects for one in many) == 7000
    assert {one.size_bytes for one in large[:-1]} == {4 * 2**30}


@pytest.mark.parametrize(
    ("mode", "seconds", "spread", "why"),
    [
        ("always", None, True, "limits.spread is always."),
        ("never", 9000.0, False, "limits.spread is never."),
        ("auto", None, False, "no earlier backup"),
        ("auto", 500.0, False, "took 8 min 20 s of functions' time: it fits into one function."),
        ("auto", 601.0, True, "objects, 3.2 GB) took 10 min 1 s of functions' time; one function has 14 min"),
    ],
)
def test_what_is_spread_from_its_beginning(mode: str, seconds: float | None, spread: bool, why: str) -> None:
    choice = choose_ranges(mode, seconds, 12_000, 3 * 1024**3, 850.0)  # type: ignore[arg-type]

    assert choice.is_spread is spread
    assert why in choice.why
