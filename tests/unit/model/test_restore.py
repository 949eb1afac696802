"""What a person can ask a restore for: combinations that fit, and one SQL expression that stays one."""

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from coffre.model.restore import RowFilter, Scope, why_not_an_expression


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


@pytest.mark.parametrize(
    "scope",
    [
        {"rows": {"where": "true"}},
        {"apply": True},
        {"tables": ["t"], "apply": True},
        {"tables": ["t"], "rows": {"where": "true"}, "replace": True},
        {"tables": ["t"], "contents": "data"},
        {"contents": "schema", "replace": True},
        {"with_dependencies": True},
        {"tables": ["t"], "rows": {"where": "true"}, "with_dependencies": True},
        {"table": ["t"]},
        {"replace": True, "resume": "01K9XAAAAAAAAAAAAAAAAAAAAA"},
        {"tables": ["t"], "resume": "01K9XAAAAAAAAAAAAAAAAAAAAA", "dry_run": True},
    ],
)
def test_choices_that_do_not_fit_together(scope: dict[str, Any]) -> None:
    with pytest.raises(ValidationError):
        Scope.model_validate(scope)


@pytest.mark.parametrize(
    "scope",
    [
        {},
        {"contents": "data", "dry_run": True},
        {"replace": True},
        {"schemas": ["app"], "with_dependencies": True},
        {"tables": ["t"], "replace": True},
        {"tables": ["t"], "replace": True, "resume": "01K9XAAAAAAAAAAAAAAAAAAAAA"},
        {"contents": "data", "resume": "01K9XAAAAAAAAAAAAAAAAAAAAA"},
        {"tables": ["t"], "rows": {"column": "at", "start": "2026-11-01"}, "apply": True},
    ],
)
def test_choices_that_fit_together(scope: dict[str, Any]) -> None:
    assert Scope.model_validate(scope).is_whole is not bool({"tables", "schemas"} & set(scope))
