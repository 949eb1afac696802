"""Checks of the deployed stack and its account: schedules, alerts, limits, the catalog, the template's version."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Final

from coffre.model.checkup import Severity
from coffre.policy.checks.answers import Refused
from coffre.policy.checks.check import Finding, Unread, check, names
from coffre.policy.checks.stack_facts import AccountLimits, StackFacts

# Besides one invocation for each target: rotation after the first of them, verification, an alert.
_BESIDES: Final = 3
_CODE_PERCENT: Final = 90
_JOURNAL_RULE: Final = "JournalRule"
# What accounts may give a function before they have been used for a while (Lambda's own answer is "Member must have
# value less than or equal to 3008"; its guide says that new accounts have reduced quotas of concurrency and memory,
# read 2026-11). No API tells it.
_NEW_ACCOUNT_MB: Final = 3008
_NEW_ACCOUNT_CONCURRENT: Final = 10
_MEMORY_REFUSED: Final = re.compile(r"MemorySize.*less than or equal to (\d+)", re.DOTALL)
_VERSION: Final = re.compile(r"(\d+)\.(\d+)\.(\d+)")

type Found = Iterator[Finding | Unread]


@check(
    "SCHEDULE_DISABLED",
    Severity.BLOCKER,
    StackFacts,
    fine="Every schedule of the stack is enabled.",
    cure="Deploy the template again: sam build && sam deploy.",
)
def schedule_disabled(stack: StackFacts) -> Found:
    """Find rules that start nothing."""
    if isinstance(stack.rules, Refused):
        yield stack.rules.unread("The schedules of the stack")
        return
    if not stack.rules:
        yield Finding("The stack has no schedule: no backup starts by itself.", "no AWS::Events::Rule")
    for rule in stack.rules:
        if isinstance(rule.state, Refused):
            yield rule.state.unread(f"The schedule {rule.name}")
        elif rule.state is None:
            yield Finding(
                f"The schedule {rule.name} was deleted: what it starts does not happen.",
                f"no rule {rule.deployed_name or rule.name} exists",
                subject=rule.name,
            )
        elif not rule.state.startswith("ENABLED"):
            yield Finding(
                f"The schedule {rule.name} is disabled: what it starts does not happen.",
                rule.state,
                f"aws events enable-rule --name {rule.deployed_name}",
                rule.name,
            )


@check(
    "JOURNAL_OFF",
    Severity.WARNING,
    StackFacts,
    fine="What journals need is switched on.",
    cure="Deploy the stack with the parameter Journal=on; or remove `journal` of the targets: coffre config edit.",
)
def journal_off(stack: StackFacts) -> Found:
    """Find targets with a journal in a stack that never drains one."""
    if stack.journals and not isinstance(stack.rules, Refused) and all(r.name != _JOURNAL_RULE for r in stack.rules):
        yield Finding(
            f"Nothing drains the journals of {len(stack.journals):,} targets: the stack's parameter Journal is off. A "
            "slot that exists keeps the server's log until the hourly check drops it.",
            names(stack.journals),
        )


@check(
    "SUBSCRIPTION_UNCONFIRMED",
    Severity.WARNING,
    StackFacts,
    fine="Every subscription to alerts is confirmed.",
    cure="Open the mail from AWS Notifications and confirm; it comes again after a deployment with another AlertEmail.",
)
def subscription_unconfirmed(stack: StackFacts) -> Found:
    """Find addresses that never confirmed."""
    if isinstance(stack.subscriptions, Refused):
        yield stack.subscriptions.unread("The subscriptions to alerts")
        return
    for one in stack.subscriptions:
        if not one.is_confirmed:
            yield Finding(
                f"{one.endpoint} gets no alerts: the subscription was never confirmed.",
                f"{one.protocol}: pending confirmation",
                subject=one.endpoint,
            )


@check(
    "ALERTS_REACH_NO_ONE",
    Severity.WARNING,
    StackFacts,
    fine="Alerts have a confirmed subscriber.",
    cure="Deploy with AlertEmail or AlertUrlsSecret (docs/alerts.md), confirm the mail, then run coffre alerts test.",
)
def alerts_reach_no_one(stack: StackFacts) -> Found:
    """Find a stack whose alerts no one gets."""
    if isinstance(stack.subscriptions, Refused):
        yield stack.subscriptions.unread("The subscriptions to alerts")
    elif not any(one.is_confirmed for one in stack.subscriptions):
        yield Finding(
            "Alerts reach no one: a failed backup would stay unnoticed.",
            f"{len(stack.subscriptions)} subscriptions, none confirmed",
        )


@check(
    "CONCURRENCY_TOO_LOW",
    Severity.WARNING,
    StackFacts,
    fine="The account can run the functions that start together.",
    cure="aws service-quotas request-service-quota-increase --service-code lambda --quota-code L-B99A9384 "
    "--desired-value 1000 (new accounts have about 10).",
)
def concurrency_too_low(stack: StackFacts) -> Found:
    """Find an account that runs fewer functions at the same time than targets need."""
    if isinstance(stack.limits, Refused):
        yield stack.limits.unread("The limits of the account")
        return
    needed = stack.targets + _BESIDES
    if stack.limits.unreserved < needed:
        yield Finding(
            "The account runs too few functions at the same time: backups of some targets start late.",
            f"{stack.limits.unreserved} of {stack.limits.concurrent} invocations; about {needed} are needed",
        )


@check(
    "FUNCTION_STOPPED",
    Severity.BLOCKER,
    StackFacts,
    fine="No function is stopped.",
    cure="Remove the reserved concurrency of the function.",
)
def function_stopped(stack: StackFacts) -> Found:
    """Find functions that Lambda refuses to run."""
    for function in stack.functions:
        if isinstance(function.reserved, Refused):
            yield function.reserved.unread(f"The concurrency of the function {function.name}")
        elif function.reserved == 0:
            yield Finding(
                f"The function {function.name} is stopped: Lambda refuses every invocation.",
                "reserved concurrency: 0",
                f"aws lambda delete-function-concurrency --function-name {function.name}",
                function.name,
            )


@check(
    "MEMORY_QUOTA",
    Severity.BLOCKER,
    StackFacts,
    fine="The account allows the memory that the functions are to have.",
    cure="Deploy with MemorySize=3008 and DrillMemorySize=3008, or ask AWS Support for more (Lambda, function memory).",
)
def memory_quota(stack: StackFacts) -> Found:
    """Find a deployment that failed, or will, since new accounts allow a function less memory."""
    if isinstance(stack.refusals, Refused):
        yield stack.refusals.unread("Why the last deployment failed")
        return
    refused = next((found for text in stack.refusals if (found := _MEMORY_REFUSED.search(text))), None)
    limit = int(refused[1]) if refused else _NEW_ACCOUNT_MB
    is_new = isinstance(stack.limits, AccountLimits) and stack.limits.concurrent <= _NEW_ACCOUNT_CONCURRENT
    wants_more = any(size > limit for size in stack.wanted_memory_mb.values())
    has_more = any(isinstance(one.memory_mb, int) and one.memory_mb > limit for one in stack.functions)
    if refused or (is_new and wants_more and not has_more):
        wanted = ", ".join(f"{name}={size}" for name, size in stack.wanted_memory_mb.items())
        yield Finding(
            f"The account allows a function {limit:,} MB: a deployment with more fails.",
            refused[0] if refused else f"{wanted}; the account is as limited as new ones are",
            f"Deploy with MemorySize={limit} and DrillMemorySize={limit}, or ask AWS Support for more (Lambda, "
            "function memory).",
        )


@check(
    "QUOTA",
    Severity.WARNING,
    StackFacts,
    fine="The account has room for the code of functions.",
    cure="Delete old versions of layers in this region: aws lambda list-layers, aws lambda delete-layer-version.",
)
def quota(stack: StackFacts) -> Found:
    """Find an account whose room for code is nearly used up."""
    if isinstance(stack.limits, Refused):
        yield stack.limits.unread("The limits of the account")
        return
    used, room = stack.limits.used_code_bytes, stack.limits.code_bytes
    if 100 * used >= _CODE_PERCENT * room:
        yield Finding(
            "The account's room for code is nearly used up: the next deployment fails.",
            f"{used:,} of {room:,} bytes",
        )


@check(
    "CATALOG_RECOVERY_OFF",
    Severity.WARNING,
    StackFacts,
    fine="The catalog can be restored to a point in time.",
    cure="Enable point-in-time recovery of the table that is the stack's output CatalogTable.",
)
def catalog_recovery_off(stack: StackFacts) -> Found:
    """Find a catalog without point-in-time recovery."""
    if isinstance(stack.point_in_time_recovery, Refused):
        yield stack.point_in_time_recovery.unread("Point-in-time recovery of the catalog")
    elif not stack.point_in_time_recovery:
        yield Finding(
            "The catalog cannot be restored to a point in time.",
            "point-in-time recovery: disabled",
            f"aws dynamodb update-continuous-backups --table-name {stack.catalog_table} "
            "--point-in-time-recovery-specification PointInTimeRecoveryEnabled=true",
        )


@check(
    "TEMPLATE_OLDER",
    Severity.WARNING,
    StackFacts,
    fine="The stack and the command have the same version.",
    cure="Deploy this version: sam build && sam deploy.",
)
def template_older(stack: StackFacts) -> Found:
    """Find a stack and a command of different versions."""
    deployed, command = _number(stack.version), _number(stack.command_version)
    evidence = f"stack {stack.version or 'without a version'}, command {stack.command_version}"
    if deployed is None or (command is not None and deployed < command):
        yield Finding("The stack is older than the command: new options may be refused.", evidence)
    elif command is not None and deployed > command:
        yield Finding(
            "The command is older than the stack.", evidence, f"Install the command in version {stack.version}."
        )


def _number(version: str | None) -> tuple[int, ...] | None:
    found = _VERSION.match(version or "")
    return tuple(map(int, found.groups())) if found else None
