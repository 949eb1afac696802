"""`coffre approve`: the plan is shown before it is approved, and only one that waits can be."""

from __future__ import annotations

from typing import TYPE_CHECKING, cast

import pytest
from tests.unit.cli.conftest import Account, Coffre
from tests.unit.cli.planning import answer_to, at_a_terminal, plan_of

from coffre.model.errors import ConfirmationError
from coffre_cli.confirming import PlanAnswer, wait_for_approval

if TYPE_CHECKING:
    from coffre_cli.deployed import DeployedStack


def test_the_plan_is_shown_before_it_is_approved(
    coffre: Coffre, account: Account, monkeypatch: pytest.MonkeyPatch
) -> None:
    at_a_terminal(monkeypatch)
    backup = account.backup()
    plan = answer_to(account, plan_of({"backup_id": backup.id, "replace": True, "dry_run": True}), approvals=1)["plan"]
    account.play = lambda function, event: {"plan": plan}

    left = coffre("approve", plan["id"][:10], stdin="n\n")
    done = coffre("approve", plan["id"][:10].upper(), stdin="y\n")

    words = " ".join(left.err.split())
    assert f"me wants to restore shop (plan {plan['id'][:12]}, made" in words
    assert f"Backup {backup.id}; choice: replace True." in words
    assert "1.5 GB in 12 tables, about 3,400,000 rows" in " ".join(left.out.split())
    assert (left.status, done.status) == (1, 0)
    [(function, event)] = account.invoked
    assert function == "safe-restore"
    assert event == {"approve": {"plan": plan["id"], "sha256": plan["sha256"]}}
    assert "Approved the plan" in done.out


def test_a_plan_is_declined_with_a_reason_and_who_waits_for_it_reads_that(coffre: Coffre, account: Account) -> None:
    plan = answer_to(account, plan_of({"backup_id": account.backup().id, "replace": True}), approvals=1)["plan"]
    account.play = lambda function, event: {"plan": plan}

    said = coffre("approve", plan["id"], "--decline", "not during the sale")

    [(function, event)] = account.invoked
    asked = {"plan": plan["id"], "sha256": plan["sha256"], "decline": "not during the sale"}
    assert (said.status, function, event) == (0, "safe-restore", {"approve": asked})
    assert f"Declined the plan {plan['id'][:12]}" in said.out
    found = account.catalog.confirmations.find(plan["id"])
    assert found is not None
    account.catalog.confirmations.decline(found, "grace", "not during the sale", found.made_at)
    with pytest.raises(ConfirmationError, match="grace has declined this plan: not during the sale"):
        wait_for_approval(cast("DeployedStack", account), PlanAnswer(plan, "t" * 43))


def test_what_does_not_wait_is_not_approved(coffre: Coffre, account: Account) -> None:
    for _ in range(2):
        answer_to(account, plan_of({"backup_id": account.backup().id, "replace": True}), approvals=1)

    unknown, several = coffre("approve", "zz", "--yes"), coffre("approve", "", "--yes")
    closed = coffre("approve", "zz")

    assert 'No plan "zz" waits for an approval' in unknown.err
    assert "[PLAN_UNKNOWN]" in several.err
    assert account.invoked == []
    assert closed.status == 1


def test_without_a_terminal_a_plan_is_approved_by_yes_alone(coffre: Coffre, account: Account) -> None:
    plan = answer_to(account, plan_of({"backup_id": account.backup().id, "replace": True}), approvals=1)["plan"]

    said = coffre("approve", plan["id"], stdin="y\n")

    assert (said.status, account.invoked) == (2, [])
    assert "add --yes" in said.err
