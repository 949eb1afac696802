"""A plan that needs a second person waits once, however often it is asked for, and is reported once."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from moto import mock_aws
from tests.catalog_table import create

from coffre.catalog.catalog import Catalog
from coffre.model.audit import Actor
from coffre.model.confirmation import Act, Confirmation, Facts, IssuedPlan, Plan, Request, Seen
from coffre.operations.confirm.confirm import Confirming

NOW = datetime(2026, 11, 29, 3, tzinfo=UTC)
ANNA = Actor("1 (anna@example.com) (console)", verified=True)
BEN = Actor("2 (ben@example.com) (console)", verified=True)


@pytest.fixture
def catalog(monkeypatch: pytest.MonkeyPatch) -> Iterator[Catalog]:
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"):
        monkeypatch.setenv(name, "testing")
    monkeypatch.setenv("AWS_DEFAULT_REGION", "eu-west-3")
    with mock_aws():
        catalog = Catalog("catalog", now=lambda: NOW)
        create(catalog._table)
        yield catalog


def plan_of(size: int = 1, *, replace: bool = True) -> Plan:
    request = Request(
        act=Act.RESTORE, target="shop", backup_id="b", manifest_sha256="a" * 64, scope={"replace": replace}
    )
    return Plan(request=request, seen=Seen(destination="db/shop", name="shop", facts=Facts(sizes={"its size": size})))


def test_the_same_plan_of_the_same_person_waits_once_and_is_reported_once(catalog: Catalog) -> None:
    reported: list[IssuedPlan] = []
    clock = [NOW]

    def ask(actor: Actor = ANNA, plan: Plan | None = None, approvals: int = 1, **further: Any) -> tuple[str, bool]:
        confirming = Confirming(
            catalog, actor, lambda: clock[0], lambda _: approvals, lambda *_: None, lambda _: True, reported.append
        )
        answer = confirming.give_out(plan or plan_of(), further)
        return answer["plan"]["id"], answer["token"] is not None

    first, _ = ask()
    # Again, also when an address of mail is shown that is another one by now
    assert ask() == ask(Actor("1 (anna@new.example) (console)", verified=True)) == (first, False)
    # Another person, another place
    others = [ask(BEN), ask(destination="coffre/database/other")]
    assert all(is_new for _, is_new in others)
    assert len({first, *(one for one, _ in others)}) == 3
    assert [one.id for one in reported] == [first, *(one for one, _ in others)]
    # What waits for no one has a token each time, and is not reported
    alone = [ask(approvals=0), ask(approvals=0), ask(plan=plan_of(replace=False))]
    assert (all(is_new for _, is_new in alone), len(reported)) == (True, 3)
    # Approved, it is started by its id; declined, or about to end, it is made again
    approver = Confirming(catalog, BEN, lambda: clock[0], lambda _: 1, lambda *_: None, lambda _: True)
    approver.approve(first, plan_of().sha256)
    assert ask() == (first, False)
    starter = Confirming(catalog, ANNA, lambda: clock[0], lambda _: 1, lambda *_: None)
    assert starter.confirm(plan_of(), Confirmation(plan=first, name="shop"), "run") == plan_of()
    second, is_new = ask()
    assert (is_new, second != first) == (True, True)
    approver.decline(second, plan_of().sha256, "not now")
    third, is_new = ask()
    assert is_new
    clock[0] += timedelta(minutes=50)
    fourth, is_new = ask()
    assert (is_new, fourth != third, len(reported)) == (True, True, 6)


def test_what_would_be_lost_is_not_the_same_any_more_so_the_newer_plan_waits_alone(catalog: Catalog) -> None:
    def ask(size: int) -> str:
        confirming = Confirming(catalog, ANNA, lambda: NOW, lambda _: 1, lambda *_: None)
        return str(confirming.give_out(plan_of(size))["plan"]["id"])

    first, second = ask(1), ask(2)

    def state(plan_id: str) -> tuple[str | None, str | None]:
        found = catalog.confirmations.find(plan_id)
        assert found is not None
        return found.declined_by, found.declined_because

    why = f"What would be lost is not the same any more: the plan {second[:12]} replaces this one."
    assert (state(first), state(second)) == ((ANNA.name, why), (None, None))
    assert next((one.action, one.subject) for one in catalog.audit.events("shop")) == ("restore.declined", "b")
    # One that is approved can be started as long as it holds
    approver = Confirming(catalog, BEN, lambda: NOW, lambda _: 1, lambda *_: None, lambda _: True)
    approver.approve(second, plan_of(2).sha256)
    ask(3)
    assert state(second) == (None, None)


def test_a_damaged_plan_hides_no_other_one(catalog: Catalog) -> None:
    kept = catalog.confirmations
    good = kept.issue(plan_of(), ANNA, NOW, lifetime=timedelta(hours=1), approvals=1)[1]
    bad = kept.issue(plan_of(2), ANNA, NOW, lifetime=timedelta(hours=1), approvals=1)[1]
    damage(catalog, bad.id)

    found, damaged = kept.beginning_with("")

    assert [one.id for one in found] == [good.id]
    assert [(one.code, bad.id in one.message) for one in damaged] == [("RECORD_DAMAGED", True)]


def damage(catalog: Catalog, plan_id: str) -> None:
    """Change the record of a plan by hand, so that no version of Coffre can have written it."""
    import boto3

    boto3.client("dynamodb").update_item(
        TableName="catalog",
        Key={"pk": {"S": "CONFIRM"}, "sk": {"S": plan_id}},
        UpdateExpression="SET #plan = :half",
        ExpressionAttributeNames={"#plan": "plan"},
        ExpressionAttributeValues={":half": {"S": "{"}},
    )
