"""IAM's decision on one call, for what the template's policies use; whatever else a policy has is refused, not ignored.

The rules are those of the IAM User Guide (policy evaluation logic, within one account; condition operators; condition
operators for multivalued keys), read 2026-11-28:

- An explicit deny wins. Within an account an allow of the caller's policies or of the resource's is enough; a service
  and a stranger have no policies here, so that the resource's must name them.
- Actions and condition keys are compared without case, resources with it. `*` matches anything, slashes too.
- Every operator of a condition must hold, and every key in it; of several values one is enough. A missing key fails an
  operator, and passes a negated one, one that ends in `IfExists`, and one with `ForAllValues`.
"""

from __future__ import annotations

import operator
import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from enum import StrEnum
from functools import cache, cached_property
from typing import Any, Final

Statement = Mapping[str, Any]
Values = tuple[str, ...]

_PARTS: Final = {"Sid", "Effect", "Principal", "Action", "Resource", "Condition"}


class UnsupportedPolicyError(AssertionError):
    """A policy has something that this evaluator does not know."""


class Decision(StrEnum):
    """What IAM answers, and why."""

    ALLOWED = "allowed"
    NOT_ALLOWED = "not allowed"
    DENIED = "denied"


@dataclass(frozen=True)
class Principal:
    """Who calls. `arn` for roles and users, `service` for AWS's services; neither: anyone, without credentials.

    `statements` are those of its own policies.
    """

    name: str
    arn: str | None = None
    service: str | None = None
    statements: Sequence[Statement] = ()


@dataclass(frozen=True)
class Request:
    """One call: what a service asks IAM about it. `context` has the condition keys that the service sets."""

    action: str
    resource: str
    context: Mapping[str, str | Values] = field(default_factory=dict)

    def values(self, key: str) -> Values | None:
        """Return the values of a condition key, or None when the call has none."""
        found = self._by_small_name.get(key.lower())
        return (found,) if isinstance(found, str) else found

    @cached_property
    def _by_small_name(self) -> Mapping[str, str | Values]:
        return {name.lower(): value for name, value in self.context.items()}


def decide(principal: Principal, request: Request, resource_policy: Iterable[Statement] = ()) -> Decision:
    """Return IAM's decision.

    Raises
    ------
    UnsupportedPolicyError
        A statement has an element, an operator or a policy variable that is not known here.
    """
    own = [_effect(one) for one in principal.statements if _applies(one, request)]
    named = [_effect(one) for one in resource_policy if _applies(one, request, principal)]
    effects = {*own, *named}
    if "Deny" in effects:
        return Decision.DENIED
    return Decision.ALLOWED if "Allow" in effects else Decision.NOT_ALLOWED


def matches(pattern: str, text: str) -> bool:
    """Match as IAM does: `*` is anything, slashes too, and `?` is one character."""
    return _expression(pattern).fullmatch(text) is not None


@cache
def _expression(pattern: str) -> re.Pattern[str]:
    if "${" in pattern:
        raise UnsupportedPolicyError(f"the policy variable in {pattern!r}")
    expression = "".join({"*": ".*", "?": "."}.get(character, re.escape(character)) for character in pattern)
    return re.compile(expression, re.DOTALL)


def listed(value: object) -> list[str]:
    """Return a policy's one value or list as a list of texts."""
    values = value if isinstance(value, list | tuple) else [value]
    return [str(one).lower() if isinstance(one, bool) else str(one) for one in values]


def _effect(statement: Statement) -> str:
    if statement["Effect"] not in ("Allow", "Deny"):
        raise UnsupportedPolicyError(f"the effect {statement['Effect']!r}")
    return str(statement["Effect"])


