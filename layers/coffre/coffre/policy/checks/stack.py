"""Checks of the deployed stack and its account: rules, alerts, limits, the catalog, the template's version."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Final

from coffre.model.checkup import CheckResult
from coffre.policy.checks.answers import Refused
from coffre.policy.checks.code import blocker, warning
from coffre.policy.checks.stack_facts import AccountLimits, Function, Rule, StackFacts

SCHEDULE: Final = blocker("SCHEDULE_DISABLED")
UNCONFIRMED: Final = warning("SUBSCRIPTION_UNCONFIRMED")
NO_READER: Final = blocker("ALERTS_REACH_NO_ONE")
CONCURRENCY: Final = warning("CONCURRENCY_TOO_LOW")
STOPPED: Final = blocker("FUNCTION_STOPPED")
MEMORY: Final = blocker("MEMORY_QUOTA")
QUOTA: Final = warning("QUOTA")
RECOVERY: Final = warning("CATALOG_RECOVERY_OFF")
TEMPLATE: Final = warning("TEMPLATE_OLDER")

# Besides one invocation for each target: rotation after the first of them, verification, an alert.
_BESIDES: Final = 3
_CODE_PERCENT: Final = 90
# What accounts may give a function before they have been used for a while (SAM and CDK issues, 2021 to 2026: Lambda
# answers "Member must have value less than or equal to 3008"). No API tells it.
_NEW_ACCOUNT_MB: Final = 3008
_NEW_ACCOUNT_CONCURRENT: Final = 10
_MEMORY_REFUSED: Final = re.compile(r"MemorySize.*less than or equal to (\d+)", re.DOTALL)
_VERSION: Final = re.compile(r"(\d+)\.(\d+)\.(\d+)")


def check_stack(stack: StackFacts) -> Iterator[CheckResult]:
    """Judge a stack."""
    yield from _check_rules(stack)
    yield from _check_subscriptions(stack)
    yield from _check_limits(stack)
    yield from (_check_reserved(function) for function in stack.functions)
    yield from _check_memory(stack)
    yield _check_recovery(stack)
    yield _check_template(stack)


def _check_rules(stack: StackFacts) -> Iterator[CheckResult]:
    if isinstance(stack.rules, Refused):
        yield SCHEDULE.unseen("The schedules of the stack", stack.rules, stack.stack)
        return
    yield from (_check_rule(rule) for rule in stack.rules)
    if not stack.rules:
        yield SCHEDULE.found(
            "The stack has no schedule: no backup starts by itself.",
            "no resource of the type AWS::Events::Rule",
            "Deploy the template of this version: sam build && sam deploy",
            stack.stack,
        )


def _check_rule(rule: Rule) -> CheckResult:
    if isinstance(rule.state, Refused):
        return SCHEDULE.unseen(f"The schedule {rule.name}", rule.state, rule.name)
    if rule.state is None:
        return SCHEDULE.found(
            f"The schedule {rule.name} was deleted: what it starts does not happen.",
            f"no rule {rule.deployed_name or rule.name} exists",
            "Remove it from the stack and deploy again, or create the rule as template.yaml has it.",
            rule.name,
        )
    if rule.state.startswith("ENABLED"):
        return SCHEDULE.ok(f"The schedule {rule.name} is enabled.", rule.state, rule.name)
    return SCHEDULE.found(
        f"The schedule {rule.name} is disabled: what it starts does not happen.",
        rule.state,
        f"aws events enable-rule --name {rule.deployed_name}",
        rule.name,
    )


def _check_subscriptions(stack: StackFacts) -> Iterator[CheckResult]:
    found = stack.subscriptions
    if isinstance(found, Refused):
        yield UNCONFIRMED.unseen("The subscribers of alerts", found, stack.stack)
        yield NO_READER.unseen("The subscribers of alerts", found, stack.stack)
        return
    for one in found:
        if one.is_confirmed:
            yield UNCONFIRMED.ok("The subscription is confirmed.", one.protocol, one.endpoint)
        else:
            yield UNCONFIRMED.found(
                f"{one.endpoint} does not get alerts: the subscription was never confirmed.",
                f"{one.protocol}: pending confirmation",
                "Open the mail from AWS Notifications and confirm, or deploy with another AlertEmail.",
                one.endpoint,
            )
    confirmed = sum(one.is_confirmed for one in found)
    if confirmed:
        yield NO_READER.ok("Alerts reach someone.", f"{confirmed} confirmed subscriptions", stack.stack)
    else:
        yield NO_READER.found(
            "Alerts reach no one: a failed backup would stay unnoticed.",
            f"{len(found)} subscriptions, none confirmed",
            "Deploy with AlertEmail or AlertUrlsSecret (docs/alerts.md), confirm the mail, then: coffre alerts test",
            stack.stack,
        )


def _check_limits(stack: StackFacts) -> Iterator[CheckResult]:
    limits = stack.limits
    if isinstance(limits, Refused):
        yield CONCURRENCY.unseen("The limits of the account", limits, stack.stack)
        yield QUOTA.unseen("The limits of the account", limits, stack.stack)
        return
    needed = stack.targets + _BESIDES
    evidence = f"{limits.unreserved} of {limits.concurrent} invocations at the same time; about {needed} are needed"
    if limits.unreserved >= needed:
        yield CONCURRENCY.ok("The account runs enough functions at the same time.", evidence, stack.stack)
    else:
        yield CONCURRENCY.found(
            "The account runs too few functions at the same time: backups of some targets start late or not at all.",
            evidence,
            "aws service-quotas request-service-quota-increase --service-code lambda --quota-code L-B99A9384 "
            "--desired-value 1000 (new accounts have 10)",
            stack.stack,
        )
    yield _check_code_size(limits, stack.stack)


def _check_code_size(limits: AccountLimits, stack: str) -> CheckResult:
    percent = 100 * limits.used_code_bytes // max(1, limits.code_bytes)
    evidence = f"{limits.used_code_bytes:,} of {limits.code_bytes:,} bytes of code ({percent} %)"
    if percent < _CODE_PERCENT:
        return QUOTA.ok("The account has room for code.", evidence, stack)
    return QUOTA.found(
        "The account's room for code is nearly used up: the next deployment fails.",
        evidence,
        "Delete old versions of functions and layers in this region: aws lambda list-layers, aws lambda "
        "delete-layer-version",
        stack,
    )


def _check_reserved(function: Function) -> CheckResult:
    if isinstance(function.reserved, Refused):
        return STOPPED.unseen(f"The concurrency of {function.name}", function.reserved, function.name)
    if function.reserved == 0:
        return STOPPED.found(
            f"The function {function.name} is stopped: Lambda refuses every invocation.",
            "reserved concurrency: 0",
            f"aws lambda delete-function-concurrency --function-name {function.name}",
            function.name,
        )
    words = "none" if function.reserved is None else str(function.reserved)
    return STOPPED.ok(f"The function {function.name} may run.", f"reserved concurrency: {words}", function.name)


def _check_memory(stack: StackFacts) -> Iterator[CheckResult]:
    if isinstance(stack.refusals, Refused):
        yield MEMORY.unseen("The failures of the last deployment", stack.refusals, stack.stack)
        return
    wanted = ", ".join(f"{name}={size}" for name, size in stack.wanted_memory_mb.items())
    refused = next((found for text in stack.refusals if (found := _MEMORY_REFUSED.search(text))), None)
    limit = int(refused[1]) if refused else _NEW_ACCOUNT_MB
    is_new = isinstance(stack.limits, AccountLimits) and stack.limits.concurrent <= _NEW_ACCOUNT_CONCURRENT
    real = [one for one in stack.functions if not isinstance(one.memory_mb, Refused) and one.memory_mb > limit]
    too_much = any(size > limit for size in stack.wanted_memory_mb.values())
    if refused or (is_new and too_much and not real):
        yield MEMORY.found(
            f"The account allows functions {limit:,} MB: a deployment with more fails.",
            refused[0] if refused else f"{wanted}; the account is as limited as new ones are",
            f"Deploy with MemorySize={limit} and DrillMemorySize={limit}, or ask AWS Support for more (Lambda, "
            "function memory).",
            stack.stack,
        )
    else:
        yield MEMORY.ok("The account allows the memory that the functions are to have.", wanted, stack.stack)


def _check_recovery(stack: StackFacts) -> CheckResult:
    found = stack.point_in_time_recovery
    if isinstance(found, Refused):
        return RECOVERY.unseen("Point-in-time recovery of the catalog", found, stack.stack)
    if found:
        return RECOVERY.ok("The catalog can be restored to any second of 35 days.", "enabled", stack.stack)
    return RECOVERY.found(
        "The catalog cannot be restored to a point in time.",
        "point-in-time recovery: disabled",
        "aws dynamodb update-continuous-backups --table-name TABLE --point-in-time-recovery-specification "
        "PointInTimeRecoveryEnabled=true (TABLE: the stack's output CatalogTable). Without it: coffre catalog rebuild",
        stack.stack,
    )


def _check_template(stack: StackFacts) -> CheckResult:
    deployed, command = _number(stack.version), _number(stack.command_version)
    evidence = f"stack {stack.version or 'without a version'}, command {stack.command_version}"
    if deployed == command and deployed is not None:
        return TEMPLATE.ok("The stack and the command have the same version.", evidence, stack.stack)
    if deployed is not None and command is not None and deployed > command:
        cure = "Install the command in the version of the stack."
        return TEMPLATE.found("The command is older than the stack.", evidence, cure, stack.stack)
    return TEMPLATE.found(
        "The stack is older than the command: new options may be refused.",
        evidence,
        "Deploy this version: sam build && sam deploy",
        stack.stack,
    )


def _number(version: str | None) -> tuple[int, ...] | None:
    found = _VERSION.match(version or "")
    return tuple(map(int, found.groups())) if found else None
