"""Conditions are decided as CloudFormation decides them."""

from typing import Any

import pytest

from coffre_local.conditions import decided
from coffre_local.errors import DeploymentError

PARAMETERS = {
    "Email": {"Type": "String", "Default": ""},
    "Subnets": {"Type": "CommaDelimitedList", "Default": ""},
    "Secret": {"Type": "String", "Default": "coffre/database/main"},
    "Days": {"Type": "Number", "Default": 90},
    "Needed": {"Type": "String"},
}
HAS_EMAIL = {"Fn::Not": [{"Fn::Equals": [{"Ref": "Email"}, ""]}]}


def is_met(condition: Any, **values: str) -> bool:
    """Decide a condition next to `HasEmail`."""
    template = {"Parameters": PARAMETERS, "Conditions": {"HasEmail": HAS_EMAIL, "Asked": condition}}
    [left, right] = decided(template, values)["Asked"]["Fn::Equals"]
    return bool(left == right)


def test_a_default_and_a_value_decide() -> None:
    assert is_met(HAS_EMAIL) is False
    assert is_met(HAS_EMAIL, Email="me@example.org") is True


def test_numbers_are_compared_as_text() -> None:
    assert is_met({"Fn::Equals": [{"Ref": "Days"}, "90"]}) is True


@pytest.mark.parametrize(("subnets", "expected"), [("", False), ("subnet-1", True), ("subnet-1, subnet-2", True)])
def test_a_list_is_joined(subnets: str, expected: bool) -> None:
    condition = {"Fn::Not": [{"Fn::Equals": [{"Fn::Join": ["", {"Ref": "Subnets"}]}, ""]}]}

    assert is_met(condition, Subnets=subnets) is expected


@pytest.mark.parametrize(("secret", "expected"), [("coffre/x", False), ("arn:aws:secretsmanager:x", True)])
def test_a_part_of_a_text_is_selected(secret: str, expected: bool) -> None:
    first = {"Fn::Select": [0, {"Fn::Split": [":", {"Ref": "Secret"}]}]}

    assert is_met({"Fn::Equals": [first, "arn"]}, Secret=secret) is expected


def test_conditions_refer_to_each_other() -> None:
    both = {"Fn::And": [{"Condition": "HasEmail"}, {"Fn::Equals": ["a", "a"]}]}
    either = {"Fn::Or": [{"Condition": "HasEmail"}, {"Fn::Equals": ["a", "b"]}]}

    assert (is_met(both), is_met(either)) == (False, False)
    assert (is_met(both, Email="x"), is_met(either, Email="x")) == (True, True)


def test_what_cannot_be_decided_is_an_error_and_not_a_guess() -> None:
    with pytest.raises(DeploymentError, match="Fn::FindInMap"):
        is_met({"Fn::Equals": [{"Fn::FindInMap": ["a", "b", "c"]}, "x"]})
    with pytest.raises(DeploymentError, match="Needed"):
        is_met({"Fn::Equals": [{"Ref": "Needed"}, "x"]})
