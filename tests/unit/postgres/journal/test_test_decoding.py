"""The text of test_decoding is read as PostgreSQL's source writes it, and nothing else is guessed."""

from datetime import UTC, datetime
from unittest.mock import patch

import pytest

from coffre.model.errors import JournalError
from coffre.postgres.journal import test_decoding
from coffre.postgres.journal.changes import (
    Begin,
    Change,
    Commit,
    Delete,
    Insert,
    Line,
    Row,
    Truncate,
    Unchanged,
    Update,
)
from coffre.postgres.journal.test_decoding import decode

BEGIN, COMMIT = "BEGIN 7", "COMMIT 7 (at 2026-11-27 14:29:30.5+00)"


def decoded(*lines: str) -> list[Change]:
    texts = (BEGIN, *lines, COMMIT)
    return list(decode([Line(number, 7, text) for number, text in enumerate(texts, start=10)]))[1:-1]


def test_a_transaction_has_its_number_position_and_time() -> None:
    found = list(decode([Line(10, 7, BEGIN), Line(20, 7, COMMIT)]))

    assert found == [Begin(7, 10), Commit(7, 20, datetime(2026, 11, 27, 14, 29, 30, 500_000, tzinfo=UTC))]


def test_a_change_needs_no_position_and_may_have_one() -> None:
    change = "table public.t: DELETE: id[integer]:1"
    found = [list(decode([Line(10, 7, BEGIN), Line(lsn, 7, change), Line(20, 7, COMMIT)])) for lsn in (0, 15)]
    assert found[0] == found[1]
    assert Delete(("public", "t"), Row(("id",), ("1",))) in found[0]

    for lsn, where in ((0, "in the transaction 7"), (15, "at 0/F")):
        with pytest.raises(JournalError, match=f"is not understood {where} "):
            list(decode([Line(10, 7, BEGIN), Line(lsn, 7, f"{change} x"), Line(20, 7, COMMIT)]))


def test_values_are_text_null_or_unchanged() -> None:
    [found] = decoded(
        "table public.t: UPDATE: id[integer]:-1 n[numeric]:NaN b[boolean]:true s[text]:'it''s [x]:1 \\' e[text]:''"
        " bits[bit varying]:B'0101' none[bit varying]:B'' null[text]:null word[text]:'null'"
        ' big[text]:unchanged-toast-datum list[integer[]]:\'{1,NULL}\' odd["a]:""b"."t\'ype"[]]:\'x\''
    )

    names = ("id", "n", "b", "s", "e", "bits", "none", "null", "word", "big", "list", "odd")
    values = ("-1", "NaN", "true", "it's [x]:1 \\", "", "0101", "", None, "null", Unchanged.TOAST, "{1,NULL}", "x")
    assert found == Update(("public", "t"), None, Row(names, values))


def test_names_in_quotes_may_hold_what_the_format_uses() -> None:
    [found] = decoded('table "a.b: ""INSERT:".": UPDATE: x[": INSERT: "k ""1"" [text]:\'"[text]:\'1\'')

    assert found == Insert(('a.b: "INSERT:', ": UPDATE: x["), Row(('k "1" [text]:\'',), ("1",)))


def test_rows_of_the_same_form_and_of_another_one_are_read_in_turn() -> None:
    head = "table public.t: INSERT:"
    found = decoded(
        f"{head} a[integer]:1", f"{head} a[integer]:2", f"{head} a[integer]:3 b[text]:'x'", f"{head} a[text]:'4'"
    )

    rows = [change.new for change in found if isinstance(change, Insert)]
    assert rows == [Row(("a",), ("1",)), Row(("a",), ("2",)), Row(("a", "b"), ("3", "x")), Row(("a",), ("4",))]
    assert rows[0].names is rows[1].names


