"""How much of the log a step of a drain reads."""

from __future__ import annotations

import pytest

from coffre.model.errors import JournalError, JournalTransientError
from coffre.operations.journal.step_size import Pace


def test_steps_grow_while_no_transaction_ends_and_no_longer() -> None:
    pace = Pace(128, 128)
    sizes = []
    for transactions in (0, 0, 0, 5, 5, 0):
        pace.has_read(transactions, 1)
        sizes.append(pace.step_bytes)

    assert sizes == [256, 512, 1024, 128, 128, 256]


def test_a_step_that_was_made_smaller_stays_so() -> None:
    pace = Pace(16, 128)

    pace.has_read(3, 1)

    assert pace.step_bytes == 16


def error(code: str, cause: BaseException | None = None) -> JournalError:
    found = JournalError("no", code=code)
    found.__cause__ = cause
    return found


@pytest.mark.parametrize("end", [0, 1, 40, 16_300, 16_383])
def test_without_a_stream_all_that_comes_before_what_is_too_large_is_read_in_few_looks(end: int) -> None:
    """Given a transaction of which no step reads anything that goes beyond `end`: each look takes all of it again."""
    pace, large = Pace(1 << 17, 1 << 17), error("JOURNAL_TOO_LARGE")
    assert [pace.is_changed_for(large), pace.by_stream, pace.is_changed_for(large), pace.by_stream] == [
        True, False, True, True,
    ]  # fmt: skip
    assert pace.is_changed_for(error("JOURNAL_NO_STREAM"))
    at, looks = 0, 0
    while True:
        looks += 1
        if at + pace.step_bytes <= end:
            at += pace.step_bytes
            pace.has_read(1, pace.step_bytes)
        elif not pace.is_changed_for(large):
            break
    assert end - 32 < at <= end  # the record of a commit has more
    assert looks <= 12
    assert pace.cause is large
    pace.require_stream()


def test_what_had_no_room_and_is_read_makes_the_next_step_no_smaller() -> None:
    pace, large = Pace(1 << 17, 1 << 17), error("JOURNAL_TOO_LARGE")
    while not pace.by_stream:
        pace.is_changed_for(large)
    pace.has_read(1, 1 << 17)
    assert pace.is_changed_for(error("JOURNAL_NO_STREAM"))
    assert (pace.step_bytes, pace.cause) == (1 << 17, None)


def test_what_cannot_be_read_is_reached_by_single_transactions() -> None:
    pace, steps = Pace(1 << 17, 1 << 17), []
    while pace.is_changed_for(error("JOURNAL_UNREADABLE")):
        steps.append(pace.step_bytes)
    assert steps == [1 << 14, 1 << 11, 1 << 8, 1 << 5, 4, 1]


def test_a_stream_that_does_not_exist_for_now_is_the_reason_in_the_end() -> None:
    pace = Pace(1, 128)
    pace.is_changed_for(error("JOURNAL_TOO_LARGE"))
    assert not pace.is_changed_for(error("JOURNAL_NO_STREAM", JournalTransientError("not now")))
    with pytest.raises(JournalTransientError, match="not now"):
        pace.require_stream()


def test_what_no_step_changes_ends_the_interval() -> None:
    assert not Pace(128, 128).is_changed_for(error("JOURNAL_SLOT_LOST"))
