"""Streams: as many as are wanted and fit, with room left for the applications."""

import pytest

from coffre.policy.connection_counts import default_streams, streams_that_fit


@pytest.mark.parametrize(
    ("wanted", "free", "opened"),
    [
        (4, 100, 4),
        (4, 8, 4),
        (4, 7, 3),
        (4, 6, 3),
        (4, 5, 2),
        (4, 4, 1),
        (4, 3, 1),
        (4, 0, 1),
        (16, 20, 10),
        (1, 100, 1),
    ],
)
def test_half_of_what_is_free_is_left_and_at_least_three(wanted: int, free: int, opened: int) -> None:
    assert streams_that_fit(wanted, free) == opened


@pytest.mark.parametrize(("cores", "streams"), [(1, 4), (2, 4), (6, 6)])
def test_few_cores_still_have_streams_to_wait_with(cores: int, streams: int) -> None:
    assert default_streams(cores) == streams
