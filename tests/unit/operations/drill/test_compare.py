"""Hashes of what a table gives, cut where the backup's slices end."""

import hashlib
from itertools import pairwise

from hypothesis import given
from hypothesis import strategies as st

from coffre.operations.drill.compare import digests_of


def sha256(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()


@given(st.binary(max_size=60), st.lists(st.integers(0, 60)), st.lists(st.integers(0, 60)))
def test_pieces_are_cut_where_slices_end_however_the_bytes_come(
    data: bytes, blocks: list[int], slices: list[int]
) -> None:
    def cut(borders: list[int]) -> list[bytes]:
        places = [0, *sorted(min(border, len(data)) for border in borders), len(data)]
        return [data[first:last] for first, last in pairwise(places)]

    pieces = cut(slices)

    found = digests_of((memoryview(block) for block in cut(blocks)), [len(piece) for piece in pieces])

    assert found == tuple(map(sha256, pieces))


def test_a_stream_that_ends_early_leaves_short_pieces() -> None:
    assert digests_of([memoryview(b"abc")], [2, 2, 2]) == (sha256(b"ab"), sha256(b"c"), sha256(b""))


def test_what_comes_behind_the_last_piece_is_hashed_too() -> None:
    assert digests_of([memoryview(b"ab"), memoryview(b"cd")], [1]) == (sha256(b"a"), sha256(b"bcd"))
    assert digests_of([memoryview(b"ab")], [2]) == (sha256(b"ab"),)
    assert digests_of([], []) == ()