def test_a_form_is_made_once_and_not_for_a_row_alone() -> None:
    head = "table public.t: DELETE:"
    lines = [f"{head} a[integer]:1", f"{head} b[text]:'x'", f"{head} a[integer]:3 b[text]:'x'"] * 20
    with patch.object(test_decoding, "_form_of", side_effect=test_decoding._form_of) as made:
        found = decoded(*lines, *[lines[0]] * 3, *[lines[1]] * 3, *[lines[0]] * 3)
    assert made.call_count == 2
    names = [change.old.names for change in found if isinstance(change, Delete) and change.old]
    assert names == [("a",), ("b",), ("a", "b")] * 20 + [("a",)] * 3 + [("b",)] * 3 + [("a",)] * 3


def test_old_keys_missing_rows_and_truncates_are_read() -> None:
    table = ("public", "t")
    assert decoded(
        "table public.t: UPDATE: old-key: a[integer]:1 b[text]:' new-tuple: x[y]:1' new-tuple: a[xid]:2 b[text]:null",
        "table public.t: DELETE: a[integer]:2",
        "table public.t: DELETE: (no-tuple-data)",
        "table public.t: INSERT:",
        'table public.t, "S x"."t, y": TRUNCATE: restart_seqs cascade',
        "table public.t: TRUNCATE: (no-flags)",
        "message: transactional: 1 prefix: x, sz: 9 content:COMMIT 99",
    ) == [
        Update(table, Row(("a", "b"), ("1", " new-tuple: x[y]:1")), Row(("a", "b"), ("2", None))),
        Delete(table, Row(("a",), ("2",))),
        Delete(table, None),
        Insert(table, Row((), ())),
        Truncate((table, ("S x", "t, y")), cascade=True, restarts_sequences=True),
        Truncate((table,), cascade=False, restarts_sequences=False),
    ]


def test_transactions_that_are_not_wanted_are_passed_over() -> None:
    other = [Line(30, 8, "BEGIN 8"), Line(31, 8, "table not read"), Line(40, 8, COMMIT.replace("7", "8", 1))]

    found = list(decode([Line(10, 7, BEGIN), Line(20, 7, COMMIT), *other], is_wanted=lambda begin: begin.xid == 7))

    assert [type(change) for change in found] == [Begin, Commit]


@pytest.mark.parametrize(
    "lines",
    [
        [BEGIN],
        [BEGIN, BEGIN],
        [COMMIT],
        ["table public.t: INSERT: a[integer]:1"],
        ["BEGIN"],
        [BEGIN, "COMMIT 8 (at 2026-11-27 14:29:30.5+00)"],
        [BEGIN, "COMMIT 7"],
        [BEGIN, "COMMIT 7 (at 2026-11-27 14:29:30.5+02)"],
        [BEGIN, "PREPARE TRANSACTION 'x', txid 7"],
        ["COMMIT PREPARED 'x', txid 7"],
        [BEGIN, "opening a streamed block for transaction", COMMIT],
        [BEGIN, "table public.t: MERGE: a[integer]:1", COMMIT],
        [BEGIN, "table t: INSERT: a[integer]:1", COMMIT],
        [BEGIN, "table public.t: INSERT: (no-tuple-data)", COMMIT],
        [BEGIN, "table public.t: INSERT: a[integer]:1 b[text]:'sec", COMMIT],
        [BEGIN, "table public.t: INSERT: a[integer]:1 b", COMMIT],
        [BEGIN, "table public.t: UPDATE: old-key: a[integer]:1", COMMIT],
        [BEGIN, "table public.t: TRUNCATE: a[integer]:1", COMMIT],
        ["pg_dump: sec"],
    ],
)
def test_anything_else_is_refused_without_its_values(lines: list[str]) -> None:
    with pytest.raises(JournalError) as caught:
        list(decode([Line(number, 7, text) for number, text in enumerate(lines, start=10)]))

    assert caught.value.code == "JOURNAL_UNREADABLE"
    assert "sec" not in str(caught.value)
    assert caught.value.hint
