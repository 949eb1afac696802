"""Random transactions, drained and applied to a base: every table is equal, at every moment."""

from __future__ import annotations

from collections.abc import Callable

import pytest
from tests.integration.journal_scene import Scene, play
from tests.integration.journal_tails import play_tail
from tests.integration.journal_vault import Journal, drains_with_faults


def test_a_random_workload_is_equal_at_random_commits(make_scene: Callable[..., Scene]) -> None:
    play(make_scene(14), seed=1)


@pytest.mark.parametrize(("major", "seed"), [(14, 3), (18, 4)])
def test_a_random_workload_is_equal_by_pgoutput(make_scene: Callable[..., Scene], major: int, seed: int) -> None:
    play(make_scene(major, "pgoutput"), seed, steps=100)


def test_a_random_workload_is_equal_from_a_vault_whose_drains_were_killed(
    make_journal: Callable[..., Journal],
) -> None:
    journal = make_journal(18)
    play(journal.scene, seed=2, drain=lambda chance: drains_with_faults(journal, chance))


def test_a_random_workload_is_equal_in_a_tail(make_journal: Callable[..., Journal]) -> None:
    assert play_tail(make_journal(17), seed=5) >= 3
