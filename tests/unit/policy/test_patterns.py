"""Patterns for names: pg_dump's rules."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from coffre.model.errors import EventError
from coffre.model.names import qualified, shown
from coffre.policy.patterns import chosen, schema_pattern, table_pattern

_NAMES = st.text(st.characters(exclude_characters="\0"), min_size=1, max_size=12)


@pytest.mark.parametrize(
    ("pattern", "schema", "table"),
    [
        ("orders", "public", "orders"),
        ("orders", "app", "orders"),
        ("ORDERS", "public", "orders"),
        ("public.orders", "public", "orders"),
        ("public.order*", "public", "orders_2026"),
        ("p*.o?ders", "public", "orders"),
        ('"Order"', "public", "Order"),
        ('"a.b"', "public", "a.b"),
        ('"a""b".c', 'a"b', "c"),
        ('pub"*"."o"*', "pub*", "orders"),
        ("*", "public", "two\nlines"),
    ],
)
def test_what_fits(pattern: str, schema: str, table: str) -> None:
    assert table_pattern(pattern)(schema, table)


@pytest.mark.parametrize(
    ("pattern", "schema", "table"),
    [
        ("orders", "public", "orders_2026"),
        ("public.orders", "app", "orders"),
        ("Order", "public", "Order"),
        ('"order*"', "public", "orders"),
        ("o.ders", "public", "orders"),
        ("order?", "public", "order"),
    ],
)
def test_what_does_not_fit(pattern: str, schema: str, table: str) -> None:
    assert not table_pattern(pattern)(schema, table)


@pytest.mark.parametrize("pattern", ["", ".", "a.", ".b", "a.b.c"])
def test_what_is_no_pattern(pattern: str) -> None:
    with pytest.raises(EventError) as caught:
        table_pattern(pattern)
    assert caught.value.code == "PATTERN_INVALID"


@given(_NAMES, _NAMES)
def test_every_name_is_its_own_pattern_when_it_is_quoted(schema: str, table: str) -> None:
    assert table_pattern(qualified(schema, table))(schema, table)
    assert table_pattern(shown(schema, table))(schema, table)
    assert schema_pattern('"' + schema.replace('"', '""') + '"')(schema)


def test_the_chosen_keep_their_order_and_are_there_once() -> None:
    tables = [("public", "orders"), ("app", "users"), ("app", "orders")]

    assert chosen(tables, lambda table: table, ["users", "orders", "app.*"], []) == tables
    assert chosen(tables, lambda table: table, [], ["app"]) == tables[1:]


def test_a_pattern_that_nothing_fits_names_what_is_near() -> None:
    tables = [("public", "orders"), ("public", "users")]

    with pytest.raises(EventError) as caught:
        chosen(tables, lambda table: table, ["public.order"], [])
    assert caught.value.code == "PATTERN_UNMATCHED"
    assert "public.orders" in (caught.value.hint or "")
    with pytest.raises(EventError):
        chosen(tables, lambda table: table, ["users"], ["app"])


def test_a_name_without_a_schema_does_not_mean_what_earlier_restores_staged() -> None:
    staging = "restored_01m8h90hbq3zv9k2x7c4d5e6f7"
    tables = [("casa", "reviews"), (staging, "reviews"), ("restored_by_hand", "reviews"), (staging, "other")]

    def found(*patterns: str, schemas: tuple[str, ...] = ()) -> list[tuple[str, str]]:
        return chosen(tables, lambda table: table, patterns, schemas)

    assert found("reviews") == [tables[0], tables[2]]
    assert found("*.reviews") == [tables[0], tables[2]]
    assert found(f"{staging}.reviews") == [tables[1]]
    assert found('"restored_01m8h90hbq3zv9k2x7c4d5e6f7".*') == [tables[1], tables[3]]
    assert found(schemas=(staging,)) == [tables[1], tables[3]]
