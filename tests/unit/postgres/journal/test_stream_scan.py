"""What is learned of a stream on its way into the vault, by the beginnings of its lines."""

from __future__ import annotations

from dataclasses import replace

import pytest

from coffre.model.errors import JournalError
from coffre.model.journal_lines import pieces_of
from coffre.postgres.journal.changes import Barrier, BarrierKind, Line
from coffre.postgres.journal.definitions import Definitions, Table
from coffre.postgres.journal.stream_scan import Cut, Passing, emptied_tables
from coffre.postgres.journal.transactions import BaseSnapshot

KEYED = Table(1, ("public", "keyed"), "r", 1, 1, "d", ("id",), False, ())
ODD = replace(KEYED, name=("public", 'a: INSERT: "x'))
OTHER_ODD = replace(KEYED, name=("public", "a: other"), key=())
BARE = replace(KEYED, name=("public", "bare"), key=())
TABLES = {table.name: table for table in (KEYED, ODD, OTHER_ODD, BARE)}
DEFINITIONS = Definitions(TABLES, frozenset({("public", "seen")}), {})
EVERYTHING = BaseSnapshot(1000, 1000, frozenset(), 1 << 40)


def transaction(number: int, *changes: str) -> list[Line]:
    """Return the transaction of this number, which ends at ten times it."""
    lsn = number * 10
    return [
        Line(lsn - 5, number, f"BEGIN {number}"),
        *(Line(lsn - 4, number, change) for change in changes),
        Line(lsn, number, f"COMMIT {number} (at 2026-11-{30 - number:02} 12:00:00.5+00)"),
    ]


def passed(*transactions: list[Line], snapshot: BaseSnapshot = EVERYTHING, after: int = 0) -> Passing:
    passing = Passing(DEFINITIONS, snapshot, after)
    lines = [line for lines in transactions for line in lines]
    pieces = [piece for line in lines for piece in pieces_of([line])]
    assert list(passing.through(pieces)) == pieces[: passing.lines]
    whole = Passing(DEFINITIONS, snapshot, after)
    assert list(whole.through(pieces_of(lines))) == ([] if whole.cut else [b"".join(pieces)])
    assert (whole.transactions, whole.lines, whole.end_lsn) == (passing.transactions, passing.lines, passing.end_lsn)
    return passing


def test_a_stream_is_cut_before_what_cannot_be_followed() -> None:
    good = transaction(
        1,
        "table public.keyed: INSERT: id[integer]:1",
        "table public.keyed: DELETE: id[integer]:1",
        "table public.bare: INSERT: id[integer]:1",
        "table public.seen: INSERT: id[integer]:1",
        """table public."a: INSERT: ""x": UPDATE: id[integer]:1""",
        """table public."a: other": INSERT: t[text]:': UPDATE:'""",
        "table public.keyed, public.bare: TRUNCATE: restart_seqs cascade",
        "message: transactional: 1 prefix: x, sz: 1 content:y,",
    )
    whole = passed(good, transaction(2))
    assert (whole.cut, whole.transactions, whole.lines, whole.end_lsn) == (None, 2, 12, 20)
    assert whole.first_commit is not None
    assert whole.last_commit is not None
    assert (whole.first_commit.day, whole.last_commit.day) == (28, 29)  # the clock was set back

    bare, late = ("public", "bare"), ("public", "late")
    for change, kind, about in (
        ("table public.bare: UPDATE: id[integer]:1", BarrierKind.NO_IDENTITY, bare),
        ("table public.bare: DELETE: (no-tuple-data)", BarrierKind.NO_IDENTITY, bare),
        ("""table public."a: other": DELETE: (no-tuple-data)""", BarrierKind.NO_IDENTITY, OTHER_ODD.name),
        ("table public.late: INSERT: id[integer]:1", BarrierKind.UNKNOWN_TABLE, late),
        ("table public.keyed, public.late: TRUNCATE: (no-flags)", BarrierKind.UNKNOWN_TABLE, late),
    ):
        found = passed(good, transaction(2, change, change), transaction(3))
        assert found.cut == Cut(10, Barrier(kind, about)), change
        assert (found.transactions, found.end_lsn) == (1, 10)
        # What every base has already is no reason.
        assert passed(good, transaction(2, change), transaction(3), after=20).cut is None

    unseen = passed(good, transaction(2), transaction(3), snapshot=BaseSnapshot(2, 4, frozenset({2}), 1 << 40))
    assert (unseen.cut, unseen.transactions) == (Cut(10, None), 1)
    later = passed(good, transaction(2), snapshot=BaseSnapshot(1000, 1000, frozenset(), 19))
    assert later.cut == Cut(10, None)

    for lines, words in (
        (transaction(2)[1:], "has not begun"),
        ([transaction(2)[0], Line(19, 2, "table public.keyed INSERT")], "neither a table nor a kind"),
    ):
        for before, lsn in (([], 0), ([good], 10)):
            cut = passed(*before, lines, transaction(3)).cut
            assert cut is not None
            assert (cut.lsn, cut.barrier) == (lsn, None)
            assert words in str(cut.error)
            assert cut.error is not None
            assert cut.error.code == "JOURNAL_UNREADABLE"

    def refused() -> bytes:
        raise JournalError("no text", code="JOURNAL_UNREADABLE")

    with pytest.raises(JournalError, match="no text"):  # of an answer that the server does not begin
        list(Passing(DEFINITIONS, EVERYTHING, 0).through(iter(refused, b"")))

    insert = """table public."a: other": INSERT: t[text]:': TRUNCATE:'"""
    both = frozenset({KEYED.name, bare})
    emptied = dict(emptied_tables([*good, *transaction(2, insert)]))
    assert emptied == {(KEYED.name, 1): both, (bare, 1): both}
