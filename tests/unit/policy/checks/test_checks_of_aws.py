"""Each check says what it should about its fixtures, and nothing else."""

from collections.abc import Iterable
from dataclasses import replace

import pytest
from tests.unit.policy.checks.bench_of_aws import (
    BENCH,
    BUCKET,
    ENDPOINTS,
    HISTORY,
    ISOLATED,
    KEY,
    KEYS,
    LOCAL,
    NETWORK,
    NOW,
    PRIVATE,
    PUBLIC,
    SETTINGS,
    SOURCES,
    STACK,
    USE,
    Case,
    policy,
    s3_with,
)

from coffre.model.checkup import CheckResult, Severity, State
from coffre.policy.checks import buckets, history, local, network, stack, vault
from coffre.policy.checks.answers import Refused
from coffre.policy.checks.code import Code
from coffre.policy.checks.network import check_network
from coffre.policy.checks.stack import check_stack
from coffre.policy.checks.stack_facts import AccountLimits, Function, Network, Route, Subnet
from coffre.policy.checks.vault import check_settings, check_use
from coffre.policy.checks.vault_facts import LifecycleRule, PublicAccess, Trouble, WriteTest

MODULES = (buckets, history, local, network, stack, vault)


def states(results: Iterable[CheckResult], code: str) -> list[State]:
    return [one.state for one in results if one.code == code]


def findings(results: Iterable[CheckResult]) -> set[str]:
    return {one.code for one in results if one.state is State.FINDING}


@pytest.mark.parametrize("case", BENCH, ids=[case.code for case in BENCH])
def test_a_code_is_found_where_it_is_provoked_and_nowhere_else(case: Case) -> None:
    found = list(case.found())
    assert State.FINDING in states(found, case.code)
    assert findings(case.fine()) == set()
    assert set(states(case.fine(), case.code)) == {State.OK}
    if case.unseen is not None:
        assert set(states(case.unseen(), case.code)) == {State.COULD_NOT_LOOK}
    for one in found:
        assert one.sentence.endswith("."), "a sentence"
        assert one.evidence
        assert one.state is State.OK or one.cure


def test_every_code_is_on_the_bench() -> None:
    codes = {code.name for module in MODULES for code in vars(module).values() if isinstance(code, Code)}

    assert codes == {case.code for case in BENCH}


@pytest.mark.parametrize("case", [case for case in BENCH if case.unseen], ids=lambda case: case.code)
def test_a_missing_permission_is_named(case: Case) -> None:
    assert case.unseen is not None
    for one in case.unseen():
        if one.state is State.COULD_NOT_LOOK:
            assert one.cure
            assert ":" in one.cure or "--probe" in one.evidence


# --- the vault ---


def test_a_vault_that_cannot_be_listed_is_judged_no_further() -> None:
    results = list(check_use(replace(USE, listed=Trouble("STORE_DENIED", "No."))))

    assert [one.code for one in results] == ["VAULT_UNREACHABLE"]


def test_a_store_that_forgets_checksums_is_found() -> None:
    assert findings(check_use(replace(USE, keeps_checksums=False))) == {"VAULT_CHECKSUM_UNSUPPORTED"}


def test_without_a_manifest_nothing_is_said_about_checksums() -> None:
    results = check_use(replace(USE, tested=WriteTest.PACK, keeps_checksums=None))

    assert states(results, "VAULT_CHECKSUM_UNSUPPORTED") == []


def test_locks_that_the_bucket_does_not_have_are_found_without_a_probe() -> None:
    assert findings(check_use(replace(USE, locks=Trouble("LOCKS_OFF", "None.")))) == {"VAULT_LOCK_NOT_ENFORCED"}


