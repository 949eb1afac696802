"""How much of the log a step of a drain reads."""

from __future__ import annotations

from coffre.operations.journal.pace import Pace


def test_steps_grow_while_no_transaction_ends_and_no_longer() -> None:
    pace = Pace(128, 128)
    sizes = []
    for transactions in (0, 0, 0, 5, 5, 0):
        pace.has_read(transactions)
        sizes.append(pace.step_bytes)

    assert sizes == [256, 512, 1024, 128, 128, 256]


def test_a_step_that_was_made_smaller_stays_so() -> None:
    pace = Pace(16, 128)

    pace.has_read(3)

    assert pace.step_bytes == 16
