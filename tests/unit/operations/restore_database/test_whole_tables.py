"""Which tables a restore loads whole: no stream may work much longer than all of them need together."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from coffre.operations.restore_database.load_transactions import whole_tables


def test_a_table_that_would_keep_one_stream_busy_for_longer_is_loaded_in_slices() -> None:
    sizes = {("public", "events"): 666, ("public", "orders"): 349}

    assert whole_tables(sizes, streams=2, smallest=0) == [("public", "orders")]
    assert whole_tables(sizes, streams=1, smallest=0) == [("public", "events"), ("public", "orders")]


def test_two_tables_of_nearly_the_same_size_are_loaded_by_one_stream_each() -> None:
    assert len(whole_tables({("public", "a"): 52, ("public", "b"): 48}, streams=2, smallest=0)) == 2


@given(st.lists(st.integers(0, 10**12), max_size=50), st.integers(1, 8), st.integers(0, 10**7))
def test_no_stream_works_a_tenth_longer_than_all_need_together(sizes: list[int], streams: int, smallest: int) -> None:
    tables = {("public", f"t{number:03}"): size for number, size in enumerate(sizes)}
    work = [0] * streams

    for name in whole_tables(tables, streams, smallest):
        work[work.index(min(work))] += tables[name]

    without_small = [size for size in sizes if size > smallest]
    assert max(work) <= max(11 * sum(sizes) // (10 * streams), smallest) + len(sizes) * smallest
    assert len(whole_tables(tables, streams, smallest)) >= len(sizes) - len(without_small)
