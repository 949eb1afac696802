"""Tables are cut so that no block is lost, none is read twice, and the next backup finds the same borders."""

from itertools import pairwise

from hypothesis import given
from hypothesis import strategies as st

from coffre.policy import slicing
from coffre.policy.slicing import SLICE_BLOCKS, Slice, TableExtent, cut, gather, plan_parts, slice_blocks

MOST_SLICES = 4096
blocks = st.one_of(
    st.integers(0, 20 * SLICE_BLOCKS),
    st.integers(1, 20).flatmap(lambda n: st.sampled_from([n * SLICE_BLOCKS + d for d in (-1, 0, 1)])),
)
huge = st.integers(0, 20 * SLICE_BLOCKS * MOST_SLICES)
name = st.text(st.characters(exclude_characters="\0", exclude_categories=["Cs"]), min_size=1, max_size=5)


def table(blocks: int, *, size_bytes: int | None = None, condition: str | None = None, name: str = "t") -> TableExtent:
    size = blocks * 8192 if size_bytes is None else size_bytes
    return TableExtent(1, "public", name, ("a",), blocks, size, condition)


@given(blocks)
def test_slices_cover_every_block_once_and_the_last_is_open(count: int) -> None:
    pieces = list(cut(table(count), by_block=True))

    if count <= SLICE_BLOCKS:
        assert [(piece.first_block, piece.end_block) for piece in pieces] == [(None, None)]
        return
    assert pieces[0].first_block == 0
    assert all(one.end_block == other.first_block for one, other in pairwise(pieces))
    assert all(piece.end_block is not None and piece.end_block <= count for piece in pieces[:-1])
    assert pieces[-1].end_block is None
    assert (pieces[-1].first_block or 0) < count


@given(blocks, st.integers(0, 10**9))
def test_names_sort_in_the_order_of_the_blocks_and_sizes_add_up(count: int, size: int) -> None:
    pieces = list(cut(table(count, size_bytes=size), by_block=True))

    assert [piece.number for piece in pieces] == list(range(len(pieces)))
    assert sorted(piece.name for piece in pieces) == [piece.name for piece in pieces]
    assert size - len(pieces) <= sum(piece.size_bytes for piece in pieces) <= size


@given(huge, st.integers(0, 10 * SLICE_BLOCKS))
def test_a_table_that_grew_keeps_all_borders_but_the_last(count: int, growth: int) -> None:
    before, after = (borders(number) for number in (count, count + growth))

    if slice_blocks(count) == slice_blocks(count + growth):
        assert after[: len(before) - 1] == before[:-1]
    else:  # a huge table that grew beyond a power of two: every other border stays
        assert set(after[: (len(before) - 1) // 2]) <= set(before)


def borders(count: int) -> list[int]:
    """The first blocks of all slices."""
    step = slice_blocks(count)
    return list(range(0, max(count, 1), step))


@given(blocks)
def test_the_borders_are_multiples_of_the_step(count: int) -> None:
    pieces = list(cut(table(count), by_block=True))

    assert [piece.first_block or 0 for piece in pieces] == (borders(count) if count > SLICE_BLOCKS else [0])


@given(huge)
def test_a_plan_stays_small_however_huge_the_table_is(count: int) -> None:
    step = slice_blocks(count)

    assert count <= step * MOST_SLICES
    assert step == SLICE_BLOCKS or count > step // 2 * MOST_SLICES
    assert step & (step - 1) == 0


@given(blocks)
def test_old_servers_and_conditions_give_one_slice(count: int) -> None:
    old = list(cut(table(count), by_block=False))
    chosen = list(cut(table(count, condition="WHERE NOT a"), by_block=True))

    for (piece,) in (old, chosen):
        assert (piece.number, piece.first_block, piece.end_block) == (0, None, None)
        assert piece.size_bytes == count * 8192


@given(st.lists(st.integers(0, 400 * 1024 * 1024), max_size=40), st.integers(1, 16), st.integers(0, 5))
def test_parts_hold_every_slice_once_in_order_and_stay_within_bounds(
    sizes: list[int], streams: int, first: int
) -> None:
    pieces = [Slice(table(1, name=f"t{number:03d}"), 0, None, None, size) for number, size in enumerate(sizes)]

    parts = list(gather(pieces, total_bytes=sum(sizes), streams=streams, first_number=first))

    assert [piece for part in parts for piece in part.slices] == pieces
    assert [part.number for part in parts] == list(range(first, first + len(parts)))
    assert all(part.slices for part in parts)
    assert all(part.size_bytes == sum(piece.size_bytes for piece in part.slices) for part in parts)
    largest = slicing.LARGEST_PART_BYTES
    assert all(part.size_bytes <= largest for part in parts if len(part.slices) > 1)


def test_a_part_never_holds_more_slices_than_a_plan_can_name() -> None:
    pieces = [Slice(table(0, name=f"t{number:05d}"), 0, None, None, 0) for number in range(2500)]

    parts = list(gather(pieces, total_bytes=0, streams=2))

    assert [len(part.slices) for part in parts] == [1000, 1000, 500]


def test_a_large_database_keeps_every_stream_busy() -> None:
    tables = [table(SLICE_BLOCKS * 64, name=f"t{number}") for number in range(8)]

    parts = plan_parts(tables, by_block=True, streams=4)

    assert len(parts) >= 4 * 4
    assert max(part.size_bytes for part in parts) <= 2 * sum(item.size_bytes for item in tables) / len(parts)


@given(st.lists(st.tuples(name, blocks), max_size=6, unique_by=lambda item: item[0]), st.integers(1, 4))
def test_a_plan_is_sorted_by_entry_names_over_all_tables(extents: list[tuple[str, int]], streams: int) -> None:
    tables = [table(count, name=name) for name, count in extents]

    parts = plan_parts(tables, by_block=True, streams=streams)

    names = [piece.name for part in parts for piece in part.slices]
    assert names == sorted(names)
    assert len(set(names)) == len(names)
    assert {piece.table for part in parts for piece in part.slices} == set(tables)
