"""The function `rotate` deletes one backup: after a plan and its token, and with two people where that is demanded."""

from __future__ import annotations

from typing import Any

import pytest
from tests.confirming import with_confirmation
from tests.integration.conftest import Coffre

from coffre.model.audit import Actor
from coffre.model.backup import Status
from coffre.model.errors import CoffreError

ADA, GRACE = "arn:aws:iam::123456789012:user/ada", "arn:aws:iam::123456789012:user/grace"


@pytest.fixture
def backups(coffre: Coffre, shop: str) -> list[str]:
    """Three backups of the target `shop`, the oldest first."""
    coffre.configure(shop)
    return [coffre.backup()["id"] for _ in range(3)]


def refused(coffre: Coffre, event: dict[str, Any]) -> CoffreError:
    with pytest.raises(CoffreError) as caught:
        coffre.rotate(**event)
    return caught.value


def verified(coffre: Coffre, monkeypatch: pytest.MonkeyPatch) -> None:
    """Let each event's actor count as proven."""
    services = type(coffre.rotate_function().services)
    monkeypatch.setattr(services, "actor", lambda self, event, **_: Actor(event.actor or "unknown", verified=True))


def test_a_bare_event_deletes_nothing_and_says_what_to_send(coffre: Coffre, backups: list[str]) -> None:
    coffre.alerts()

    error = refused(coffre, {"delete": {"backup_id": backups[0]}})

    assert error.code == "CONFIRMATION_NEEDED"
    assert f'{{"delete": {{"backup_id": "{backups[0]}", "dry_run": true}}}}' in (error.hint or "")
    assert coffre.catalog.get_backup(backups[0]).status is Status.COMPLETED
    assert [alert["MessageAttributes"]["kind"]["Value"] for alert in coffre.troubles()] == ["REQUEST_REFUSED"]


def test_a_confirmed_deletion_is_done_once_and_by_the_name_of_its_sender(coffre: Coffre, backups: list[str]) -> None:
    event = with_confirmation(lambda trial: coffre.rotate(**trial), {"delete": {"backup_id": backups[0]}, "actor": ADA})

    answer = coffre.rotate(**event)

    assert answer == {"backup_id": backups[0], "target": "shop", "deleted": True}
    deleted = coffre.catalog.get_backup(backups[0])
    assert (deleted.status, deleted.deletion) == (Status.DELETED, f"deleted by {ADA}")
    actions = [one.action for one in coffre.catalog.audit.events(target="shop") if one.actor == ADA]
    assert actions[::-1] == ["deletion.planned", "deletion.confirmed", "backup.deleted"]
    assert refused(coffre, event).code == "BACKUP_STATE"


def test_a_token_deletes_only_its_own_backup(coffre: Coffre, backups: list[str]) -> None:
    event = with_confirmation(lambda trial: coffre.rotate(**trial), {"delete": {"backup_id": backups[0]}})

    others = [
        {**event, "delete": {"backup_id": backups[1]}},
        {**event, "delete": {"backup_id": backups[0], "force": True}},
        {**event, "confirmation": {**event["confirmation"], "name": "Shop"}},
    ]

    assert [refused(coffre, other).code for other in others] == ["CONFIRMATION_MISMATCH"] * 3
    assert {backup.status for backup in coffre.backups()} == {Status.COMPLETED}


def test_when_fewer_backups_remain_than_the_plan_says_nothing_is_deleted(coffre: Coffre, backups: list[str]) -> None:
    event = with_confirmation(lambda trial: coffre.rotate(**trial), {"delete": {"backup_id": backups[0]}})
    coffre.delete(backups[1])

    error = refused(coffre, event)

    assert error.code == "DESTINATION_CHANGED"
    assert "healthy backups that remain: 1, and 2 when the plan was made" in error.message
    assert coffre.catalog.get_backup(backups[0]).status is Status.COMPLETED


def test_a_backup_that_was_pinned_after_the_plan_stays(coffre: Coffre, backups: list[str]) -> None:
    event = with_confirmation(lambda trial: coffre.rotate(**trial), {"delete": {"backup_id": backups[0]}})
    coffre.catalog.keeping.pin(backups[0], coffre.backups()[0].created_at)

    assert refused(coffre, event).code == "BACKUP_PINNED"


def test_a_second_person_approves_what_the_first_one_was_shown(
    coffre: Coffre, shop: str, backups: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    coffre.configure(shop, confirmation={"approvals": 1})
    # Given people whom nothing proves
    trial: dict[str, Any] = {"delete": {"backup_id": backups[0], "dry_run": True}, "actor": ADA}
    assert refused(coffre, trial).code == "ACTOR_UNVERIFIED"
    verified(coffre, monkeypatch)
    plan = coffre.rotate(**trial)
    event: dict[str, Any] = {
        "delete": {"backup_id": backups[0]},
        "actor": ADA,
        "confirmation": {"token": plan["token"], "name": "shop"},
    }
    shown = {"plan": plan["plan"]["id"], "sha256": plan["plan"]["sha256"]}

    alone = refused(coffre, event)
    by_herself = refused(coffre, {"approve": shown, "actor": ADA})
    another_plan = refused(coffre, {"approve": {**shown, "sha256": "0" * 64}, "actor": GRACE})
    approved = coffre.rotate(approve=shown, actor=GRACE)
    again = refused(coffre, {"approve": shown, "actor": GRACE})

    assert [one.code for one in (alone, by_herself, another_plan, again)] == [
        "APPROVAL_NEEDED",
        *["APPROVAL_REFUSED"] * 3,
    ]
    assert approved["plan"]["id"] == plan["plan"]["id"]
    # And it is the first person who deletes, not the second; the token may be lost by then
    later: dict[str, Any] = {**event, "confirmation": {"plan": shown["plan"], "name": "shop"}}
    assert refused(coffre, {**later, "actor": GRACE}).code == "CONFIRMATION_MISMATCH"
    assert coffre.rotate(**later)["deleted"]
    [confirmed] = [
        one for one in coffre.catalog.audit.events() if one.action == "deletion.confirmed" and one.result == "done"
    ]
    assert f"approved by {GRACE}" in (confirmed.detail or "")
    # And what is declined is not done, even if another person approves it later
    trial["delete"] = {"backup_id": backups[1], "dry_run": True}
    plan = coffre.rotate(**trial)
    shown = {"plan": plan["plan"]["id"], "sha256": plan["plan"]["sha256"]}
    coffre.rotate(approve={**shown, "decline": "not today"}, actor=GRACE)
    assert refused(coffre, {"approve": shown, "actor": GRACE}).code == "APPROVAL_REFUSED"
    event = {"delete": {"backup_id": backups[1]}, "actor": ADA}
    no = refused(coffre, {**event, "confirmation": {"token": plan["token"], "name": "shop"}})
    assert (no.code, "not today" in str(no)) == ("APPROVAL_DECLINED", True)