@pytest.mark.parametrize(
    ("prefix", "rule", "is_harmful"),
    [
        ("", LifecycleRule("a", "", expires=True), True),
        ("", LifecycleRule("a", "v1/packs/01", expires=True), True),
        ("", LifecycleRule("a", "v1", archives_to=("DEEP_ARCHIVE",)), True),
        ("", LifecycleRule("a", "v1/", archives_to=("STANDARD_IA", "GLACIER_IR")), False),
        ("", LifecycleRule("a", "v1/", needs_tag=True, expires=True), False),
        ("", LifecycleRule("a", "v1/restores/", expires=True), False),
        ("", LifecycleRule("a", "logs/", expires=True), False),
        ("team", LifecycleRule("a", "v1/", expires=True), False),
        ("team", LifecycleRule("a", "te", expires=True), True),
        ("team", LifecycleRule("a", "team/v1/backups/", expires=True), True),
    ],
)
def test_a_rule_is_harmful_where_it_reaches_backups(prefix: str, rule: LifecycleRule, is_harmful: bool) -> None:
    results = check_settings(replace(SETTINGS, prefix=prefix, lifecycle=(rule,)))

    assert ("VAULT_LIFECYCLE_EATS_PACKS" in findings(results)) is is_harmful


def test_a_public_vault_is_worse_than_one_that_blocks_nothing() -> None:
    public = replace(SETTINGS, public=PublicAccess(blocked=False, by_policy=False, by_grant=True))

    severities = {one.code: one.severity for one in check_settings(public) if one.state is State.FINDING}

    assert severities == {"VAULT_PUBLIC": Severity.BLOCKER, "VAULT_PUBLIC_NOT_BLOCKED": Severity.WARNING}


# --- buckets ---


def test_buckets_of_other_stores_are_not_asked_what_only_aws_knows() -> None:
    other = replace(SOURCES, buckets=(replace(BUCKET, versioning=None, is_ours=None),))

    codes = {one.code for one in buckets.check_sources(other)}

    assert not codes & {"BUCKET_VERSIONING_OFF", "VAULT_SAME_ACCOUNT_AS_SOURCE"}


# --- history and keys ---


def test_a_target_without_backups_is_told_that_alone() -> None:
    results = history.check_history(replace(HISTORY, newest_at=None, drill=None, verified_at=None), NOW)

    assert findings(results) == {"NO_BACKUP"}


def test_drills_that_are_switched_off_are_not_missed() -> None:
    assert findings(history.check_history(replace(HISTORY, drill=None, drills_off=True), NOW)) == set()


def test_verifying_tries_the_only_key_of_a_target() -> None:
    one_key = replace(KEYS, recipients={"main": (KEY,)}, opened={}, verified_at={"main": NOW})

    assert "KEY_NOT_TRIED" not in findings(history.check_keys(one_key, NOW))


def test_verifying_proves_nothing_about_one_of_two_keys() -> None:
    two_keys = replace(KEYS, opened={}, verified_at={"main": NOW})

    results = [one for one in history.check_keys(two_keys, NOW) if one.code == "KEY_NOT_TRIED"]

    assert [one.state for one in results] == [State.FINDING, State.FINDING]


def test_a_new_key_gets_time() -> None:
    assert findings(history.check_keys(replace(KEYS, opened={}, used_since={}), NOW)) == set()


def test_without_encryption_no_key_is_judged() -> None:
    assert list(history.check_keys(replace(KEYS, is_encrypted=False, recipients={"main": ()}), NOW)) == []


# --- the stack ---


def test_a_rule_that_was_deleted_is_found() -> None:
    assert not isinstance(STACK.rules, Refused)
    gone = replace(STACK, rules=(replace(STACK.rules[0], state=None),))

    assert findings(check_stack(gone)) == {"SCHEDULE_DISABLED"}


def test_a_new_account_is_recognised_by_its_limits() -> None:
    new = replace(STACK, limits=AccountLimits(10, 10, 100, 1), functions=())

    assert findings(check_stack(new)) == {"MEMORY_QUOTA"}


def test_a_function_that_has_the_memory_shows_that_it_is_allowed() -> None:
    assert findings(check_stack(replace(STACK, limits=AccountLimits(10, 10, 100, 1)))) == set()


def test_a_new_account_may_have_the_default_memory() -> None:
    new = replace(
        STACK,
        limits=AccountLimits(10, 10, 100, 1),
        wanted_memory_mb={"MemorySize": 3008},
        functions=(Function("coffre-drill", 3008, None),),
    )

    assert findings(check_stack(new)) == set()


@pytest.mark.parametrize(
    ("stack_version", "words"),
    [("0.0.9", "The stack is older than the command"), ("0.2.0", "The command is older than the stack")],
)
def test_the_older_of_stack_and_command_is_named(stack_version: str, words: str) -> None:
    (found,) = (one for one in check_stack(replace(STACK, version=stack_version)) if one.state is State.FINDING)

    assert found.code == "TEMPLATE_OLDER"
    assert found.sentence.startswith(words)


