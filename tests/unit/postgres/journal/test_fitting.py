"""How far transactions fit definitions: by the names that their rows have, whatever the values say."""

from __future__ import annotations

import json
from collections.abc import Sequence
from datetime import UTC, datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st

from coffre.model.names import TableName
from coffre.postgres.journal.changes import Line
from coffre.postgres.journal.definitions import Column, Definitions, Table
from coffre.postgres.journal.definitions_document import definitions_document
from coffre.postgres.journal.fitting import Fit, fit
from coffre.postgres.journal.transactions import BaseSnapshot
from coffre_cli.commands.keys.kit import restore

ORDERS, BARE, FULL, SUMS = (("public", name) for name in ("orders", "bare", "full", "sums"))
PAIR, KEYED = (("public", name) for name in ("pair", "keyed"))


def table(name: TableName, *columns: str, key: tuple[str, ...] = (), identity: str = "d", made: str = "") -> Table:
    found = [Column(n, one, "pg_catalog.text", -1, "", "s" if one == made else "", 1) for n, one in enumerate(columns)]
    return Table(1, name, "r", 1, 1, identity, key, False, tuple(found))


DEFINITIONS = Definitions(
    {
        one.name: one
        for one in (
            table(PAIR, "a", "b", key=("a", "b")),
            table(KEYED, "a", "b", key=("a",), identity="f"),
            table(ORDERS, "id", "note", "short", key=("id",), made="short"),
            table(BARE, "a"),
            table(FULL, "a", "b", identity="f"),
        )
    },
    frozenset({SUMS}),
    {},
)


def lines_of(*transactions: Sequence[str]) -> list[Line]:
    """Transactions with these changes, with the numbers 1, 2 ..., whose commits end at 100, 200 ..."""
    found = list[Line]()
    for xid, changes in enumerate(transactions, 1):
        found.append(Line(xid * 100 - 50, xid, f"BEGIN {xid}"))
        found += [Line(0, xid, f"table public.{change}") for change in changes]
        found.append(Line(xid * 100, xid, f"COMMIT {xid} (at 2026-11-27 14:00:0{xid % 10}+00)"))
    return found


def fitted(*transactions: Sequence[str], after: int = 0) -> Fit:
    return fit(lambda: iter(lines_of(*transactions)), DEFINITIONS, after)


FITTING = (
    "orders: INSERT: id[integer]:1 note[text]:'x'",
    "orders: INSERT: note[text]:null id[integer]:1 short[text]:'x'",  # whatever the order; generated ones may be there
    "orders: UPDATE: old-key: id[integer]:1 new-tuple: id[integer]:2 note[text]:unchanged-toast-datum",
    "orders: DELETE: id[integer]:1",
    "orders, public.bare: TRUNCATE: (no-flags)",
    "full: DELETE: b[text]:'1'",
    "full: UPDATE: old-key: a[text]:'1' new-tuple: a[text]:'1' b[text]:'2'",
    "bare: INSERT: a[text]:'1'",
    "sums: INSERT: anything[text]:'1'",
    "pair: UPDATE: a[text]:'1' b[text]:'2'",
    "pair: DELETE: b[text]:'1' a[text]:'1'",
    "keyed: UPDATE: a[text]:'1' b[text]:'2'",  # the identity is the key now
    "keyed: DELETE: a[text]:'1'",
)
MISFITS = (
    ("fresh: INSERT: id[integer]:1", "the table public.fresh did not exist"),
    ("orders, public.fresh: TRUNCATE: (no-flags)", "the table public.fresh did not exist"),
    ("orders: INSERT: id[integer]:1 note[text]:'x' more[text]:null", "public.orders had no column 'more'"),
    ("orders: INSERT: id[integer]:1", "public.orders had the column 'note' as well"),
    ("orders: UPDATE: id[integer]:1 text[text]:'x'", "public.orders had no column 'text'"),
    ("orders: UPDATE: old-key: note[text]:'x' new-tuple: id[integer]:1 note[text]:'x'", "'note' did not identify"),
    ("orders: DELETE: note[text]:'x'", "'note' did not identify the rows of public.orders"),
    ("orders: DELETE: (no-tuple-data)", "nothing identified a row of public.orders"),
    ("bare: DELETE: a[text]:'1'", "nothing identified the rows of public.bare"),
    ("pair: DELETE: a[text]:'1'", "'b' identified the rows of public.pair as well"),
    ("pair: UPDATE: old-key: a[text]:'1' new-tuple: a[text]:'2' b[text]:'2'", "'b' identified the rows of public.pair"),
    ("full: UPDATE: a[text]:'1' b[text]:'2'", "nothing identified a row of public.full"),
    ("full: DELETE: c[text]:'1'", "'c' did not identify the rows of public.full"),
)


@pytest.mark.parametrize(("change", "why"), MISFITS)
def test_the_first_transaction_with_a_row_that_does_not_fit_ends_it(change: str, why: str) -> None:
    found = fitted(FITTING, [], [FITTING[0], change, FITTING[1]], [FITTING[0]])
    assert found.misfit is not None
    assert (found.lsn, found.misfit.xid, found.misfit.commit_lsn) == (200, 3, 300)
    assert found.misfit.time == datetime(2026, 11, 27, 14, 0, 3, tzinfo=UTC)
    assert why in found.why
    assert [one.xid for one in found.without_rows] == [2]


@pytest.mark.parametrize(("change", "why"), [*((change, "") for change in FITTING), *MISFITS])
def test_the_recovery_kit_finds_the_same(change: str, why: str) -> None:
    document = json.loads(definitions_document(DEFINITIONS))
    tables = {tuple(one["name"]): one for one in document["tables"]}
    found = restore.misfit(restore.change_of(f"table public.{change}"), tables, set(map(tuple, document["views"])))
    assert why in found.replace('"', "")
    assert bool(found) == bool(why)


def test_all_fit_where_names_do_and_the_newest_without_rows_are_named() -> None:
    found = fitted(FITTING, *([()] * 7), FITTING[:1])
    assert (found.lsn, found.misfit, found.why) == (900, None, "")
    assert [one.xid for one in found.without_rows] == [4, 5, 6, 7, 8]
    assert fitted() == Fit(0, None, None, "", ())


@given(st.lists(st.sampled_from([*FITTING, *(change for change, _ in MISFITS)]), max_size=8), st.integers(0, 9))
def test_what_is_before_the_first_misfit_fits_and_what_was_known_before_is_not_asked(
    changes: list[str], known: int
) -> None:
    found, after = fitted(*([one] for one in changes), after=known * 100), known * 100
    misfits = [n * 100 for n, one in enumerate(changes, 1) if one not in FITTING and n * 100 > after]
    last = max(len(changes) * 100, after)
    assert found.lsn == (max(misfits[0] - 100, after) if misfits else last)
    assert (found.misfit is None) == (not misfits)


def test_what_the_base_has_seen_need_not_fit() -> None:
    lines = lines_of(FITTING[:1], [MISFITS[0][0]], FITTING[:1])
    assert fit(lambda: iter(lines), DEFINITIONS, 0, BaseSnapshot.parse("1:3:", 250)).misfit is None
    stopped = fit(lambda: iter(lines), DEFINITIONS, 0, BaseSnapshot.parse("1:3:2", 250)).misfit
    assert stopped is not None
    assert stopped.xid == 2
