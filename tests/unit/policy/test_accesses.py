"""Who accessed the vault: Coffre's own functions and AWS are told apart from everyone else, in bounded memory."""

from __future__ import annotations

import tracemalloc
from datetime import timedelta
from typing import Any

import pytest
from tests.access_logs import ACCOUNT, ALICE, MALLORY, NOON, OWN, OWNER, ROLES, line

from coffre.model.access import AccessAction, AccessGroup
from coffre.policy.access_log import parse_line
from coffre.policy.accesses import OTHER_EXPECTED, OTHERS, Principals, Tally, alarming, matches

PRINCIPALS = Principals(ACCOUNT, ROLES, (ALICE, f"arn:aws:sts::{ACCOUNT}:assumed-role/Operators/*"))


def tally(*lines: str, **options: Any) -> Tally:
    made = Tally(PRINCIPALS, **options)
    for one in lines:
        made.add(parse_line(one.encode()))
    return made


def groups(*lines: str, **options: Any) -> list[tuple[str, AccessAction, int]]:
    return [(one.principal, one.action, one.requests) for one in tally(*lines, **options).report().groups]


def test_coffres_own_functions_and_lifecycle_rules_are_counted_apart() -> None:
    report = tally(line(OWN), line(OWN, "REST.DELETE.OBJECT"), line("AmazonS3", "S3.EXPIRE.OBJECT")).report()

    assert (report.groups, report.own, report.aws) == ((), 2, 1)


@pytest.mark.parametrize(
    "principal",
    [
        MALLORY,
        OWNER,
        "-",
        OWN.replace(ACCOUNT, "666666666666"),
        f"arn:aws:sts::{ACCOUNT}:assumed-role/coffre-RestoreRole-1ABCD/coffre-restore",
        f"arn:aws:sts::{ACCOUNT}:assumed-role/coffre-RestoreRole-1ABC",
        f"arn:aws:iam::{ACCOUNT}:user/coffre-RestoreRole-1ABC/coffre-restore",
        f"x{OWN}",
        "AmazonS3",
        "svc:access-analyzer.amazonaws.com",
    ],
)
def test_whoever_is_not_one_of_the_functions_is_someone_else(principal: str) -> None:
    assert groups(line(principal)) == [(principal, AccessAction.READ, 1)]


def test_requests_are_added_up_by_principal_and_action() -> None:
    # Given what two principals did in two days
    lines = [
        line(at=NOON, key="a", ip="192.0.2.1"),
        line(at=NOON + timedelta(hours=1), key="b", ip="192.0.2.2"),
        line(at=NOON + timedelta(days=1), key="a", status="403"),
        line(operation="BATCH.DELETE.OBJECT", key="a"),
        line(ALICE, key="c"),
    ]

    # Then each kind of what each did is one group, the unexpected first
    read, deleted, expected = tally(*lines).report().groups
    assert (read.principal, read.requests, read.refused, read.day) == (MALLORY, 3, 1, None)
    assert (read.first_at, read.last_at) == (NOON, NOON + timedelta(days=1))
    assert (read.keys, read.ips) == (("a", "b"), ("192.0.2.1", "192.0.2.2", "192.0.2.3"))
    assert (deleted.action, deleted.requests) == (AccessAction.DELETE, 1)
    assert (expected.principal, expected.expected) == (ALICE, True)

    # And by days if that is wanted
    assert [one.day for one in tally(*lines, by_day=True).report().groups] == ["2026-11-27"] * 3 + ["2026-11-28"]


def test_objects_outside_of_the_vaults_folder_are_of_no_interest() -> None:
    lines = [
        line(key="other/a"),
        line(key="vaults/a"),
        line(key="vault/a"),
        line(operation="REST.PUT.LIFECYCLE", key=None),
    ]

    assert groups(*lines, prefix="vault/") == [(MALLORY, AccessAction.CONFIGURE, 1), (MALLORY, AccessAction.READ, 1)]


def test_lines_that_cannot_be_read_are_counted() -> None:
    assert tally("", "nonsense", line()).report().unreadable == 2


@pytest.mark.parametrize(
    ("wanted", "is_alarming"),
    [
        (line(), True),
        (line(operation="REST.PUT.OBJECT"), True),
        (line(operation="REST.DELETE.OBJECT"), True),
        (line(operation="REST.PUT.LIFECYCLE", key=None), True),
        (line(principal="-"), True),
        (line(status="403"), False),
        (line(operation="REST.HEAD.OBJECT"), False),
        (line(operation="REST.GET.BUCKET", key=None), False),
        (line(ALICE), False),
        (line(f"arn:aws:sts::{ACCOUNT}:assumed-role/Operators/bob@example.com", "REST.DELETE.OBJECT"), False),
        (line(f"arn:aws:sts::{ACCOUNT}:assumed-role/Operators2/bob@example.com"), True),
    ],
)
def test_someone_has_to_know_of_what_was_read_or_changed(wanted: str, is_alarming: bool) -> None:
    assert bool(alarming(tally(wanted).report().groups)) is is_alarming


@pytest.mark.parametrize(
    ("pattern", "text", "fits"),
    [
        ("*:user/alice", ALICE, True),
        (ALICE, ALICE, True),
        ("arn:aws:iam::*", ALICE, True),
        ("*alice*", f"{ALICE}\n", True),
        ("alice", ALICE, False),
        ("arn.aws*", ALICE, False),
        ("*[a-z]", ALICE, False),
        ("-", "-", True),
        ("", "", True),
    ],
)
def test_a_star_is_the_only_thing_that_is_special(pattern: str, text: str, fits: bool) -> None:
    assert matches(pattern, text) is fits


def test_a_flood_of_names_hides_nothing_and_takes_no_memory() -> None:
    # Given a principal that takes a new session's name for each of 4,000 requests, and then deletes
    made = Tally(PRINCIPALS, by_day=True)
    tracemalloc.start()
    for number in range(4_000):
        made.add(parse_line(line(f"{MALLORY}{number}", key=f"v1/packs/{number:0500}", status="403").encode()))
    made.add(parse_line(line(f"{MALLORY}-last", "BATCH.DELETE.OBJECT").encode()))
    made.add(parse_line(line(f"arn:aws:sts::{ACCOUNT}:assumed-role/Operators/bob").encode()))
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()

    # Then the last is seen, under the name of the others
    report = made.report()
    found: list[AccessGroup] = alarming(report.groups)
    assert [(one.principal, one.action, one.requests) for one in found] == [(OTHERS, AccessAction.DELETE, 1)]
    assert sum(one.requests for one in report.groups) == 4_002
    assert next(one for one in report.groups if one.expected).principal == OTHER_EXPECTED
    assert len(report.groups) < 2_010
    assert peak < 12 * 2**20
