"""The evaluator of policies decides as IAM's documentation says, and refuses what it does not know."""

from __future__ import annotations

from typing import Any

import pytest
from tests.template.policies import Decision, Principal, Request, UnsupportedPolicyError, decide

PUT = Request("s3:PutObject", "arn:aws:s3:::vault/v1/packs/a")
ROLE = "arn:aws:iam::111122223333:role/writer"


def statement(effect: str = "Allow", **parts: Any) -> dict[str, Any]:
    return {"Effect": effect, "Action": "s3:PutObject", "Resource": "*", **parts}


def decision(*statements: dict[str, Any], request: Request = PUT) -> Decision:
    return decide(Principal("writer", ROLE, statements=statements), request)


def met(condition: dict[str, Any], **context: Any) -> bool:
    """Tell whether a condition holds; keys are written `dynamodb__LeadingKeys`."""
    keys = {name.replace("__", ":"): value for name, value in context.items()}
    request = Request("s3:PutObject", "x", keys)
    return decision(statement(Condition=condition), request=request) is Decision.ALLOWED


# --- which statements apply ---


def test_what_no_statement_allows_is_not_allowed() -> None:
    assert decision() is Decision.NOT_ALLOWED
    assert decision(statement(Action="s3:GetObject")) is Decision.NOT_ALLOWED
    assert decision(statement(Resource="arn:aws:s3:::vault/v1/backups/*")) is Decision.NOT_ALLOWED


@pytest.mark.parametrize("order", [1, -1])
def test_an_explicit_deny_wins_in_any_order(order: int) -> None:
    both = [statement(), statement("Deny", Resource="arn:aws:s3:::vault/v1/packs/*")]

    assert decision(*both[::order]) is Decision.DENIED
    assert decision(*both[::order], request=Request("s3:PutObject", "arn:aws:s3:::vault/x")) is Decision.ALLOWED


@pytest.mark.parametrize(
    ("pattern", "is_meant"),
    [
        *(("s3:PutObject", True), ("S3:putobject", True), ("s3:Put*", True), ("*", True), ("s3:PutObjec?", True)),
        *(("s3:PutObjectTagging", False), ("s3:Put", False), ("s3:PutObject?", False), ("s3.PutObject", False)),
    ],
)
def test_actions_match_with_wildcards_and_without_case(pattern: str, *, is_meant: bool) -> None:
    assert (decision(statement(Action=pattern)) is Decision.ALLOWED) is is_meant


@pytest.mark.parametrize(
    ("pattern", "is_meant"),
    [
        *(("arn:aws:s3:::vault/*", True), ("arn:aws:s3:::vault/*/a", True), ("arn:aws:s3:::vault/v1/pack?/a", True)),
        *(("arn:aws:s3:::VAULT/*", False), ("arn:aws:s3:::vault", False), ("arn:aws:s3:::vault/v1/packs/", False)),
    ],
)
def test_resources_match_with_case_and_a_star_crosses_slashes(pattern: str, *, is_meant: bool) -> None:
    assert (decision(statement(Resource=["x", pattern])) is Decision.ALLOWED) is is_meant


# --- conditions ---


def test_every_operator_and_every_key_must_hold_and_one_value_is_enough() -> None:
    condition = {"StringEquals": {"a": ["1", "2"], "b": "3"}, "Bool": {"c": "true"}}

    assert met(condition, a="2", b="3", c="true")
    assert not met(condition, a="2", b="4", c="true")
    assert not met(condition, a="2", b="3", c="false")
    assert not met(condition, a="2", b="3")


def test_keys_have_no_case_and_values_have() -> None:
    assert met({"StringEquals": {"S3:If-None-Match": "*"}}, **{"s3:if-none-match": "*"})
    assert not met({"StringEquals": {"a": "Lock"}}, a="LOCK")
    assert met({"Bool": {"a": "true"}}, a="True")
    assert met({"Bool": {"a": True}}, a="true")


@pytest.mark.parametrize("operator", ["StringEquals", "StringLike", "Bool", "ArnEquals", "ArnLike"])
def test_a_missing_key_fails_an_operator_and_passes_one_that_asks_only_if_it_exists(operator: str) -> None:
    assert not met({operator: {"a": "true"}})
    assert met({f"{operator}IfExists": {"a": "true"}})
    assert not met({f"{operator}IfExists": {"a": "true"}}, a="other")


@pytest.mark.parametrize("operator", ["StringNotEquals", "StringNotLike"])
def test_a_missing_key_passes_a_negated_operator(operator: str) -> None:
    assert met({operator: {"a": "x"}})
    assert met({operator: {"a": ["x", "y"]}}, a="z")
    assert not met({operator: {"a": ["x", "y"]}}, a="y")


def test_null_asks_whether_a_key_is_missing() -> None:
    assert met({"Null": {"a": "true"}})
    assert not met({"Null": {"a": "true"}}, a="x")
    assert met({"Null": {"a": "false"}}, a="x")
    assert not met({"Null": {"a": False}})


