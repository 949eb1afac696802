"""For each code of the checks about vault, buckets, keys, stack, network and machine: facts that provoke it, facts that
do not, and, where facts can be missing, facts that could not be read."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from typing import Final

from coffre.model.checkup import CheckResult
from coffre.policy.checks.answers import Refused
from coffre.policy.checks.bucket_facts import SourceBucket, Sources
from coffre.policy.checks.buckets import check_sources
from coffre.policy.checks.history import check_history, check_keys
from coffre.policy.checks.history_facts import DrillSeen, KeyFacts, TargetHistory
from coffre.policy.checks.local import check_local
from coffre.policy.checks.local_facts import LocalFacts
from coffre.policy.checks.network import SERVICES, check_network, check_reach
from coffre.policy.checks.stack import check_stack
from coffre.policy.checks.stack_facts import (
    AccountLimits,
    Endpoint,
    Function,
    Network,
    Reach,
    Route,
    Rule,
    StackFacts,
    Subnet,
    Subscription,
)
from coffre.policy.checks.vault import check_probe, check_settings, check_use
from coffre.policy.checks.vault_facts import (
    LifecycleRule,
    LockProbe,
    PublicAccess,
    Trouble,
    VaultSettings,
    VaultUse,
    WriteTest,
)

NOW: Final = datetime(2026, 11, 28, 12, tzinfo=UTC)
KEY: Final = "age1" + "q" * 58
SECOND: Final = "age1" + "p" * 58
ACCOUNT: Final = "123456789012"

type Results = Callable[[], Iterable[CheckResult]]


@dataclass(frozen=True)
class Case:
    """Facts of one code: `found` provokes it, `fine` does not, `unseen` could not be read (None: always there)."""

    code: str
    found: Results
    fine: Results
    unseen: Results | None


def denied(action: str) -> Refused:
    return Refused(action, "AccessDenied: no", is_denied=True)


# --- facts without a problem ---

USE: Final = VaultUse(
    "vault", "eu-west-3", "eu-west-3", tested=WriteTest.MANIFEST, keeps_checksums=True, lock_mode="governance"
)
SETTINGS: Final = VaultSettings("vault", "", "Enabled", PublicAccess(blocked=True), (), (ACCOUNT,))
PROBE: Final = LockProbe("scratch/x/probe", "governance", free_deleted=True, locked_deleted=denied("s3:Delete"))
BUCKET: Final = SourceBucket("photos", objects=7, versioning="Enabled", is_ours=False)
SOURCES: Final = Sources("files", "coffre/storage/r2", None, None, (BUCKET,), 7)
HISTORY: Final = TargetHistory(
    "main",
    NOW - timedelta(hours=9),
    NOW - timedelta(hours=8),
    192,
    DrillSeen("passed", NOW - timedelta(days=3), "01K9X000000000000000000000"),
)
KEYS: Final = KeyFacts(
    is_encrypted=True,
    recipients={"main": (KEY, SECOND)},
    opened={KEY: NOW - timedelta(days=2), SECOND: NOW - timedelta(days=89)},
    used_since={KEY: NOW - timedelta(days=400), SECOND: NOW - timedelta(days=400)},
    identity_secret="coffre/identity/main",
    identity=True,
)
STACK: Final = StackFacts(
    stack="coffre",
    version="0.1.0",
    command_version="0.1.0",
    refusals=(),
    wanted_memory_mb={"MemorySize": 3538, "DrillMemorySize": 3538},
    targets=2,
    subscriptions=(Subscription("email", "ops@example.org", is_confirmed=True),),
    rules=(Rule("DailyBackupRule", "coffre-DailyBackupRule-1", "ENABLED"),),
    functions=(Function("coffre-backup-database", 3538, None),),
    limits=AccountLimits(1000, 1000, 80_530_636_800, 1_000_000_000),
    point_in_time_recovery=True,
)
PRIVATE: Final = Subnet("subnet-1", "vpc-1", (Route("10.0.0.0/16", "local"), Route("0.0.0.0/0", "nat-1")))
PUBLIC: Final = replace(PRIVATE, routes=(Route("0.0.0.0/0", "igw-1"),))
ISOLATED: Final = replace(PRIVATE, routes=(Route("10.0.0.0/16", "local"),))
ENDPOINTS: Final = tuple(
    Endpoint(f"vpce-{service}", "vpc-1", service, service in ("s3", "dynamodb"), gateway_of=frozenset({"subnet-1"}))
    for service in SERVICES
)
NETWORK: Final = Network("eu-west-3", "vault", (PRIVATE,), ENDPOINTS)
MEMORY_REFUSED: Final = (
    "DrillFunction: 'MemorySize' value failed to satisfy constraint: Member must have value less than or equal to 3008 "
    "(Service: Lambda, Status Code: 400)"
)
LOCAL: Final = LocalFacts(f"arn:aws:iam::{ACCOUNT}:user/ops", "eu-west-3", 0.4, (3, 13))
REFUSED_UPLOAD: Final = Trouble("STORE_DENIED", "s3:PutObject was denied.", "Allow it.")


def policy(*statements: dict[str, object]) -> str:
    return json.dumps({"Version": "2012-10-17", "Statement": statements})


def s3_with(document: str) -> Network:
    endpoints = tuple(replace(one, policy=document) if one.service == "s3" else one for one in ENDPOINTS)
    return replace(NETWORK, endpoints=endpoints)


# --- the bench ---

_VAULT: Final = (
    Case(
        "VAULT_UNREACHABLE",
        lambda: check_use(replace(USE, listed=Trouble("BUCKET_MISSING", "It does not exist."))),
        lambda: check_use(USE),
        None,
    ),
    Case(
        "VAULT_UNWRITABLE",
        lambda: check_use(replace(USE, written=REFUSED_UPLOAD)),
        lambda: check_use(USE),
        lambda: check_use(replace(USE, tested=None, keeps_checksums=None)),
    ),
    Case(
        "VAULT_REGION",
        lambda: check_use(replace(USE, bucket_region="us-east-1")),
        lambda: check_use(USE),
        lambda: check_use(replace(USE, bucket_region=None)),
    ),
    Case(
        "VAULT_CHECKSUM_UNSUPPORTED",
        lambda: check_use(replace(USE, written=Trouble("CHECKSUM_UNSUPPORTED", "Unknown header."))),
        lambda: check_use(USE),
        None,
    ),
    Case(
        "VAULT_LOCK_NOT_ENFORCED",
        lambda: check_probe(replace(PROBE, locked_deleted=True)),
        lambda: check_probe(PROBE),
        lambda: check_probe(replace(PROBE, free_deleted=denied("s3:DeleteObjectVersion"), locked_deleted=None)),
    ),
    Case(
        "VAULT_VERSIONING_OFF",
        lambda: check_settings(replace(SETTINGS, versioning="Suspended")),
        lambda: check_settings(SETTINGS),
        lambda: check_settings(replace(SETTINGS, versioning=denied("s3:GetBucketVersioning"))),
    ),
    Case(
        "VAULT_PUBLIC",
        lambda: check_settings(replace(SETTINGS, public=PublicAccess(blocked=False, by_policy=True, by_grant=False))),
        lambda: check_settings(SETTINGS),
        lambda: check_settings(
            replace(SETTINGS, public=PublicAccess(False, denied("s3:GetBucketPolicyStatus"), by_grant=False))
        ),
    ),
    Case(
        "VAULT_PUBLIC_NOT_BLOCKED",
        lambda: check_settings(replace(SETTINGS, public=PublicAccess(blocked=False, by_policy=False, by_grant=False))),
        lambda: check_settings(SETTINGS),
        lambda: check_settings(
            replace(
                SETTINGS,
                public=PublicAccess(denied("s3:GetBucketPublicAccessBlock"), by_policy=False, by_grant=False),
            )
        ),
    ),
    Case(
        "VAULT_LIFECYCLE_EATS_PACKS",
        lambda: check_settings(replace(SETTINGS, lifecycle=(LifecycleRule("tidy", "", expires=True),))),
        lambda: check_settings(
            replace(SETTINGS, lifecycle=(LifecycleRule("versions", ""), LifecycleRule("s", "scratch/", expires=True)))
        ),
        lambda: check_settings(replace(SETTINGS, lifecycle=denied("s3:GetLifecycleConfiguration"))),
    ),
    Case(
        "HISTORY_LEAVES_WITH_ACCOUNT",
        lambda: check_settings(replace(SETTINGS, copied_to=())),
        lambda: check_settings(SETTINGS),
        lambda: check_settings(replace(SETTINGS, copied_to=denied("s3:GetReplicationConfiguration"))),
    ),
)


def _of(bucket: SourceBucket) -> Sources:
    return replace(SOURCES, buckets=(bucket,))


_BUCKETS: Final = (
    Case(
        "STORE_SECRET_UNUSABLE",
        lambda: check_sources(
            replace(SOURCES, secret_read=Trouble("SECRET_MISSING", "It does not exist."), buckets=())
        ),
        lambda: check_sources(SOURCES),
        None,
    ),
    Case(
        "BUCKET_UNREADABLE",
        lambda: check_sources(_of(replace(BUCKET, read=Trouble("STORE_DENIED", "s3:GetObject was denied.")))),
        lambda: check_sources(SOURCES),
        None,
    ),
    Case(
        "BUCKET_REGION",
        lambda: check_sources(_of(SourceBucket("photos", listed=Trouble("BUCKET_REGION", "It is in us-east-1.")))),
        lambda: check_sources(SOURCES),
        None,
    ),
    Case(
        "BUCKET_EMPTY",
        lambda: check_sources(_of(replace(BUCKET, empty_prefixes=("albums/",)))),
        lambda: check_sources(SOURCES),
        None,
    ),
    Case(
        "BUCKET_TAGS_UNREADABLE",
        lambda: check_sources(_of(replace(BUCKET, tagged=Trouble("STORE_DENIED", "It was denied.")))),
        lambda: check_sources(SOURCES),
        None,
    ),
    Case(
        "BUCKET_VERSIONING_OFF",
        lambda: check_sources(_of(replace(BUCKET, versioning="Off"))),
        lambda: check_sources(SOURCES),
        lambda: check_sources(_of(replace(BUCKET, versioning=denied("s3:GetBucketVersioning")))),
    ),
    Case(
        "VAULT_SAME_ACCOUNT_AS_SOURCE",
        lambda: check_sources(_of(replace(BUCKET, is_ours=True))),
        lambda: check_sources(SOURCES),
        None,
    ),
)


def _drilled(outcome: str = "passed", days: int = 3) -> TargetHistory:
    return replace(HISTORY, drill=DrillSeen(outcome, NOW - timedelta(days=days), "01K9X000000000000000000000", "Why."))


_HISTORY: Final = (
    Case(
        "NO_BACKUP",
        lambda: check_history(replace(HISTORY, newest_at=None), NOW),
        lambda: check_history(HISTORY, NOW),
        None,
    ),
    Case(
        "NO_VERIFIED_BACKUP",
        lambda: check_history(replace(HISTORY, verified_at=None), NOW),
        lambda: check_history(HISTORY, NOW),
        None,
    ),
    Case(
        "DRILL_NEVER_RUN",
        lambda: check_history(replace(HISTORY, drill=None), NOW),
        lambda: check_history(HISTORY, NOW),
        lambda: check_history(replace(HISTORY, drill=Trouble("REPORT_DAMAGED", "It cannot be read.")), NOW),
    ),
    Case("DRILL_FAILING", lambda: check_history(_drilled("failed"), NOW), lambda: check_history(_drilled(), NOW), None),
    Case(
        "DRILL_STALE",
        lambda: check_history(_drilled(days=15), NOW),
        lambda: check_history(_drilled(days=13), NOW),
        None,
    ),
    Case(
        "KEY_ONE_RECIPIENT",
        lambda: check_keys(replace(KEYS, recipients={"main": (KEY,)}), NOW),
        lambda: check_keys(KEYS, NOW),
        None,
    ),
    Case(
        "KEY_NOT_TRIED",
        lambda: check_keys(replace(KEYS, opened={KEY: NOW, SECOND: NOW - timedelta(days=91)}), NOW),
        lambda: check_keys(KEYS, NOW),
        None,
    ),
    Case(
        "KEY_IDENTITY_MISSING",
        lambda: check_keys(replace(KEYS, identity=False), NOW),
        lambda: check_keys(KEYS, NOW),
        lambda: check_keys(replace(KEYS, identity=denied("secretsmanager:DescribeSecret")), NOW),
    ),
)

_STACK: Final = (
    Case(
        "SCHEDULE_DISABLED",
        lambda: check_stack(replace(STACK, rules=(Rule("DailyBackupRule", "coffre-DailyBackupRule-1", "DISABLED"),))),
        lambda: check_stack(STACK),
        lambda: check_stack(replace(STACK, rules=denied("cloudformation:ListStackResources"))),
    ),
    Case(
        "SUBSCRIPTION_UNCONFIRMED",
        lambda: check_stack(
            replace(
                STACK,
                subscriptions=(
                    Subscription("email", "ops@example.org", is_confirmed=True),
                    Subscription("email", "boss@example.org", is_confirmed=False),
                ),
            )
        ),
        lambda: check_stack(STACK),
        lambda: check_stack(replace(STACK, subscriptions=denied("sns:ListSubscriptionsByTopic"))),
    ),
    Case(
        "ALERTS_REACH_NO_ONE",
        lambda: check_stack(replace(STACK, subscriptions=())),
        lambda: check_stack(STACK),
        lambda: check_stack(replace(STACK, subscriptions=denied("sns:ListSubscriptionsByTopic"))),
    ),
    Case(
        "CONCURRENCY_TOO_LOW",
        lambda: check_stack(replace(STACK, targets=8, limits=AccountLimits(10, 10, 100, 1))),
        lambda: check_stack(STACK),
        lambda: check_stack(replace(STACK, limits=denied("lambda:GetAccountSettings"))),
    ),
    Case(
        "FUNCTION_STOPPED",
        lambda: check_stack(replace(STACK, functions=(Function("coffre-rotate", 1024, 0),))),
        lambda: check_stack(STACK),
        lambda: check_stack(
            replace(STACK, functions=(Function("coffre-rotate", 1024, denied("lambda:GetFunctionConcurrency")),))
        ),
    ),
    Case(
        "MEMORY_QUOTA",
        lambda: check_stack(
            replace(
                STACK,
                refusals=(MEMORY_REFUSED,),
            )
        ),
        lambda: check_stack(STACK),
        lambda: check_stack(replace(STACK, refusals=denied("cloudformation:DescribeStackEvents"))),
    ),
    Case(
        "QUOTA",
        lambda: check_stack(replace(STACK, limits=AccountLimits(1000, 1000, 100, 90))),
        lambda: check_stack(STACK),
        lambda: check_stack(replace(STACK, limits=denied("lambda:GetAccountSettings"))),
    ),
    Case(
        "CATALOG_RECOVERY_OFF",
        lambda: check_stack(replace(STACK, point_in_time_recovery=False)),
        lambda: check_stack(STACK),
        lambda: check_stack(replace(STACK, point_in_time_recovery=denied("dynamodb:DescribeContinuousBackups"))),
    ),
    Case(
        "TEMPLATE_OLDER",
        lambda: check_stack(replace(STACK, version=None)),
        lambda: check_stack(STACK),
        None,
    ),
)

_NETWORK: Final = (
    Case(
        "SUBNET_WITHOUT_ROUTE",
        lambda: check_network(Network("eu-west-3", "vault", (PUBLIC,))),
        lambda: check_network(NETWORK),
        lambda: check_network(Network("eu-west-3", "vault", denied("ec2:DescribeSubnets"))),
    ),
    Case(
        "SERVICE_UNREACHABLE",
        lambda: check_reach(Reach({"events": "events.example: TimeoutError: timed out", "sns": None})),
        lambda: check_reach(Reach({"events": None, "sns": None})),
        None,
    ),
    Case(
        "ENDPOINT_POLICY",
        lambda: check_network(
            s3_with(policy({"Effect": "Allow", "Principal": "*", "Action": "s3:*", "Resource": "arn:aws:s3:::other/*"}))
        ),
        lambda: check_network(NETWORK),
        lambda: check_network(replace(NETWORK, endpoints=denied("ec2:DescribeVpcEndpoints"))),
    ),
)

_LOCAL: Final = (
    Case(
        "CREDENTIALS_UNUSABLE",
        lambda: check_local(replace(LOCAL, caller=Refused("sts:GetCallerIdentity", "ExpiredToken: It is over."))),
        lambda: check_local(LOCAL),
        None,
    ),
    Case(
        "REGION_MISSING",
        lambda: check_local(replace(LOCAL, region=None)),
        lambda: check_local(LOCAL),
        None,
    ),
    Case(
        "CLOCK_SKEW",
        lambda: check_local(replace(LOCAL, clock_ahead_seconds=-6.0)),
        lambda: check_local(LOCAL),
        lambda: check_local(replace(LOCAL, clock_ahead_seconds=None)),
    ),
    Case(
        "PYTHON_UNSUPPORTED",
        lambda: check_local(replace(LOCAL, python=(3, 12))),
        lambda: check_local(LOCAL),
        None,
    ),
)

BENCH: Final = (*_VAULT, *_BUCKETS, *_HISTORY, *_STACK, *_NETWORK, *_LOCAL)
