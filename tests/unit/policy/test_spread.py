"""Whether a backup is spread, and into what."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from coffre.policy.slicing import LARGEST_PART_BYTES, Part
from coffre.policy.spread import Earlier, Mode, Read, choose, grouped, shape

GB = 1024**3
WINDOW = 870.0


@pytest.mark.parametrize(
    ("total", "earlier", "is_spread"),
    [
        (GB, Earlier(ran_out_of_time=True), False),
        (5 * GB, Earlier(), False),
        (10 * GB, Earlier(), True),
        (10 * GB, Earlier((Read(10 * GB, 300.0),)), False),
        (40 * GB, Earlier((Read(40 * GB, 600.0, workers=4),)), True),
        (40 * GB, Earlier((Read(40 * GB, 600.0),)), False),
        (5 * GB, Earlier((Read(5 * GB, 800.0), Read(5 * GB, 100.0))), True),
        (5 * GB, Earlier((Read(1000, 100.0),)), False),
        (5 * GB, Earlier((Read(5 * GB, 100.0),), ran_out_of_time=True), True),
    ],
)
def test_auto_decides_by_size_rate_and_the_time_of_a_function(total: int, earlier: Earlier, is_spread: bool) -> None:
    choice = choose("auto", total, earlier, WINDOW)

    assert choice.is_spread is is_spread
    assert choice.why


@pytest.mark.parametrize(("mode", "is_spread"), [("never", False), ("always", True)])
def test_a_person_decides_otherwise(mode: Mode, is_spread: bool) -> None:
    for total in (0, 100 * GB):
        choice = choose(mode, total, Earlier(ran_out_of_time=True), WINDOW)

        assert (choice.is_spread, choice.why) == (is_spread, f"limits.spread is {mode}.")


def test_the_reason_names_size_rate_and_time() -> None:
    why = choose("auto", 40 * GB, Earlier((Read(40 * GB, 600.0, workers=4),)), WINDOW).why

    assert why == "42.9 GB at 17.9 MB a second take about 40 min; one function has 14 min 30 s."


def test_16_connections_are_4_functions_of_4() -> None:
    divided = shape(1000 * GB, Earlier((Read(1000 * GB, 3600.0, workers=4),)), streams=4, connections=16)

    assert (divided.width, divided.streams) == (4, 4)
    assert divided.group_bytes == pytest.approx(300 * 1000 * GB / 3600 / 4, rel=0.01)  # five minutes
    assert divided.part_bytes == LARGEST_PART_BYTES


def test_one_function_alone_has_all_in_one_group() -> None:
    divided = shape(4 * GB, Earlier((Read(40 * GB, 600.0),)), streams=4, connections=4)

    assert (divided.width, divided.group_bytes) == (1, 4 * GB)


@given(
    total=st.integers(0, 10**13),
    rate=st.floats(1e5, 1e9),
    streams=st.integers(1, 16),
    connections=st.integers(1, 16),
)
def test_no_group_takes_longer_than_five_minutes_or_leaves_streams_idle(
    total: int, rate: float, streams: int, connections: int
) -> None:
    earlier = Earlier((Read(int(rate * 10_000), 10_000.0),))

    divided = shape(total, earlier, streams=streams, connections=connections)

    assert divided.width * divided.streams <= connections
    assert divided.group_bytes <= max(1, earlier.bytes_per_second * 300)
    assert divided.part_bytes <= LARGEST_PART_BYTES


@given(sizes=st.lists(st.integers(0, 1000), max_size=200), most=st.integers(1, 2000))
def test_groups_hold_every_part_once_in_order(sizes: list[int], most: int) -> None:
    parts = [Part(number, (), size) for number, size in enumerate(sizes)]

    groups = grouped(parts, most)

    assert [part for group in groups for part in group] == parts
    assert all(sum(part.size_bytes for part in group) <= most for group in groups if len(group) > 1)
