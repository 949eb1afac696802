"""A plan that needs a second person: who made it leaves, the other one decides, and it is started from any session."""

from dataclasses import replace
from datetime import timedelta
from typing import Any

import pytest
from tests.console_client import ADMIN, Client, Reply
from tests.console_restores import DESTINATION, HOSTILE, LOST
from tests.console_scene import NOW, ConsoleScene
from tests.unit.console.pages.conftest import PERSON
from tests.unit.console.pages.markup import Form, Markup
from tests.unit.operations.confirm.test_waiting_plans import damage

from coffre.model.audit import Actor
from coffre.model.backup import Backup
from coffre.model.confirmation import Act, Facts, Plan, Request, Seen
from coffre.model.moment import Moment
from coffre.model.restore import Scope
from coffre.operations.admin.pin_and_delete import BackupAdmin
from coffre.operations.confirm.confirm import Confirming
from coffre.policy.confirmation import APPROVAL_LIFETIME
from coffre.runtime.events.rotate import Deletion
from coffre_console.access.caller import Caller, Grant

BEN = Caller("person", "ben", "ben", (Grant.of_role("admin"),), form_token="b" * 64, session="t")
API = "/api/v1/approvals"


@pytest.fixture
def client(client: Client, scene: ConsoleScene) -> Client:
    """A console with the functions' own decisions about approvals."""
    scene.document["confirmation"] = {"approvals": 1, "in_console": True}

    def answer(event: dict[str, Any]) -> dict[str, Any]:
        rules, who = scene.configuration.confirmation_of, Actor.in_console(event["actor"])
        confirming = Confirming(
            scene.catalog, who, lambda: scene.now, lambda _: 1, lambda *_: None, lambda name: rules(name).in_console
        )
        if "delete" in event and event["delete"].get("dry_run"):
            scope = Deletion.model_validate(event["delete"])
            backup = scene.catalog.get_backup(scope.backup_id)
            plan = BackupAdmin(scene.catalog, scene.vault, who, scene.now).deletion_plan(backup, scope)
            return confirming.give_out(plan)
        if "approve" not in event:
            return {}
        asked = event["approve"]
        if "decline" in asked:
            return {"plan": confirming.decline(asked["plan"], asked["sha256"], asked["decline"]).answer()}
        return {"plan": confirming.approve(asked["plan"], asked["sha256"]).answer()}

    client.functions.answers |= {"coffre-restore": answer, "coffre-rotate": answer}
    client.gate.current = PERSON
    return client


def planned(
    scene: ConsoleScene, backup: Backup, act: Act = Act.RESTORE, maker: str = "anna", at: Moment | None = None
) -> str:
    """Leave a plan as the function does for a person in the console, and return its id."""
    scope = Scope(tables=(HOSTILE,), replace=True, at=at)
    request = Request.of(act, backup.target, backup.id, backup.manifest_sha256, scope)
    if act is Act.DELETION:
        request = request.model_copy(update={"scope": {"backup_id": backup.id, "force": True}})
    plan = Plan(request=request, seen=Seen(destination=DESTINATION, name=HOSTILE, facts=Facts(), overwrites=LOST))
    further = {"streams": 2, "from": "vault"} if act is Act.RESTORE else {}
    kept, who = scene.catalog.confirmations, Actor.in_console(maker)
    return kept.issue(plan, who, scene.now, lifetime=APPROVAL_LIFETIME, approvals=1, further=further)[1].id


def forms(client: Client, plan_id: str) -> dict[str, Form]:
    reply = client.get(f"/approvals/{plan_id}")
    page = Markup(reply.body)
    assert (reply.status, page.faults, "<script>alert" in reply.body) == (200, [], False), reply.body
    return {form.fields["step"]: form for form in page.forms if form.action.startswith("/approvals")}


