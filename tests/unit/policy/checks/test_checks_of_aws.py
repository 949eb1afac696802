"""What the bench does not show: answers that are missing within a group, and the details of single checks."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta

import pytest
from tests.unit.policy.checks.fixtures_buckets import BUCKET, DENIED, sources
from tests.unit.policy.checks.fixtures_history import DRILL, NOW, PROOFS
from tests.unit.policy.checks.fixtures_keys import KEY, KEYS, SECOND
from tests.unit.policy.checks.fixtures_local import LOCAL
from tests.unit.policy.checks.fixtures_network import (
    ENDPOINTS,
    ISOLATED,
    NETWORK,
    PRIVATE,
    PUBLIC,
    policy,
    s3_with,
)
from tests.unit.policy.checks.fixtures_stack import FUNCTION, NEW_ACCOUNT, RULE, STACK
from tests.unit.policy.checks.fixtures_vault import OPEN, PROBE, SETTINGS, USE

from coffre.model.checkup import CheckResult, Severity, State
from coffre.policy.checks.answers import Refused, Trouble
from coffre.policy.checks.bucket_facts import SourceBucket
from coffre.policy.checks.check import facts_of
from coffre.policy.checks.copies_facts import CopiesFacts
from coffre.policy.checks.registry import run_checks
from coffre.policy.checks.stack_facts import Network, Route, Subnet
from coffre.policy.checks.vault_facts import LifecycleRule


def found(*groups: object, state: State = State.FINDING) -> list[CheckResult]:
    return [one for one in run_checks(facts_of(*groups)) if one.state is state]


def codes(*groups: object, state: State = State.FINDING) -> set[str]:
    return {one.code for one in found(*groups, state=state)}


def denied(action: str) -> Refused:
    return Refused(action, "AccessDenied: no", is_denied=True)


_REFUSALS = (
    (replace(SETTINGS, versioning=denied("s3:GetBucketVersioning")), {"VAULT_VERSIONING_OFF"}),
    (replace(SETTINGS, lifecycle=denied("s3:GetLifecycleConfiguration")), {"VAULT_LIFECYCLE_EATS_PACKS"}),
    (replace(SETTINGS, copied_to=denied("s3:GetReplicationConfiguration")), {"HISTORY_LEAVES_WITH_ACCOUNT"}),
    (
        replace(SETTINGS, public=replace(OPEN, blocked=denied("s3:GetBucketPublicAccessBlock"))),
        {"VAULT_PUBLIC_NOT_BLOCKED"},
    ),
    (
        replace(PROBE, free_deleted=denied("s3:DeleteObjectVersion"), locked_deleted=None),
        {"VAULT_LOCK_NOT_ENFORCED"},
    ),
    (sources(replace(BUCKET, versioning=denied("s3:GetBucketVersioning"))), {"BUCKET_VERSIONING_OFF"}),
    (replace(KEYS, identity=denied("secretsmanager:DescribeSecret")), {"KEY_IDENTITY_MISSING"}),
    (replace(STACK, rules=denied("cloudformation:ListStackResources")), {"SCHEDULE_DISABLED"}),
    (replace(STACK, rules=(replace(RULE, state=denied("events:DescribeRule")),)), {"SCHEDULE_DISABLED"}),
    (
        replace(STACK, subscriptions=denied("sns:ListSubscriptionsByTopic")),
        {"SUBSCRIPTION_UNCONFIRMED", "ALERTS_REACH_NO_ONE"},
    ),
    (replace(STACK, limits=denied("lambda:GetAccountSettings")), {"CONCURRENCY_TOO_LOW", "QUOTA"}),
    (
        replace(STACK, functions=(replace(FUNCTION, reserved=denied("lambda:GetFunctionConcurrency")),)),
        {"FUNCTION_STOPPED"},
    ),
    (replace(STACK, refusals=denied("cloudformation:DescribeStackEvents")), {"MEMORY_QUOTA"}),
    (
        replace(STACK, point_in_time_recovery=denied("dynamodb:DescribeContinuousBackups")),
        {"CATALOG_RECOVERY_OFF"},
    ),
    (replace(NETWORK, subnets=denied("ec2:DescribeSubnets")), {"SUBNET_WITHOUT_ROUTE"}),
    (replace(NETWORK, endpoints=denied("ec2:DescribeVpcEndpoints")), {"ENDPOINT_POLICY"}),
    (
        replace(NETWORK, subnets=(ISOLATED,), endpoints=denied("ec2:DescribeVpcEndpoints")),
        {"ENDPOINT_POLICY", "SUBNET_WITHOUT_ROUTE"},
    ),
)


@pytest.mark.parametrize(("facts", "unseen"), _REFUSALS)
def test_a_call_that_is_denied_is_never_ok_and_names_the_permission(facts: object, unseen: set[str]) -> None:
    results = found(facts, CopiesFacts(()), state=State.COULD_NOT_LOOK)

    assert {one.code for one in results} == unseen
    assert found(facts) == []
    for one in results:
        assert "was denied to the caller" in one.sentence
        assert ":" in one.sentence.partition(" was denied")[0].partition("could not be read: ")[2]


def test_a_call_that_failed_otherwise_says_why() -> None:
    refused = Refused("lambda:GetAccountSettings", "ReadTimeoutError: timed out")

    (first, _) = found(replace(STACK, limits=refused), state=State.COULD_NOT_LOOK)

    assert first.sentence.endswith("with lambda:GetAccountSettings: ReadTimeoutError: timed out")


# --- the vault ---


def test_what_was_not_tried_is_not_ok() -> None:
    nothing = replace(USE, tested=None, keeps_checksums=None)

    assert codes(nothing, state=State.COULD_NOT_LOOK) == {"VAULT_UNWRITABLE", "VAULT_CHECKSUM_UNSUPPORTED"}


def test_a_store_that_forgets_checksums_is_a_warning() -> None:
    (one,) = found(replace(USE, keeps_checksums=False))

    assert (one.code, one.severity) == ("VAULT_CHECKSUM_UNSUPPORTED", Severity.WARNING)


def test_whether_a_vault_is_public_is_not_asked_when_it_blocks_that() -> None:
    assert codes(SETTINGS, state=State.OK) >= {"VAULT_PUBLIC", "VAULT_PUBLIC_NOT_BLOCKED"}
    assert "VAULT_PUBLIC" in codes(
        replace(SETTINGS, public=replace(OPEN, by_policy=denied("s3:GetBucketPolicyStatus"))),
        state=State.COULD_NOT_LOOK,
    )


@pytest.mark.parametrize(
    ("prefix", "rule", "is_harmful"),
    [
        ("", LifecycleRule("a", "v1/packs/01", expires=True), True),
        ("", LifecycleRule("a", "v1/journal/", expires=True), True),
        ("", LifecycleRule("a", "v1", archives_to=("DEEP_ARCHIVE",)), True),
        ("", LifecycleRule("a", "v1/", archives_to=("STANDARD_IA", "GLACIER_IR")), False),
        ("", LifecycleRule("a", "v1/", needs_tag=True, expires=True), False),
        ("", LifecycleRule("a", "v1/restores/", expires=True), False),
        ("team", LifecycleRule("a", "v1/", expires=True), False),
        ("team", LifecycleRule("a", "te", expires=True), True),
        ("team", LifecycleRule("a", "team/v1/backups/", expires=True), True),
    ],
)
def test_a_rule_is_harmful_where_it_reaches_backups(prefix: str, rule: LifecycleRule, is_harmful: bool) -> None:
    results = codes(replace(SETTINGS, prefix=prefix, lifecycle=(rule,)))

    assert results == ({"VAULT_LIFECYCLE_EATS_PACKS"} if is_harmful else set())


# --- buckets ---


def test_a_bucket_that_cannot_be_listed_is_judged_no_further() -> None:
    facts = sources(SourceBucket("photos", listed=DENIED), BUCKET)

    assert codes(facts) == {"BUCKET_UNREADABLE"}
    assert codes(facts, state=State.OK) == set(), "nothing is known about it"


# --- drills and keys ---


def test_reports_of_drills_that_cannot_be_read_are_not_ok() -> None:
    facts = replace(PROOFS, drill=Trouble("REPORT_DAMAGED", "It cannot be read."))

    assert codes(facts, state=State.COULD_NOT_LOOK) == {"DRILL_NEVER_RUN", "DRILL_FAILING", "DRILL_STALE"}


def test_a_drill_that_could_not_run_says_less_than_one_that_failed() -> None:
    facts = replace(PROOFS, drill=replace(DRILL, outcome="not_possible"))

    (one,) = found(facts)

    assert (one.code, one.severity) == ("DRILL_FAILING", Severity.WARNING)


def test_verifying_tries_the_only_key_of_a_target() -> None:
    one_key = replace(KEYS, recipients={"main": (KEY,)}, opened={}, verified_at={"main": NOW})

    assert "KEY_NOT_TRIED" not in codes(one_key)


def test_verifying_proves_nothing_about_one_of_two_keys() -> None:
    results = found(replace(KEYS, opened={}, verified_at={"main": NOW}))

    assert [(one.code, one.subject) for one in results] == [("KEY_NOT_TRIED", KEY), ("KEY_NOT_TRIED", SECOND)]


def test_a_key_that_encrypts_nothing_yet_has_time() -> None:
    assert found(replace(KEYS, opened={}, used_since={})) == []
    assert found(replace(KEYS, opened={}, used_since={KEY: NOW - timedelta(days=91)}))


# --- the stack ---


def test_a_rule_that_was_deleted_is_found() -> None:
    assert codes(replace(STACK, rules=(replace(RULE, state=None),))) == {"SCHEDULE_DISABLED"}
    assert codes(replace(STACK, rules=())) == {"SCHEDULE_DISABLED"}


def test_a_new_account_is_recognised_by_its_limits() -> None:
    assert codes(replace(STACK, limits=NEW_ACCOUNT, functions=())) == {"MEMORY_QUOTA"}


def test_a_function_that_has_the_memory_shows_that_it_is_allowed() -> None:
    assert codes(replace(STACK, limits=NEW_ACCOUNT)) == set()


def test_a_new_account_may_have_the_default_memory() -> None:
    assert codes(replace(STACK, limits=NEW_ACCOUNT, wanted_memory_mb={"MemorySize": 3008}, functions=())) == set()


@pytest.mark.parametrize(
    ("version", "words"),
    [
        (None, "The stack is older than the command"),
        ("0.0.9", "The stack is older than the command"),
        ("0.10.0", "The command is older than the stack"),
    ],
)
def test_the_older_of_stack_and_command_is_named(version: str | None, words: str) -> None:
    (one,) = found(replace(STACK, version=version, command_version="0.9.0"))

    assert one.code == "TEMPLATE_OLDER"
    assert one.sentence.startswith(words)


# --- the network ---


@pytest.mark.parametrize(
    ("subnet", "has_endpoints", "missing"),
    [
        (PRIVATE, False, None),
        (PUBLIC, False, "s3, dynamodb, ssm, secretsmanager, sns, events, lambda"),
        (ISOLATED, True, None),
        (replace(PRIVATE, id="subnet-2", routes=()), True, "s3, dynamodb"),
        (
            replace(PRIVATE, routes=(Route("0.0.0.0/0", "nat-1", is_active=False),)),
            False,
            "s3, dynamodb, ssm, secretsmanager, sns, events, lambda",
        ),
    ],
    ids=["nat", "public", "endpoints", "table without gateways", "dead nat"],
)
def test_a_subnet_needs_a_way_to_every_service(subnet: Subnet, has_endpoints: bool, missing: str | None) -> None:
    results = found(Network("eu-west-3", "vault", (subnet,), ENDPOINTS if has_endpoints else ()))

    if missing is None:
        assert results == []
    else:
        (one,) = results
        assert one.evidence is not None
        assert f"no endpoint for {missing}" in one.evidence
        assert one.cure is not None
        assert one.cure.count("create-vpc-endpoint") == len(missing.split(", "))


def test_functions_outside_a_vpc_reach_everything() -> None:
    assert codes(Network("eu-west-3", "vault"), state=State.OK) == {"SUBNET_WITHOUT_ROUTE", "ENDPOINT_POLICY"}


@pytest.mark.parametrize(
    "change", [{"is_available": False}, {"is_private_dns": False}, {"vpc": "vpc-2"}], ids=["pending", "no dns", "far"]
)
def test_an_endpoint_that_does_not_serve_does_not_count(change: dict[str, object]) -> None:
    broken = tuple(replace(one, **change) if one.service == "events" else one for one in ENDPOINTS)  # type: ignore[arg-type]

    assert codes(Network("eu-west-3", "vault", (ISOLATED,), broken)) == {"SUBNET_WITHOUT_ROUTE"}


_ALLOW = {"Effect": "Allow", "Principal": "*", "Action": "*", "Resource": "*"}


@pytest.mark.parametrize(
    ("statements", "lets_through"),
    [
        ([_ALLOW], True),
        ([{**_ALLOW, "Resource": "arn:aws:s3:::vault/*"}], False),  # ListBucket names the bucket
        ([{**_ALLOW, "Action": "s3:Get*"}], False),
        ([{**_ALLOW, "Condition": {"StringEquals": {"aws:PrincipalOrgID": "o-1"}}}], True),
        ([_ALLOW, {"Effect": "Deny", "Principal": "*", "NotAction": "s3:GetObject", "Resource": "*"}], False),
        ([_ALLOW, {"Effect": "Deny", "Principal": "*", "Action": "s3:*", "Resource": "arn:aws:s3:::other/*"}], True),
        ([_ALLOW, {"Effect": "Deny", "Principal": "*", "Action": "*", "NotResource": "arn:aws:s3:::vault*"}], True),
        ([], False),
    ],
)
def test_a_policy_of_an_endpoint_has_to_let_a_backup_through(
    statements: list[dict[str, object]], lets_through: bool
) -> None:
    assert codes(s3_with(policy(*statements))) == (set() if lets_through else {"ENDPOINT_POLICY"})


def test_endpoints_of_other_services_are_not_judged() -> None:
    other = replace(ENDPOINTS[0], service="execute-api", policy=policy())

    assert codes(replace(NETWORK, endpoints=(*ENDPOINTS, other))) == set()


# --- this machine ---


def test_without_credentials_the_rest_is_looked_at() -> None:
    nothing = replace(LOCAL, caller=Refused("sts:GetCallerIdentity", "NoCredentialsError"), clock_ahead_seconds=None)

    assert codes(nothing) == {"CREDENTIALS_UNUSABLE"}
    assert codes(nothing, state=State.COULD_NOT_LOOK) == {"LOCAL_CLOCK_SKEW"}
