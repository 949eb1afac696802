"""Which slices are locked and checked together: many small ones, and no more than a second or two of reading."""

from __future__ import annotations

from itertools import pairwise

from hypothesis import given
from hypothesis import strategies as st

from coffre.policy.slicing import Slice, TableExtent
from coffre.postgres.source.part_locks import locked_together

MB = 1024 * 1024


def slices(sizes: list[int]) -> list[Slice]:
    return [
        Slice(TableExtent(number, "public", f"t{number}", (), 1, size), 0, None, None, size)
        for number, size in enumerate(sizes)
    ]


@given(st.lists(st.integers(0, 80 * MB)))
def test_all_slices_are_read_in_their_order_and_few_bytes_together(sizes: list[int]) -> None:
    groups = list(locked_together(slices(sizes)))

    assert [piece for group in groups for piece in group] == slices(sizes)
    assert all(len(group) == 1 or sum(piece.size_bytes for piece in group) <= 32 * MB for group in groups)
    # And no two neighbours would have fitted together
    assert all(
        sum(piece.size_bytes for piece in one) + other[0].size_bytes > 32 * MB for one, other in pairwise(groups)
    )


def test_a_thousand_tiny_tables_are_locked_once() -> None:
    assert [len(group) for group in locked_together(slices([8192] * 1000))] == [1000]