def test_who_asks_leaves_and_starts_it_from_another_session_once(scene: ConsoleScene, client: Client) -> None:
    plan_id = planned(scene, scene.backup(5))
    url = f"/approvals/{plan_id}"
    assert url in Markup(client.get("/approvals").body).links
    assert forms(client, plan_id).keys() == {"decline"}
    assert client.submit(url, step="run", name=HOSTILE).status == 409
    client.gate.current = BEN
    client.submit(url, **forms(client, plan_id)["approve"].fields)
    assert client.submit(url, step="run", name=HOSTILE).status == 403
    client.gate.current = replace(PERSON, session="another", form_token="e" * 64)
    assert "ben (console)" in Markup(client.get(url).body).text
    typed = forms(client, plan_id)["confirm"].fields
    assert client.submit(url, **{**typed, "name": "shop"}).status == 422
    last = client.submit(url, **{**typed, "name": HOSTILE})
    assert ("data-countdown" in last.body, Markup(last.body).faults) == (True, [])
    run = next(form.fields for form in Markup(last.body).forms if form.fields.get("step") == "run")
    begun = client.submit(url, **run)
    name, how, event = client.functions.invoked[-1]
    assert (begun.headers["location"], name, how) == (
        f"/restores/{event['restore_id']}?done=start",
        "coffre-restore",
        "Event",
    )
    wanted = {"tables": [HOSTILE], "replace": True, "streams": 2, "from": "vault"}
    assert {key: event[key] for key in (*wanted, "confirmation")} == {
        **wanted,
        "confirmation": {"plan": plan_id, "name": HOSTILE},
    }
    issued = scene.catalog.confirmations.find(plan_id)
    assert issued is not None
    assert scene.catalog.confirmations.take(issued, NOW)  # as the function does when it begins
    assert client.submit(url, **run).status == 404
    assert "No plan waits." in Markup(client.get("/approvals").body).text


def test_who_decides_sees_the_moment_that_a_database_is_set_back_to(scene: ConsoleScene, client: Client) -> None:
    plan_id = planned(scene, scene.backup(5), at=Moment(time=NOW))

    assert f"time {NOW:%Y-%m-%dT%H:%M:%S}" in Markup(client.get(f"/approvals/{plan_id}").body).text


def test_a_plan_is_declined_with_a_reason_that_its_maker_reads(scene: ConsoleScene, client: Client) -> None:
    plan_id = planned(scene, scene.backup(5), Act.DELETION)
    url = f"/approvals/{plan_id}"
    client.gate.current = BEN
    fields = forms(client, plan_id)["decline"].fields
    assert [client.submit(url, **{**fields, "reason": one}).status for one in ("", "x" * 257, "a\nb")] == [422] * 3
    assert client.submit(url, **{**fields, "reason": "not during the sale"}).status == 303
    assert client.functions.invoked[-1][0] == "coffre-rotate"
    client.gate.current = PERSON
    assert "Declined by ben (console): not during the sale" in " ".join(Markup(client.get(url).body).text.split())
    assert forms(client, plan_id) == {}
    assert [client.submit(url, step=one, name=HOSTILE).status for one in ("x", "confirm")] == [422, 200]


def test_a_deletion_waits_once_and_a_damaged_plan_is_named_beside_it(scene: ConsoleScene, client: Client) -> None:
    backup, other = scene.backup(5), planned(scene, scene.backup(4, target="billing"))
    url = f"/backups/{backup.id}/delete"
    client.submit(url, step="plan")
    typed = client.submit(url, step="confirm", name="shop")
    [waits] = [one for one in client.get(API).json["plans"] if one["id"] != other]
    assert (typed.headers["location"], waits["act"]) == (f"/approvals/{waits['id']}", "deletion")
    assert client.submit(url, step="confirm", name="shop").headers["location"] == typed.headers["location"]
    damage(scene.catalog, other)
    listed, page = client.get(API).json, client.get("/approvals")
    assert ([one["id"] for one in listed["plans"]], len(listed["unread"])) == ([waits["id"]], 1)
    assert (page.status, Markup(page.body).faults, other in page.body) == (200, [], True)
    assert (client.get(f"/approvals/{other}").status, client.get(f"/approvals/{waits['id']}").status) == (500, 200)
    client.gate.current = replace(BEN, name="eve", grants=(Grant.of_role("admin", ["shop"]),))
    assert (other in client.get(API).body, len(client.get(API).json["plans"])) == (False, 1)


