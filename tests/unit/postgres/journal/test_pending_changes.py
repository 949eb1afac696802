"""What waits becomes few statements, with the same rows in the end."""

from __future__ import annotations

import pytest

from coffre.model.errors import JournalError
from coffre.postgres.journal.changes import Delete, Insert, Row, Unchanged, Update, Value
from coffre.postgres.journal.column_types import ColumnTypes
from coffre.postgres.journal.definitions import Column, Table
from coffre.postgres.journal.pending_changes import Pending

NAME = ("public", "item")
TYPES = {"id": "pg_catalog.int4", "t": "pg_catalog.text", "n": "pg_catalog.int4"}


def pending(*, has_further_keys: bool = False) -> Pending:
    columns = tuple(Column(number, name, TYPES[name], -1, "", "", 1) for number, name in enumerate(TYPES, 1))
    return Pending(
        Table(1, NAME, "r", 1, 1, "d", ("id",), has_further_keys, columns), ColumnTypes(frozenset(TYPES.values()))
    )


def row(*values: Value) -> Row:
    return Row(tuple(TYPES), values)


def insert(*values: Value) -> Insert:
    return Insert(NAME, row(*values))


def update(*values: Value) -> Update:
    return Update(NAME, None, row(*values))


def delete(key: str) -> Delete:
    return Delete(NAME, Row(("id",), (key,)))


FOUND = 'WHERE t."id" OPERATOR(pg_catalog.=) v.{}'
UPDATE = 'UPDATE ONLY "public"."item" AS t SET "t" = v.c0, "n" = v.c1 FROM {} AS v (c0, c1, c2) ' + FOUND.format("c2")
COPIED = 'COPY "public"."item" ("id", "t", "n") FROM STDIN (FORMAT csv, QUOTE \'\'\'\', NULL \'NULL\')'
DELETE = 'DELETE FROM ONLY "public"."item" AS t USING (VALUES (\'1\'::pg_catalog.int4)) AS v (c0) ' + FOUND.format("c0")


@pytest.mark.parametrize(
    ("changes", "expected"),
    [
        ([insert("1", "a", "2"), update("1", "it's", None)], [(COPIED, "'1','it''s',NULL\n", 1)]),
        ([insert("1", "a", "2"), update("1", Unchanged.TOAST, "3")], [(COPIED, "'1','a','3'\n", 1)]),
        ([insert("1", "a", "2"), update("1", "b", "2"), delete("1")], []),
        ([delete("1"), insert("1", "a", "2"), delete("1")], [(DELETE, None, 1)]),
        ([update("1", "a", "2"), delete("1")], [(DELETE, None, 1)]),
        (
            [update("1", "a", "2"), delete("1"), insert("1", "b", "2")],
            [(DELETE, None, 1), (COPIED, "'1','b','2'\n", 1)],
        ),
        (
            [update("1", "a", "2"), update("2", '"\\', None), update("1", "it's", "3")],
            [
                (
                    UPDATE.format(
                        "ROWS FROM (pg_catalog.unnest({}), pg_catalog.unnest({}), pg_catalog.unnest({}))"
                    ).format(
                        '\'{"it\'\'s","\\"\\\\"}\'::pg_catalog.text[]',
                        "'{\"3\",NULL}'::pg_catalog.int4[]",
                        '\'{"1","2"}\'::pg_catalog.int4[]',
                    ),
                    None,
                    2,
                )
            ],
        ),
    ],
)
def test_changes_of_a_key_become_one(
    changes: list[Insert | Update | Delete], expected: list[tuple[str, str | None, int]]
) -> None:
    waiting = pending()
    for change in changes:
        waiting.add(change, 9)

    assert [(statement.sql, statement.data, statement.rows) for statement in waiting.take()] == expected
    assert waiting.take() == []


def test_where_another_column_is_unique_each_change_of_a_key_stays_in_its_order() -> None:
    waiting = pending(has_further_keys=True)
    for change in (
        update("1", "c", "1"),
        update("2", "a", "1"),
        update("1", "b", "1"),
        delete("1"),
        insert("1", "d", "1"),
    ):
        waiting.add(change, 9)

    both, again, deleted, inserted = waiting.take()

    assert [statement.rows for statement in (both, again, deleted, inserted)] == [2, 1, 1, 1]
    assert both.one_by_one is not None
    first, second = both.one_by_one()
    assert "'c'" in first.sql
    assert "'a'" in second.sql
    assert again.one_by_one is first.one_by_one is None


def test_values_with_quotes_null_and_nul_stay_what_they_are() -> None:
    waiting = pending()
    for new in (insert("1", "it's", None), insert("2", "','", "3"), insert("4", "", "5"), insert("6", "x", None)):
        waiting.add(new, 9)
    for change in (update("7", "a\0b", None), update("8", '\\"\',"', "9")):
        waiting.add(change, 9)

    updated, inserted = waiting.take()

    assert inserted.data == "'1','it''s',NULL\n'2',''',''','3'\n'4','','5'\n'6','x',NULL\n"
    assert '\'{"a\0b","\\\\\\"\'\',\\""}\'::pg_catalog.text[]' in updated.sql
    assert "'{NULL,\"9\"}'::pg_catalog.int4[]" in updated.sql


def test_the_columns_of_a_key_have_an_order_of_their_own() -> None:
    columns = tuple(Column(number, name, "pg_catalog.int4", -1, "", "", 1) for number, name in enumerate("abcd", 1))
    waiting = Pending(Table(1, NAME, "r", 1, 1, "d", ("a", "c", "b", "d"), has_further_keys=False, columns=columns))
    waiting.add(Delete(NAME, Row(tuple("abcd"), tuple("1234"))), 9)

    [deleted] = waiting.take()

    values = ", ".join(f"'{value}'::pg_catalog.int4" for value in "1324")
    assert f"(VALUES ({values})) AS v (c0, c1, c2, c3)" in deleted.sql


def test_rows_are_closed_by_the_length_of_their_lines() -> None:
    waiting = pending()
    for number in range(3):
        waiting.add(insert(str(number), "a", "1"), 600_000)

    assert [statement.rows for statement in waiting.take()] == [2, 1]


def test_what_cannot_be_is_left_to_the_server_and_a_missing_value_is_refused() -> None:
    waiting = pending()
    for change in (insert("1", "a", "1"), insert("1", "b", "1"), delete("2"), delete("2")):
        waiting.add(change, 9)

    assert [statement.rows for statement in waiting.take()] == [1, 1, 1, 1]

    waiting.add(insert("1", Unchanged.TOAST, "1"), 9)
    with pytest.raises(JournalError) as caught:
        waiting.take()
    assert caught.value.code == "JOURNAL_UNREADABLE"
