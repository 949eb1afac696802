"""What a person can ask a restore for: combinations that fit."""

from typing import Any

import pytest
from pydantic import ValidationError

from coffre.model.restore import Scope


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
