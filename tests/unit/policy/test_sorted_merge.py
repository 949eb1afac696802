"""Two sorted sequences side by side."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from coffre.policy.sorted_merge import side_by_side

Named = dict[str, int]
Pair = tuple[str, int]
SIDES = st.dictionaries(st.text(max_size=3), st.integers(), max_size=12)


def merged(left: list[Pair], right: list[Pair]) -> list[tuple[Pair | None, Pair | None]]:
    pairs = side_by_side(left, right, _name, _name)
    return list(pairs)


def _name(pair: Pair) -> str:
    return pair[0]


@given(SIDES, SIDES)
def test_every_name_comes_once_in_order_with_what_each_side_has(left: Named, right: Named) -> None:
    pairs = merged(sorted(left.items()), sorted(right.items()))

    expected = [
        ((name, left[name]) if name in left else None, (name, right[name]) if name in right else None)
        for name in sorted({*left, *right})
    ]
    assert pairs == expected


@pytest.mark.parametrize("names", [["b", "a"], ["a", "a"]])
def test_what_is_not_sorted_is_refused(names: list[str]) -> None:
    unsorted = [(name, 1) for name in names]

    for left, right in ((unsorted, []), ([], unsorted), (unsorted, [("z", 1)])):
        with pytest.raises(ValueError, match="'a' follows"):
            merged(left, right)
