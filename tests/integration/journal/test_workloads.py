"""Random transactions, drained and applied to a base: every table is equal, at every moment."""

from __future__ import annotations

from collections.abc import Callable

import pytest
from tests.integration.journal_scene import Scene, play


@pytest.mark.parametrize(("major", "seed"), [(14, 1), (18, 2)])
def test_a_random_workload_is_equal_at_random_commits(
    make_scene: Callable[[int], Scene], major: int, seed: int
) -> None:
    play(make_scene(major), seed)