def test_for_all_values_is_true_for_a_missing_key() -> None:
    condition = {"ForAllValues:StringEquals": {"dynamodb:LeadingKeys": ["LOCK", "SLOT"]}}

    assert met(condition)
    assert met(condition, dynamodb__LeadingKeys=())
    assert met(condition, dynamodb__LeadingKeys=("LOCK", "SLOT", "LOCK"))
    assert not met(condition, dynamodb__LeadingKeys=("LOCK", "AUDIT"))
    assert not met({**condition, "Null": {"dynamodb:LeadingKeys": "false"}})


def test_for_any_value_is_false_for_a_missing_key() -> None:
    condition = {"ForAnyValue:StringLike": {"a": "AUDIT#*"}}

    assert not met(condition)
    assert met(condition, a=("LOCK", "AUDIT#main"))
    assert not met(condition, a=("LOCK", "AUDIT"))


@pytest.mark.parametrize(
    ("operator", "passing"),
    [
        ("NumericEquals", {"400", "400.0"}),
        ("NumericLessThan", {"31"}),
        ("NumericLessThanEquals", {"31", "400", "400.0"}),
        ("NumericGreaterThan", {"1000"}),
        ("NumericGreaterThanEquals", {"400", "400.0", "1000"}),
    ],
)
def test_numbers_are_compared_as_numbers(operator: str, passing: set[str]) -> None:
    assert {value for value in ("31", "400", "400.0", "1000") if met({operator: {"a": "400"}}, a=value)} == passing
    assert not met({operator: {"a": "400"}})


def test_a_wildcard_counts_in_like_and_not_in_equals() -> None:
    assert met({"StringLike": {"a": "BACKUP#*"}}, a="BACKUP#main")
    assert not met({"StringEquals": {"a": "BACKUP#*"}}, a="BACKUP#main")


def test_arns_are_compared_part_by_part() -> None:
    arn = "arn:aws:events:eu-west-1:111122223333:rule/a"

    assert met({"ArnEquals": {"aws:SourceArn": "arn:aws:events:*:111122223333:rule/*"}}, aws__SourceArn=arn)
    assert not met({"ArnLike": {"aws:SourceArn": "arn:aws:events:*:rule/a"}}, aws__SourceArn=arn)


# --- who calls ---


def test_in_one_account_the_caller_or_the_resource_may_allow_and_each_may_deny() -> None:
    caller = Principal("writer", ROLE)
    mighty = Principal("writer", ROLE, statements=[statement()])

    assert decide(caller, PUT, [statement(Principal={"AWS": ROLE})]) is Decision.ALLOWED
    assert decide(caller, PUT, [statement(Principal={"AWS": ROLE + "s"})]) is Decision.NOT_ALLOWED
    assert decide(mighty, PUT, [statement("Deny", Principal="*")]) is Decision.DENIED
    assert decide(mighty, PUT, [statement("Deny", Principal={"AWS": "*"})]) is Decision.DENIED


def test_a_service_is_allowed_only_by_name() -> None:
    policy = [statement(Principal={"Service": ["sns.amazonaws.com"]}, Condition={"ArnEquals": {"aws:SourceArn": "a"}})]
    call = Request("s3:PutObject", "x", {"aws:SourceArn": "a"})

    assert decide(Principal("sns", service="sns.amazonaws.com"), call, policy) is Decision.ALLOWED
    assert decide(Principal("sns", service="sns.amazonaws.com"), PUT, policy) is Decision.NOT_ALLOWED
    assert decide(Principal("sqs", service="sqs.amazonaws.com"), call, policy) is Decision.NOT_ALLOWED
    assert decide(Principal("anyone"), call, policy) is Decision.NOT_ALLOWED


# --- what is not known ---


@pytest.mark.parametrize(
    "parts",
    [
        {"NotAction": "s3:GetObject"},
        {"NotResource": "x"},
        {"Condition": {"DateLessThan": {"a": "2026-01-01"}}},
        {"Condition": {"ForSomeValues:StringEquals": {"a": "1"}}},
        {"Condition": {"StringEqualsIgnoreCase": {"a": "1"}}},
        {"Condition": {"StringEquals": {"a": "${aws:username}"}}},
        {"Resource": "arn:aws:s3:::vault/${aws:username}/*"},
        {"Effect": "allow"},
        {"Principal": "*"},
    ],
    ids=str,
)
def test_what_is_not_known_is_refused(parts: dict[str, Any]) -> None:
    with pytest.raises(UnsupportedPolicyError):
        decision({**statement(), **parts}, request=Request("s3:PutObject", "x", {"a": "1"}))


@pytest.mark.parametrize(
    "parts",
    [
        {"NotPrincipal": "*"},
        {},
        {"Principal": {"Federated": "x"}},
        {"Principal": {"AWS": "111122223333"}},
        {"Principal": {"AWS": "arn:aws:iam::111122223333:root"}},
    ],
    ids=str,
)
def test_principals_that_are_not_known_are_refused(parts: dict[str, Any]) -> None:
    with pytest.raises(UnsupportedPolicyError):
        decide(Principal("writer", ROLE), PUT, [{**statement(), **parts}])


def test_several_values_without_a_set_operator_are_refused() -> None:
    with pytest.raises(UnsupportedPolicyError):
        met({"StringEquals": {"a": "1"}}, a=("1", "2"))
