"""`coffre journal off` and `coffre uninstall`: the option goes, then the slots, then the stack; the rest is named."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

import pytest
from botocore.exceptions import ClientError
from tests.unit.cli.config.conftest import Scene
from tests.unit.cli.conftest import STACK, TABLE, Coffre

from coffre.model.journal import JournalState
from coffre.postgres.journal.slot import new_name
from coffre_cli import aws, confirming


class Formation:
    """CloudFormation with one stack. Its deletion takes a while; a policy that a person has prevents it."""

    def __init__(self) -> None:
        self.is_protected = False
        self.refusal: ClientError | None = None
        self.statuses = ["CREATE_COMPLETE"]
        self.after = ["DELETE_IN_PROGRESS", "DELETE_COMPLETE"]

    @property
    def is_there(self) -> bool:
        return self.statuses == ["CREATE_COMPLETE"]

    def describe_stacks(self, StackName: str) -> dict[str, Any]:  # noqa: N803 - AWS's names
        status = self.statuses[0] if len(self.statuses) == 1 else self.statuses.pop(0)
        protection = {"EnableTerminationProtection": self.is_protected}
        return {"Stacks": [{"StackId": StackName, "StackStatus": status, **protection}]}

    def delete_stack(self, StackName: str) -> None:  # noqa: N803
        assert StackName == STACK
        if self.refusal is not None:
            raise self.refusal
        self.statuses = [*self.after]

    def get_paginator(self, name: str) -> Formation:
        self.page = {"list_stack_resources": "StackResourceSummaries", "describe_stack_events": "StackEvents"}[name]
        return self

    def paginate(self, StackName: str) -> list[dict[str, Any]]:  # noqa: N803
        failed = {
            "EventId": "1",
            "LogicalResourceId": "ReadersPolicy",
            "ResourceStatus": "DELETE_FAILED",
            "ResourceStatusReason": "Cannot delete a policy attached to entities.",
        }
        has_failed = self.page == "StackEvents" and self.statuses == ["DELETE_FAILED"]
        return [{self.page: [failed] if has_failed else []}]


class Journals:
    """The function `journal`, which drops slots; the server of `broken` does not answer."""

    def __init__(self, scene: Scene, broken: str | None = None) -> None:
        self.scene, self.broken = scene, broken
        self.off: list[str] = []
        scene.account.play = self.play

    def play(self, function: str, event: Mapping[str, Any]) -> object:
        if function != "journal":
            return self.scene.play(function, event)
        assert event["off"] is True
        configured = self.scene.function.services.configuration().databases
        assert all(one.journal is None for one in configured), "it would begin again with the next tick"
        if event["target"] == self.broken:
            return {"errorType": "ConnectTransientError", "errorMessage": "Nothing answers at db:5432."}
        self.off.append(event["target"])
        state = self.scene.account.catalog.journals.find(event["target"])
        if state is not None:
            self.scene.account.catalog.journals.forget(state)
        return {"target": event["target"], "dropped": state is not None}


@pytest.fixture
def journals(scene: Scene) -> Journals:
    """Two databases with a journal, and one that was removed and still has a slot."""
    shop = scene.template["targets"][0]
    scene.write(targets=[{**shop, "journal": {}}, {**shop, "name": "blog", "journal": {"every_minutes": 60}}])
    for name in ("shop", "blog", "gone"):
        state = JournalState(target=name, slot=f"coffre_{name}_01234567")
        scene.account.catalog.journals.keep(state, None)
    return Journals(scene)


def options(scene: Scene) -> list[object]:
    return [one.get("journal") for one in scene.document()["targets"]]


def test_one_journal_is_switched_off_in_the_configuration_and_at_its_server(
    coffre: Coffre, scene: Scene, journals: Journals
) -> None:
    said = coffre("journal", "off", "shop", "--dry-run")
    assert "The option `journal` of shop would be removed" in said.out
    assert "  shop: coffre_shop_01234567" in said.out
    assert (said.status, journals.off, len(scene.versions)) == (0, [], 1)
    assert coffre("journal", "off", "shop").status == 2, "no person can confirm it"

    # Then the other options of the document stay
    journals.scene.account.play = lambda function, event: (
        scene.play(function, event) if function == "rotate" else {"target": "shop", "dropped": True}
    )
    said = coffre("journal", "off", "shop", "--yes")
    assert said.status == 0, said.err
    assert "! targets.shop.journal.every_minutes: removed" in said.out
    assert "The slot of shop is dropped." in said.out
    assert options(scene) == [None, {"every_minutes": 60}]


def test_all_are_switched_off_and_a_server_that_does_not_answer_is_named_with_the_statement(
    coffre: Coffre, scene: Scene, journals: Journals
) -> None:
    journals.broken = "blog"

    said = coffre("journal", "off", "--all", "--yes")

    assert said.status == 1
    assert journals.off == ["gone", "shop"]
    assert options(scene) == [None, None]
    assert "The slot of blog was NOT dropped: Nothing answers at db:5432." in " ".join(said.out.split())
    assert "SELECT pg_drop_replication_slot('coffre_blog_01234567');" in said.out

    # Repeated, it does the rest
    journals.broken = None
    said = coffre("journal", "off", "--all", "--yes", "--json")
    assert (said.status, said.json()) == (0, [{"target": "blog", "dropped": True}])
    assert "there is no slot to drop" in coffre("journal", "off", "--all", "--yes").out
    assert len(scene.versions) == 2


def test_a_name_that_nothing_has_is_refused_without_a_statement(coffre: Coffre, journals: Journals) -> None:
    for more in ((), ("--yes",), ("--dry-run",), ("--yes", "--json")):
        said = coffre("journal", "off", "shpo", *more)
        assert (said.status, journals.off) == (1, [])
        assert 'No database or server "shpo" is configured' in said.err
        assert "Journals: blog, gone, shop." in said.err
        assert "SELECT" not in said.out + said.err


def test_of_a_slot_whose_name_is_not_known_a_statement_only_lists(
    coffre: Coffre, scene: Scene, journals: Journals
) -> None:
    state = scene.account.catalog.journals.find("blog")
    assert state is not None
    scene.account.catalog.journals.forget(state)
    shop = scene.template["targets"][0]
    scene.write(targets=[{**shop, "name": "blog"}])
    journals.broken = "blog"

    said = coffre("journal", "off", "blog", "--yes", "--json")

    listing = said.json()["sql"]
    assert (said.status, "drop" in listing) == (1, False)
    [pattern] = re.findall("~ '(.*)'", listing)
    assert re.search(pattern, new_name("blog"))
    assert not re.search(pattern, new_name("shop"))
    assert not re.search(pattern, new_name("blog_eu"))
    said = coffre("journal", "off", "blog", "--yes")
    assert "this lists what it may be" in said.out + said.err
    assert listing in said.out


@pytest.mark.parametrize("wrong", [("shop", "--all"), (), ("shop", "--json")])
def test_what_is_meant_has_to_be_said(coffre: Coffre, journals: Journals, wrong: tuple[str, ...]) -> None:
    assert coffre("journal", "off", *wrong).status == 2
    assert journals.off == []


@pytest.fixture
def formation(monkeypatch: pytest.MonkeyPatch) -> Formation:
    formation, make = Formation(), aws.client
    monkeypatch.setattr(
        aws, "client", lambda service, *more: formation if service == "cloudformation" else make(service, *more)
    )
    monkeypatch.setattr("time.sleep", lambda _: None)
    return formation


def test_uninstall_changes_nothing_of_a_stack_that_cannot_be_deleted(
    coffre: Coffre, scene: Scene, journals: Journals, formation: Formation
) -> None:
    formation.is_protected = True

    for more in ("--dry-run", "--yes"):
        said = coffre("uninstall", more)
        assert (said.status, journals.off, len(scene.versions)) == (1, [], 1)
        assert "EnableTerminationProtection" in said.err
        assert "--no-enable-termination-protection" in said.err

    # One that is refused only then says what was done, and how it is undone
    formation.is_protected = False
    words = "not authorized to perform cloudformation:DeleteStack"
    formation.refusal = ClientError({"Error": {"Code": "AccessDenied", "Message": words}}, "DeleteStack")
    said = coffre("uninstall", "--yes")
    assert (said.status, journals.off, formation.is_there) == (1, ["blog", "gone", "shop"], True)
    assert "cloudformation:DeleteStack" in said.err
    assert "The journals of blog, shop are off already." in " ".join(said.err.split())
    assert "`coffre config restore 1` switches them on again" in " ".join(said.err.split())


def test_uninstall_drops_the_slots_and_deletes_the_stack(
    coffre: Coffre, scene: Scene, journals: Journals, monkeypatch: pytest.MonkeyPatch, formation: Formation
) -> None:

    # Shown, and refused where no person can answer, or the name differs
    said = coffre("uninstall", "--dry-run")
    assert "  gone: coffre_gone_01234567" in said.out
    assert f"the catalog {TABLE}" in said.out
    assert coffre("uninstall").status == 2
    monkeypatch.setattr(confirming, "is_interactive", lambda: True)
    assert coffre("uninstall", stdin="other\n").status == 1
    assert (journals.off, len(scene.versions), formation.is_there) == ([], 1, True)

    # A slot that cannot be dropped keeps the stack, which can drop it later
    journals.broken = "blog"
    said = coffre("uninstall", stdin=f"{STACK}\n")
    assert (said.status, formation.is_there) == (1, True)
    assert "JOURNAL_SLOTS_LEFT" in said.err
    assert "pg_drop_replication_slot('coffre_blog_01234567')" in said.out

    # Nor does it go as long as a person has one of its policies
    formation.after = ["DELETE_IN_PROGRESS", "DELETE_FAILED"]
    said = coffre("uninstall", "--yes", "--leave-slots")
    assert said.status == 1
    assert "ReadersPolicy: Cannot delete a policy" in said.err
    formation.statuses, formation.after = ["DELETE_FAILED"], ["DELETE_COMPLETE"]

    # By a person who drops it: the stack goes, and the slot that is left is named again
    said = coffre("uninstall", "--yes", "--leave-slots")
    assert (said.status, formation.is_there) == (4, False)
    assert "Every backup is still in vault." in said.out
    assert said.out.count("pg_drop_replication_slot('coffre_blog_01234567')") == 2
