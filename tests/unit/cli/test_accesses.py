"""`coffre audit accesses`: the review of who accessed the vault, for people and for scripts."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

import boto3
import pytest
from tests.access_logs import ACCOUNT, ALICE, MALLORY, OWN, REGION, ROLES, line, log_key
from tests.unit.cli.conftest import BUCKET, OUTPUTS, Account, Coffre

from coffre_cli import stack_choice


@pytest.fixture
def now() -> datetime:
    """The time of the test: a module may be imported half an hour before."""
    return datetime.now(UTC)


@pytest.fixture
def logs(account: Account, monkeypatch: pytest.MonkeyPatch) -> Any:
    """A stack that logs accesses."""
    outputs = {
        **OUTPUTS,
        "AccessLogBucket": "access-logs",
        "OwnRoles": ",".join(ROLES),
        "AlertTopic": f"arn:aws:sns:{REGION}:{ACCOUNT}:alerts",
    }
    monkeypatch.setattr(stack_choice, "_outputs", lambda name: outputs)
    s3 = boto3.client("s3")
    s3.create_bucket(Bucket="access-logs", CreateBucketConfiguration={"LocationConstraint": REGION})
    return s3


def log(s3: Any, now: datetime, *lines: str, days_ago: int = 0) -> None:
    body = "".join(f"{one}\n" for one in lines)
    day = now - timedelta(days=days_ago)
    s3.put_object(Bucket="access-logs", Key=log_key(day, f"A{days_ago}", vault=BUCKET), Body=body.encode())


def test_without_logs_the_command_says_how_to_turn_them_on(coffre: Coffre, account: Account) -> None:
    said = coffre("audit", "accesses")

    assert said.status == 1
    assert "The stack safe does not log who accesses its vault. [ACCESS_LOGS_OFF]" in said.err
    assert "AccessLogs=on" in said.err


def test_the_review_says_who_did_what(coffre: Coffre, logs: Any, now: datetime) -> None:
    long_ago = now - timedelta(days=60)
    log(logs, now, line(MALLORY, at=long_ago, key="v1/packs/old"), days_ago=60)
    log(
        logs,
        now,
        line(OWN, at=now),
        line(MALLORY, at=now, status="403"),
        line(ALICE, "BATCH.DELETE.OBJECT", at=now),
        "?",
    )

    said = coffre("audit", "accesses", "--json")
    report = said.json()

    assert said.status == 0
    assert [(one["principal"], one["action"], one["requests"], one["refused"]) for one in report["groups"]] == [
        (MALLORY, "read", 2, 1),
        (ALICE, "delete", 1, 0),
    ]
    assert report["groups"][0]["first_at"] == long_ago.strftime("%Y-%m-%dT%H:%M:%SZ")
    assert report["groups"][0]["keys"] == ["v1/packs/old", "v1/packs/01K9/000001-1-2"]
    assert (report["own"], report["aws"], report["unreadable"], report["logs"]) == (1, 0, 1, 2)
    assert "hours late" in said.err

    shown = coffre("audit", "accesses")
    period = f"{long_ago:%Y-%m-%d %H:%M} to {now:%Y-%m-%d %H:%M} UTC"
    for words in (
        f"{MALLORY}\n  read: 2 requests (1 of them refused), {period}, from 192.0.2.3\n    v1/packs/old\n",
        f"{ALICE}\n  delete: 1 request, ",
        "2 principals neither Coffre's nor expected",
        "1 request of Coffre's functions",
        "1 line of an unknown form",
    ):
        assert words in shown.out


@pytest.mark.parametrize(
    ("options", "found"),
    [
        ((), {(MALLORY, "read"), (MALLORY, "write"), (ALICE, "read")}),
        (("--since", "7d"), {(MALLORY, "write"), (ALICE, "read")}),
        (("--actor", "*:user/*"), {(ALICE, "read")}),
        (("--action", "write"), {(MALLORY, "write")}),
        (("--action", "look"), {(MALLORY, "look")}),
        (("--actor", "no one"), set()),
    ],
)
def test_a_part_of_it_can_be_chosen(
    coffre: Coffre, logs: Any, now: datetime, options: tuple[str, ...], found: set[tuple[str, str]]
) -> None:
    log(logs, now, line(MALLORY, at=now - timedelta(days=30)), days_ago=30)
    log(
        logs,
        now,
        line(MALLORY, "REST.PUT.OBJECT", at=now),
        line(ALICE, at=now),
        line(MALLORY, "REST.HEAD.OBJECT", at=now),
    )

    report = coffre("audit", "accesses", "--json", *options).json()

    assert {(one["principal"], one["action"]) for one in report["groups"]} == found


def test_what_happened_before_on_the_first_day_is_not_in_the_period(coffre: Coffre, logs: Any, now: datetime) -> None:
    log(logs, now, line(MALLORY, at=now - timedelta(minutes=90)), line(ALICE, at=now - timedelta(minutes=30)))

    report = coffre("audit", "accesses", "--since", "1h", "--json").json()

    assert [one["principal"] for one in report["groups"]] == [ALICE]


def test_a_period_without_logs_is_said(coffre: Coffre, logs: Any) -> None:
    said = coffre("audit", "accesses")

    assert said.status == 0
    assert "No log of this period was found" in said.out


def test_names_cannot_steer_the_terminal(coffre: Coffre, logs: Any, now: datetime) -> None:
    log(logs, now, line(MALLORY, key="v1/\x1b[2J\u202e", at=now))

    said = coffre("audit", "accesses")

    assert "\x1b[2J" not in said.out
    assert r"v1/\x1b[2J\u202e" in said.out


@pytest.mark.parametrize("span", ["90", "0d", "soon", "99999w"])
def test_a_span_that_is_none_is_wrong_usage(coffre: Coffre, logs: Any, span: str) -> None:
    said = coffre("audit", "accesses", "--since", span)

    assert said.status == 2
    assert f"--since {span}" in said.err.replace("\n", " ")