def _applies(statement: Statement, request: Request, principal: Principal | None = None) -> bool:
    """Tell whether a statement is about a call; one of a resource's policy names who calls too (`principal`)."""
    if unknown := statement.keys() - _PARTS:
        raise UnsupportedPolicyError(f"the element {', '.join(sorted(unknown))} of a statement")
    if ("Principal" in statement) is not (principal is not None):
        raise UnsupportedPolicyError("a principal in an identity's policy, or none in a resource's")
    # All are looked at, so that what is not known is found whatever the call
    is_met = _is_met(statement.get("Condition", {}), request)
    return (
        is_met
        and any(matches(pattern.lower(), request.action.lower()) for pattern in listed(statement["Action"]))
        and any(matches(pattern, request.resource) for pattern in listed(statement["Resource"]))
        and (principal is None or _is_named(statement["Principal"], principal))
    )


def _is_named(named: object, principal: Principal) -> bool:
    if named == "*":
        return True
    if not isinstance(named, Mapping) or named.keys() - {"AWS", "Service"}:
        raise UnsupportedPolicyError(f"the principal {named!r}")
    arns = listed(named.get("AWS", []))
    if any(arn != "*" and not re.fullmatch(r"arn:aws:iam::\d{12}:(role|user)/[^*?]+", arn) for arn in arns):
        raise UnsupportedPolicyError(f"the principal {arns}")
    return "*" in arns or principal.arn in arns or principal.service in listed(named.get("Service", []))


# --- conditions ---


def _is_met(conditions: Mapping[str, Mapping[str, object]], request: Request) -> bool:
    held = [
        _holds(condition, request.values(key), listed(expected))
        for condition, keys in conditions.items()
        for key, expected in keys.items()
    ]
    return all(held)


def _holds(condition: str, actual: Values | None, expected: Sequence[str]) -> bool:
    if condition == "Null":
        return any((one == "true") is (actual is None) for one in expected)
    quantifier, _, plain = condition.rpartition(":")
    name = plain.removesuffix("IfExists")
    if name not in _OPERATORS or quantifier not in ("", "ForAllValues", "ForAnyValue"):
        raise UnsupportedPolicyError(f"the operator {condition}")
    compare, is_negated = _OPERATORS[name]

    def passes(value: str) -> bool:
        return any(compare(wanted, value) for wanted in expected) is not is_negated

    if quantifier == "ForAllValues":
        return all(passes(value) for value in actual or ())
    if actual is None:
        return plain.endswith("IfExists") or (is_negated and not quantifier)
    if quantifier == "ForAnyValue":
        return any(passes(value) for value in actual)
    if len(actual) != 1:
        raise UnsupportedPolicyError(f"{condition} of a key with {len(actual)} values")
    return passes(actual[0])


def _equals(wanted: str, value: str) -> bool:
    if "${" in wanted:
        raise UnsupportedPolicyError(f"the policy variable in {wanted!r}")
    return wanted == value


def _equals_bool(wanted: str, value: str) -> bool:
    return wanted.lower() == value.lower()


def _as_number(compare: Callable[[float, float], bool]) -> Callable[[str, str], bool]:
    """Return how a call's number is compared with a policy's."""
    return lambda wanted, value: compare(float(value), float(wanted))


def _matches_arn(wanted: str, value: str) -> bool:
    """Compare part by part: a wildcard does not reach beyond the colon."""
    parts = wanted.split(":", 5), value.split(":", 5)
    return len(parts[0]) == len(parts[1]) and all(map(matches, *parts))


_OPERATORS: Final[Mapping[str, tuple[Callable[[str, str], bool], bool]]] = {
    "StringEquals": (_equals, False),
    "StringNotEquals": (_equals, True),
    "StringLike": (matches, False),
    "StringNotLike": (matches, True),
    "Bool": (_equals_bool, False),
    "ArnEquals": (_matches_arn, False),
    "ArnLike": (_matches_arn, False),
    "NumericEquals": (_as_number(operator.eq), False),
    "NumericLessThan": (_as_number(operator.lt), False),
    "NumericLessThanEquals": (_as_number(operator.le), False),
    "NumericGreaterThan": (_as_number(operator.gt), False),
    "NumericGreaterThanEquals": (_as_number(operator.ge), False),
}
