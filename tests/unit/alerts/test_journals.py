"""What the alert of an interval's end says of the moments before changed definitions."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

from coffre.alerts.journals import journal_ended
from coffre.model.journal import IntervalEnd, JournalEnd, JournalGap, JournalSegment

AT = datetime(2026, 11, 27, 14, 25, tzinfo=UTC)
TAIL = JournalSegment(
    interval="I1",
    number=2,
    previous="0" * 64,
    from_lsn=1,
    to_lsn=2,
    seen_at=AT + timedelta(minutes=5),
    is_complete=True,
    transactions=1,
    lines=2,
    size=0,
    frames=(),
    packs=(),
)


def test_moments_of_a_tail_are_named_where_a_backup_can_make_them() -> None:
    end = IntervalEnd(reason=JournalEnd.DEFINITIONS, stored_lsn=1, seen_at=AT, ended_at=AT, tail=TAIL)
    words = "What was committed since 2026-11-27 14:25 UTC is stored up to this drain."

    def body(end: IntervalEnd, gap: JournalGap) -> str:
        return " ".join(journal_ended("shop", "I1", end, gap).text.split())

    said = body(end, JournalGap(since=AT, ended=1))
    assert words in said
    assert "it is not known which transaction made the change: see `coffre journal find-drop`." in said
    for gap in (JournalGap(since=None, ended=1), JournalGap(since=AT - timedelta(hours=1), ended=2)):
        assert "is stored up to this drain" not in body(end, gap)
    assert "is stored up to this drain" not in body(
        end.model_copy(update={"tail": None}), JournalGap(since=AT, ended=1)
    )
