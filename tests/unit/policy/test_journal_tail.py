"""What is said of a moment in a tail: what is known, and nothing more."""

from __future__ import annotations

from datetime import UTC, datetime

import pytest

from coffre.model.journal import IntervalEnd, JournalEnd
from coffre.policy.journal_tail import doubt_of_tail

AT = datetime(2026, 11, 27, 14, 25, tzinfo=UTC)


@pytest.mark.parametrize(
    ("touched", "words"),
    [
        (None, "Of which tables the rows are those of the moment is not known."),
        ((), "All rows are those of the moment."),
        (("a", 'b."C"'), 'Rows of a, b."C" are those of the moment only if the change came later; those'),
        (tuple(f"t{n}" for n in range(60)), "t49 and 10 more are those of the moment only if the change came later;"),
    ],
)
def test_a_doubt_says_of_which_tables_the_rows_are_right(touched: tuple[str, ...] | None, words: str) -> None:
    end = IntervalEnd(
        reason=JournalEnd.DEFINITIONS, stored_lsn=256, seen_at=AT, ended_at=AT, text="Changed: a.", touched=touched
    )
    said = doubt_of_tail(end)
    assert said.startswith(
        "WARNING: definitions were changed since 2026-11-27 14:25:00.000000+00, and the journal does"
    )
    assert "Changed: a. The definitions of before are restored. " in said
    assert words in said
    assert "since" not in doubt_of_tail(end.model_copy(update={"seen_at": None})).split(",")[0]
