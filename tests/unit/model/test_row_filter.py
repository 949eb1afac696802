"""Which rows: one period or one SQL expression, which stays one."""

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from coffre.model.row_filter import RowFilter, why_not_an_expression


@pytest.mark.parametrize(
    "text",
    [
        "status = 'open' AND total > 5",
        "note = 'it''s; --fine'",
        r"note = E'\'; /*'",
        '"odd;name" = 1',
        "note = $$ ; ' $$",
        "note = $tag$ $$ ; $tag$",
        "(a OR b) AND NOT (c)",
        "a$b = 1",
    ],
)
def test_one_expression(text: str) -> None:
    assert why_not_an_expression(text) is None
    assert RowFilter(where=text).where == text


@pytest.mark.parametrize(
    ("text", "why"),
    [
        ("true; DROP TABLE orders", "semicolon"),
        ("true) ; DROP TABLE orders; --", "parentheses"),
        ("true) OR (true", "parentheses"),
        ("(true", "parentheses"),
        ("true -- and more", "comments"),
        ("true /* and more", "comments"),
        ("note = 'open", "not closed"),
        ('"open = 1', "not closed"),
        ("a$$ ; DROP TABLE orders; SELECT $$", "semicolon"),
        ("\u2014$$ ; DROP TABLE orders; SELECT $$", "semicolon"),
        (r"note = '\' ; DROP TABLE orders; SELECT '", "semicolon"),
    ],
)
def test_more_or_less_than_one_expression(text: str, why: str) -> None:
    assert why in (why_not_an_expression(text) or "")
    with pytest.raises(ValidationError):
        RowFilter(where=text)


@given(st.text(alphabet="ab'\"$;()-/*\\ \n", max_size=30))
def test_whatever_is_taken_has_no_end_inside(text: str) -> None:
    if why_not_an_expression(text) is None:
        assert why_not_an_expression(f"({text}) AND (true)") is None
        assert why_not_an_expression(f"{text};") is not None


@pytest.mark.parametrize(
    "rows",
    [
        {},
        {"column": "at"},
        {"column": "at", "start": "2026-11-01", "where": "true"},
        {"where": "true", "end": "2026-11-01"},
        {"column": "", "start": "2026-11-01"},
    ],
)
def test_rows_says_one_thing(rows: dict[str, Any]) -> None:
    with pytest.raises(ValidationError):
        RowFilter.model_validate(rows)
