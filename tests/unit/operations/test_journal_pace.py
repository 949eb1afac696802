"""How much of the log a step of a drain reads."""

from __future__ import annotations

import pytest

from coffre.model.errors import JournalError, JournalTransientError
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


def error(code: str, cause: BaseException | None = None) -> JournalError:
    found = JournalError("no", code=code)
    found.__cause__ = cause
    return found


def test_without_a_stream_what_is_too_large_ends_at_one_transaction() -> None:
    """Given a SELECT that has no room for the smallest step that a stream is taken for."""
    pace = Pace(1 << 17, 1 << 17)
    large = error("JOURNAL_TOO_LARGE")
    assert [pace.is_changed_for(large), pace.by_stream, pace.is_changed_for(large), pace.by_stream] == [
        True, False, True, True,
    ]  # fmt: skip

    assert pace.is_changed_for(error("JOURNAL_NO_STREAM"))
    assert (pace.by_stream, pace.step_bytes) == (False, 1 << 16)
    steps = []
    while pace.is_changed_for(large):
        steps.append(pace.step_bytes)
    assert steps == [1 << 13, 1 << 10, 1 << 7, 1 << 4, 2, 1]
    pace.require_stream()


def test_a_stream_that_there_is_none_of_for_now_is_the_reason_in_the_end() -> None:
    pace = Pace(1, 128)
    pace.is_changed_for(error("JOURNAL_TOO_LARGE"))
    assert pace.is_changed_for(error("JOURNAL_NO_STREAM", JournalTransientError("not now")))
    while pace.is_changed_for(error("JOURNAL_TOO_LARGE")):
        pass
    with pytest.raises(JournalTransientError, match="not now"):
        pace.require_stream()


def test_what_no_step_changes_ends_the_interval() -> None:
    assert not Pace(128, 128).is_changed_for(error("JOURNAL_SLOT_LOST"))