def test_who_may_see_and_decide_what(scene: ConsoleScene, client: Client) -> None:
    backup = scene.backup(5)
    mine, by_ben, other = (
        planned(scene, backup),
        planned(scene, backup, maker="ben"),
        planned(scene, scene.backup(4, target="billing")),
    )

    def approve(plan_id: str, **body: str) -> Reply:
        sha256 = scene.catalog.confirmations.find(plan_id)
        assert sha256 is not None
        return client.post(f"{API}/{plan_id}/approve", {"sha256": sha256.plan_sha256, **body})

    # The person who made it
    assert (approve(mine).json["code"], client.get(f"{API}/{mine}").json["may_approve"]) == ("APPROVAL_REFUSED", False)
    # Another plan than the one that was shown
    assert approve(by_ben, sha256="0" * 64).json["code"] == "APPROVAL_REFUSED"
    # A target that the approver's role does not have, and a role that cannot do it alone
    client.gate.current = replace(BEN, name="eve", grants=(Grant.of_role("admin", ["shop"]),))
    assert (approve(other).json["code"], other in client.get(API).body) == ("PLAN_UNKNOWN", False)
    client.gate.current = replace(BEN, name="eve", grants=(Grant.of_role("restorer"),))
    assert (approve(mine).status, client.get(API).json["plans"]) == (404, [])
    # By the configuration, not in the console
    client.gate.current = BEN
    scene.document["confirmation"]["in_console"] = False
    refused = approve(mine)
    assert (refused.json["code"], "coffre approve" in refused.json["hint"]) == ("APPROVAL_REFUSED", True)
    page = Markup(client.get(f"/approvals/{mine}").body)
    assert ("credentials of AWS" in page.text, page.commands) == (True, [f"coffre approve {mine[:12]}"])
    scene.document["confirmation"]["in_console"] = True
    assert approve(mine).json["state"] == "approved"
    assert approve(mine).json["code"] == "APPROVAL_REFUSED"
    # A role that was taken away since; a backup that is another one now; the end of the hour
    client.gate.current = replace(ADMIN, grants=(Grant.of_role("restorer", ["billing"]),))
    assert client.post(f"{API}/{mine}/run", {"name": HOSTILE}).status == 403
    client.gate.current = ADMIN
    scene.now += timedelta(hours=1)
    assert client.get(f"{API}/{mine}").json["code"] == "PLAN_UNKNOWN"


def test_a_plan_of_a_backup_that_changed_since_is_not_started(scene: ConsoleScene, client: Client) -> None:
    backup = scene.backup(5)
    plan_id = planned(scene, backup.model_copy(update={"manifest_sha256": "0" * 64}))
    deletion = planned(scene, backup, Act.DELETION)
    for one in (plan_id, deletion):
        issued = scene.catalog.confirmations.find(one)
        assert issued is not None
        scene.catalog.confirmations.approve(issued, "arn:ben", scene.now, lifetime=timedelta(minutes=10))

    changed = client.post(f"{API}/{plan_id}/run", {"name": HOSTILE})
    deleted = client.post(f"{API}/{deletion}/run", {"name": HOSTILE})

    assert (changed.status, changed.json["code"]) == (409, "CONFIRMATION_MISMATCH")
    [(name, _, event)] = client.functions.invoked
    assert (deleted.status, deleted.json["location"]) == (202, f"/api/v1/backups/{backup.id}")
    assert (name, event["delete"]) == ("coffre-rotate", {"backup_id": backup.id, "force": True})
    assert event["confirmation"] == {"plan": deletion, "name": HOSTILE}
