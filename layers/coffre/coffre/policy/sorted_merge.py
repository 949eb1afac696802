"""Going through two sorted sequences side by side, in constant memory."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator


def side_by_side[A, B](
    left: Iterable[A], right: Iterable[B], left_name: Callable[[A], str], right_name: Callable[[B], str]
) -> Iterator[tuple[A | None, B | None]]:
    """Yield what has the same name in both together, and what only one has with None, in the order of the names.

    Both have to be sorted by name, each name at most once.

    Raises
    ------
    ValueError
        One of them is not: the pairs so far were right, what would follow cannot be known.
    """
    lefts, rights = _in_order(left, left_name), _in_order(right, right_name)
    one, other = next(lefts, None), next(rights, None)
    while one is not None or other is not None:
        if other is None or (one is not None and one[0] < other[0]):
            assert one is not None  # noqa: S101 - for mypy
            yield one[1], None
            one = next(lefts, None)
        elif one is None or other[0] < one[0]:
            yield None, other[1]
            other = next(rights, None)
        else:
            yield one[1], other[1]
            one, other = next(lefts, None), next(rights, None)


def _in_order[T](items: Iterable[T], name_of: Callable[[T], str]) -> Iterator[tuple[str, T]]:
    last: str | None = None
    for item in items:
        name = name_of(item)
        if last is not None and name <= last:
            raise ValueError(f"{name!r} follows {last!r}")
        last = name
        yield name, item