# --- the network ---


@pytest.mark.parametrize(
    ("subnet", "endpoints", "missing"),
    [
        (PRIVATE, False, None),
        (PUBLIC, False, "s3, dynamodb, ssm, secretsmanager, sns, events, lambda"),
        (ISOLATED, True, None),
        (PUBLIC, True, None),
        (replace(PRIVATE, id="subnet-2", routes=()), True, "s3, dynamodb"),
        (
            replace(PRIVATE, routes=(Route("0.0.0.0/0", "nat-1", is_active=False),)),
            False,
            "s3, dynamodb, ssm, secretsmanager, sns, events, lambda",
        ),
    ],
    ids=["nat", "public", "endpoints", "public with endpoints", "table without gateways", "dead nat"],
)
def test_a_subnet_needs_a_way_to_every_service(subnet: Subnet, endpoints: bool, missing: str | None) -> None:
    results = list(check_network(Network("eu-west-3", "vault", (subnet,), ENDPOINTS if endpoints else ())))
    found = [one for one in results if one.state is State.FINDING]

    if missing is None:
        assert not found
    else:
        (one,) = found
        assert f"no endpoint for {missing}" in one.evidence
        assert one.cure is not None
        assert one.cure.count("create-vpc-endpoint") == len(missing.split(", "))


@pytest.mark.parametrize(
    "change", [{"is_available": False}, {"is_private_dns": False}, {"vpc": "vpc-2"}], ids=["pending", "no dns", "far"]
)
def test_an_endpoint_that_does_not_serve_does_not_count(change: dict[str, object]) -> None:
    broken = tuple(replace(one, **change) if one.service == "events" else one for one in ENDPOINTS)  # type: ignore[arg-type]

    assert findings(check_network(Network("eu-west-3", "vault", (ISOLATED,), broken))) == {"SUBNET_WITHOUT_ROUTE"}


_ALLOW = {"Effect": "Allow", "Principal": "*", "Action": "*", "Resource": "*"}


@pytest.mark.parametrize(
    ("statements", "lets_through"),
    [
        ([_ALLOW], True),
        ([{**_ALLOW, "Resource": ["arn:aws:s3:::vault", "arn:aws:s3:::vault/*"]}], True),
        ([{**_ALLOW, "Resource": "arn:aws:s3:::vault/*"}], False),  # ListBucket names the bucket
        ([{**_ALLOW, "Action": "s3:Get*"}], False),
        ([{**_ALLOW, "Condition": {"StringEquals": {"aws:PrincipalOrgID": "o-1"}}}], True),
        ([_ALLOW, {"Effect": "Deny", "Principal": "*", "NotAction": "s3:GetObject", "Resource": "*"}], False),
        ([_ALLOW, {"Effect": "Deny", "Principal": "*", "Action": "s3:*", "Resource": "arn:aws:s3:::other/*"}], True),
        (
            [_ALLOW, {"Effect": "Deny", "Principal": "*", "Action": "*", "NotResource": "arn:aws:s3:::vault*"}],
            True,
        ),
        ([], False),
    ],
)
def test_a_policy_of_an_endpoint_has_to_let_a_backup_through(
    statements: list[dict[str, object]], lets_through: bool
) -> None:
    results = check_network(s3_with(policy(*statements)))

    assert ("ENDPOINT_POLICY" not in findings(results)) is lets_through


def test_endpoints_of_other_services_are_not_judged() -> None:
    other = replace(ENDPOINTS[0], service="execute-api", policy=policy())

    assert findings(check_network(replace(NETWORK, endpoints=(*ENDPOINTS, other)))) == set()


# --- this machine ---


def test_without_credentials_the_rest_is_looked_at() -> None:
    nothing = replace(LOCAL, caller=Refused("sts:GetCallerIdentity", "NoCredentialsError"), clock_ahead_seconds=None)

    results = list(local.check_local(nothing))

    assert findings(results) == {"CREDENTIALS_UNUSABLE"}
    assert states(results, "CLOCK_SKEW") == [State.COULD_NOT_LOOK]
