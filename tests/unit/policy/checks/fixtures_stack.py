"""Facts about a stack and its account."""

from __future__ import annotations

from dataclasses import replace
from typing import Final

from tests.unit.policy.checks.bench import Fixture

from coffre.policy.checks.check import Facts, facts_of
from coffre.policy.checks.stack_facts import AccountLimits, Function, Rule, StackFacts, Subscription

RULE: Final = Rule("DailyBackupRule", "coffre-DailyBackupRule-1", "ENABLED")
MAIL: Final = Subscription("email", "ops@example.org", is_confirmed=True)
FUNCTION: Final = Function("coffre-backup-database", 3538, None)
LIMITS: Final = AccountLimits(1000, 1000, 80_530_636_800, 1_000_000_000)
NEW_ACCOUNT: Final = AccountLimits(10, 10, 80_530_636_800, 1_000_000_000)
STACK: Final = StackFacts(
    stack="coffre",
    version="0.1.0",
    command_version="0.1.0",
    catalog_table="coffre-catalog",
    refusals=(),
    wanted_memory_mb={"MemorySize": 3538, "DrillMemorySize": 3538},
    targets=2,
    subscriptions=(MAIL,),
    rules=(RULE,),
    functions=(FUNCTION,),
    limits=LIMITS,
    point_in_time_recovery=True,
)
MEMORY_REFUSED: Final = (
    "DrillFunction: 'MemorySize' value failed to satisfy constraint: Member must have value less than or equal to 3008 "
    "(Service: Lambda, Status Code: 400)"
)

HEALTHY: Final[Facts] = facts_of(STACK)
FIXTURES: Final = (
    Fixture(
        "SCHEDULE_DISABLED",
        provokes=(replace(STACK, rules=(replace(RULE, state="DISABLED"),)),),
        spares=(replace(STACK, rules=(replace(RULE, state="ENABLED_WITH_ALL_CLOUDTRAIL_MANAGEMENT_EVENTS"),)),),
    ),
    Fixture(
        "JOURNAL_OFF",
        provokes=(replace(STACK, journals=("shop",)),),
        spares=(replace(STACK, journals=("shop",), rules=(RULE, replace(RULE, name="JournalRule"))),),
    ),
    Fixture(
        "SUBSCRIPTION_UNCONFIRMED",
        provokes=(replace(STACK, subscriptions=(MAIL, replace(MAIL, is_confirmed=False))),),
        spares=(replace(STACK, subscriptions=(MAIL, Subscription("lambda", "arn:aws:lambda:x", is_confirmed=True))),),
    ),
    Fixture(
        "ALERTS_REACH_NO_ONE",
        provokes=(replace(STACK, subscriptions=()),),
        spares=(replace(STACK, subscriptions=(Subscription("lambda", "arn:aws:lambda:x", is_confirmed=True),)),),
    ),
    Fixture(
        "CONCURRENCY_TOO_LOW",
        provokes=(replace(STACK, targets=8, limits=NEW_ACCOUNT),),
        spares=(replace(STACK, targets=7, limits=NEW_ACCOUNT),),
    ),
    Fixture(
        "FUNCTION_STOPPED",
        provokes=(replace(STACK, functions=(FUNCTION, replace(FUNCTION, reserved=0))),),
        spares=(replace(STACK, functions=(replace(FUNCTION, reserved=1),)),),
    ),
    Fixture(
        "MEMORY_QUOTA",
        provokes=(replace(STACK, refusals=(MEMORY_REFUSED,)),),
        spares=(replace(STACK, refusals=("DrillFunction: Resource creation cancelled",)),),
    ),
    Fixture(
        "QUOTA",
        provokes=(replace(STACK, limits=replace(LIMITS, code_bytes=100, used_code_bytes=90)),),
        spares=(replace(STACK, limits=replace(LIMITS, code_bytes=100, used_code_bytes=89)),),
    ),
    Fixture("CATALOG_RECOVERY_OFF", provokes=(replace(STACK, point_in_time_recovery=False),), spares=(STACK,)),
    Fixture(
        "TEMPLATE_OLDER",
        provokes=(replace(STACK, version="0.0.9"),),
        spares=(replace(STACK, version="0.2.0", command_version="0.2.0"),),
    ),
)
