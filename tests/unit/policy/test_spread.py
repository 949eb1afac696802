"""Whether a backup is spread, and into what."""

from __future__ import annotations

import heapq
from collections.abc import Sequence

import pytest
from hypothesis import given
from hypothesis import strategies as st

from coffre.policy.slicing import LARGEST_PART_BYTES, Part, TableExtent, plan_parts
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
    assert divided.group_bytes == 1000 * GB // (4 * 13)  # 13 rounds of a little less than five minutes
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
    assert all(
        sum(part.size_bytes for part in group) <= 1.5 * most + max(part.size_bytes for part in group)
        for group in groups
    )


@pytest.mark.parametrize("total_mb", [500, 1_000, 2_000, 5_000, 60_000, 1_000_000])
def test_workers_and_their_streams_end_together(total_mb: int) -> None:
    """Played with the slices of a real plan: of the time that is shared, at most a seventh is spent waiting."""
    blocks = total_mb * 1_000_000 // 8192
    tables = [
        TableExtent(number, "public", f"t{number}", ("a",), blocks // 2, int(blocks // 2 * 8192 * 1.02))
        for number in (1, 2)
    ]
    total = sum(table.size_bytes for table in tables)
    divided = shape(total, Earlier((Read(10**10, 500.0),)), streams=4, connections=16)
    parts = plan_parts(tables, by_block=True, streams=4, part_bytes=divided.part_bytes)

    groups = grouped(parts, divided.group_bytes)

    assert len(groups) % divided.width == 0
    took = _longest([_longest([part.size_bytes for part in group], divided.streams) for group in groups], divided.width)
    assert total / (divided.width * divided.streams) / took >= 6 / 7


def _longest(pieces: Sequence[float], workers: int) -> float:
    """How long it takes until all pieces are done, each by the first worker who is free."""
    free_at = [0.0] * workers
    for piece in pieces:
        heapq.heapreplace(free_at, free_at[0] + piece)
    return max(free_at)
