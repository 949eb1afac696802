"""What of a segment is applied: each transaction once, none that the base has, none after the moment."""

from datetime import UTC, datetime, timedelta

import pytest

from coffre.model.errors import JournalError
from coffre.postgres.journal.changes import Line, lsn_text, parse_lsn
from coffre.postgres.journal.transactions import BaseSnapshot, Moment, Transaction, choose, outline

START = datetime(2026, 11, 27, 14, 29, tzinfo=UTC)
NOTHING_SEEN = BaseSnapshot.parse("1:1:")


def transaction(xid: int, lsn: int, seconds: float = 0.0) -> Transaction:
    return Transaction(xid, lsn - 1, lsn, START + timedelta(seconds=seconds))


def chosen(
    transactions: list[Transaction], moment: Moment, base: BaseSnapshot = NOTHING_SEEN, after: int = 0
) -> tuple[list[int], bool]:
    choice = choose(transactions, base, moment, after)
    return [one.xid for one in choice.transactions], choice.is_last


def test_a_base_has_what_its_snapshot_shows_and_nothing_that_was_committed_after_it() -> None:
    base = BaseSnapshot.parse("100:110:103,105", lsn=5000)

    has = [xid for xid in (99, 100, 103, 104, 105, 109, 110, 200) if base.has(transaction(xid, 10))]

    assert has == [99, 100, 104, 109]
    assert not base.has(transaction(99, 5001))
    assert BaseSnapshot.parse("100:110:").has(transaction(99, 5001))


@pytest.mark.parametrize("epoch", [1, 2, 7])
def test_numbers_of_transactions_that_have_wrapped_around_are_compared_in_full(epoch: int) -> None:
    begin = epoch << 32
    base = BaseSnapshot.parse(f"{begin - 5}:{begin + 5}:{begin - 2},{begin + 2}")

    low = {full: full % (1 << 32) for full in range(begin - 8, begin + 8)}
    has = [full - begin for full, xid in low.items() if base.has(transaction(xid, 10))]

    assert has == [-8, -7, -6, -5, -4, -3, -1, 0, 1, 3, 4]


@pytest.mark.parametrize("text", ["", "1", "5:4:", "1:2", "1:2:x", "1:2:3,", "a:b:"])
def test_a_text_that_is_no_snapshot_is_refused(text: str) -> None:
    with pytest.raises(JournalError) as caught:
        BaseSnapshot.parse(text)

    assert caught.value.code == "JOURNAL_SNAPSHOT"


def test_a_moment_ends_before_the_first_transaction_beyond_it_whatever_clocks_say_later() -> None:
    back = [transaction(7, 10, 0), transaction(8, 20, 5), transaction(9, 30, 1), transaction(10, 40, 9)]

    assert chosen(back, Moment()) == ([7, 8, 9, 10], False)
    assert chosen(back, Moment(time=START)) == ([7], True)  # exactly at a commit: with it
    assert chosen(back, Moment(time=START + timedelta(seconds=2))) == ([7], True)
    assert chosen(back, Moment(time=START - timedelta(seconds=1))) == ([], True)
    assert chosen(back, Moment(time=START + timedelta(days=1))) == ([7, 8, 9, 10], False)
    assert chosen(back, Moment(lsn=20)) == ([7, 8], True)
    assert chosen(back, Moment(before_xid=9)) == ([7, 8], True)


def test_what_a_later_backup_has_seen_is_no_prefix_of_the_commits() -> None:
    found = [transaction(7, 10), transaction(8, 20), transaction(9, 30), transaction(10, 40), transaction(11, 50)]
    base = BaseSnapshot.parse("7:9:8", 15)  # 8 is open, 9 has not begun

    def seen_by(snapshot: str, lsn: int) -> tuple[list[int], bool]:
        return chosen(found, Moment(lsn=lsn, snapshot=BaseSnapshot.parse(snapshot, lsn)), base)

    assert seen_by("12:12:", 60) == ([8, 9, 10, 11], False)
    # 9 is on disk before 10, and waits for a standby: it is not visible yet.
    assert seen_by("9:12:9,11", 45) == ([8, 10], True)
    assert seen_by("11:11:", 45) == ([8, 9, 10], True)


def test_what_was_applied_or_comes_twice_is_left_out() -> None:
    twice = [transaction(7, 10), transaction(8, 20), transaction(7, 10), transaction(8, 20), transaction(9, 30)]

    assert chosen(twice, Moment()) == ([7, 8, 9], False)
    assert chosen(twice, Moment(), after=20) == ([9], False)
    assert chosen(twice, Moment(), BaseSnapshot.parse("8:9:")) == ([9], False)
    assert chosen([transaction(7, 10)], Moment(lsn=10), after=10) == ([], False)


def test_an_outline_has_the_transactions_of_a_segment() -> None:
    lines = [
        Line(10, 7, "BEGIN 7"),
        Line(11, 7, "table public.t: INSERT: id[integer]:1"),
        Line(20, 7, "COMMIT 7 (at 2026-11-27 14:29:00.12345+00)"),
        Line(25, 0, "message: transactional: 0 prefix: x, sz: 9 content:BEGIN 999"),
        Line(30, 8, "BEGIN 8"),
        Line(40, 8, "COMMIT 8 (at 2026-11-27 14:29:01+00)"),
    ]

    assert list(outline(lines)) == [
        Transaction(7, 10, 20, START + timedelta(microseconds=123450)),
        Transaction(8, 30, 40, START + timedelta(seconds=1)),
    ]


@pytest.mark.parametrize("text", ["0/0", "16/B374D848", "FFFFFFFF/FFFFFFFF"])
def test_a_position_is_written_as_postgresql_does(text: str) -> None:
    assert lsn_text(parse_lsn(text)) == text


@pytest.mark.parametrize("text", ["", "16", "16/", "/16", "G/0", "123456789/0", "1/2/3"])
def test_another_text_is_no_position(text: str) -> None:
    with pytest.raises(ValueError, match="is no LSN"):
        parse_lsn(text)
