"""A restore over the API: planned, confirmed by who planned it, once, and only as it was planned."""

from datetime import timedelta
from typing import Any

import pytest
from tests.console_client import Client
from tests.console_scene import NOW, ConsoleScene

from coffre.model.audit import Actor
from coffre.model.backup import Backup, Failure, Restore, Status
from coffre.model.confirmation import Act, Facts, Plan, Request, Seen, token_id
from coffre.model.restore import Scope
from coffre_console.access.caller import Caller, Grant

WANTED: dict[str, Any] = {"tables": ["orders"], "replace": True}


def _dry_run(scene: ConsoleScene, backup: Backup, status: Status = Status.COMPLETED, **fields: Any) -> Restore:
    restore = Restore(
        id="01M80T0000000000000000000A",
        backup_id=backup.id,
        target=backup.target,
        destination="db.example.org:5432/shop",
        status=Status.IN_PROGRESS,
        created_at=NOW,
        heartbeat_at=NOW,
        dry_run=True,
    )
    scene.catalog.create_restore(restore)
    if status is Status.IN_PROGRESS:
        return restore
    return scene.catalog.finish_restore(restore.model_copy(update={"status": status, "completed_at": NOW, **fields}))


def _token(scene: ConsoleScene, backup: Backup, actor: str = "anna (console)", **changes: Any) -> str:
    """Give out a token as the function does."""
    scope = Scope.model_validate({**WANTED, **changes.pop("scope", {})})
    request = Request.of(Act.RESTORE, backup.target, backup.id, backup.manifest_sha256, scope)
    seen = Seen(destination="db.example.org:5432/shop", name="shop", facts=Facts())
    plan = Plan(request=request.model_copy(update=changes), seen=seen)
    lifetime = timedelta(minutes=10)
    return scene.catalog.confirmations.issue(plan, Actor(actor, True), NOW, lifetime=lifetime, approvals=0)[0]


def test_a_dry_run_starts_in_the_background(client: Client, scene: ConsoleScene) -> None:
    backup = scene.backup(3)

    found = client.post(f"/api/v1/backups/{backup.id}/restore", {**WANTED, "dry_run": True})

    [(name, how, event)] = client.functions.invoked
    assert (found.status, found.headers["location"]) == (202, f"/api/v1/restores/{event['restore_id']}")
    assert (name, how) == ("coffre-restore", "Event")
    assert {key: event[key] for key in ("backup_id", "tables", "replace", "dry_run")} == {
        "backup_id": backup.id,
        "dry_run": True,
        **WANTED,
    }


def test_the_plan_of_a_dry_run_that_ended_comes_with_the_functions_token(client: Client, scene: ConsoleScene) -> None:
    backup = scene.backup(3)
    client.functions.answers["coffre-restore"] = {"plan": {"name": "shop"}, "token": "t" * 43}
    trial = _dry_run(scene, backup)

    found = client.post(f"/api/v1/backups/{backup.id}/restore", {**WANTED, "dry_run": True, "dry_run_id": trial.id})

    [(_, how, event)] = client.functions.invoked
    assert (found.status, found.json) == (200, {"plan": {"name": "shop"}, "token": "t" * 43})
    assert (how, event["restore_id"], event["dry_run"]) == ("RequestResponse", trial.id, True)


def test_a_dry_run_that_runs_has_no_plan_yet(client: Client, scene: ConsoleScene) -> None:
    backup = scene.backup(3)
    trial = _dry_run(scene, backup, Status.IN_PROGRESS)

    found = client.post(f"/api/v1/backups/{backup.id}/restore", {**WANTED, "dry_run": True, "dry_run_id": trial.id})

    assert (found.status, found.headers["location"]) == (202, f"/api/v1/restores/{trial.id}")
    assert client.functions.invoked == []


def test_a_dry_run_that_failed_says_why(client: Client, scene: ConsoleScene) -> None:
    backup = scene.backup(3)
    failure = Failure(code="DESTINATION_MISSING", message="It does not exist.", hint="Create it.")
    trial = _dry_run(scene, backup, Status.FAILED, failure=failure)

    found = client.post(f"/api/v1/backups/{backup.id}/restore", {**WANTED, "dry_run": True, "dry_run_id": trial.id})

    assert (found.status, found.json["code"], found.json["hint"]) == (409, "DESTINATION_MISSING", "Create it.")


def test_a_confirmed_restore_starts(client: Client, scene: ConsoleScene) -> None:
    backup = scene.backup(3)
    confirmation = {"token": _token(scene, backup), "name": "shop"}

    found = client.post(f"/api/v1/backups/{backup.id}/restore", {**WANTED, "confirmation": confirmation})

    [(_, how, event)] = client.functions.invoked
    assert found.status == 202
    assert (how, event["confirmation"]) == ("Event", confirmation)


def test_what_overwrites_is_refused_without_a_token(client: Client, scene: ConsoleScene) -> None:
    backup = scene.backup(3)

    found = client.post(f"/api/v1/backups/{backup.id}/restore", WANTED)

    assert (found.status, found.json["code"]) == (409, "CONFIRMATION_NEEDED")
    assert client.functions.invoked == []


@pytest.mark.parametrize(
    ("token", "body", "code"),
    [
        ({}, {"confirmation": {"token": "x" * 43, "name": "shop"}}, "CONFIRMATION_INVALID"),
        ({}, {"confirmation": {"token": None, "name": "billing"}}, "CONFIRMATION_MISMATCH"),
        ({"actor": "ben (console)"}, {}, "CONFIRMATION_MISMATCH"),
        ({"backup_id": "01M80T0000000000000000000B"}, {}, "CONFIRMATION_MISMATCH"),
        ({"manifest_sha256": "f" * 64}, {}, "CONFIRMATION_MISMATCH"),
        ({"act": Act.DELETION}, {}, "CONFIRMATION_MISMATCH"),
        ({}, {"tables": ["customers"]}, "CONFIRMATION_MISMATCH"),
        ({}, {"strict": True}, "CONFIRMATION_MISMATCH"),
    ],
    ids=["unknown", "name", "person", "backup", "manifest", "act", "tables", "scope"],
)
def test_a_token_confirms_what_it_was_given_for(
    client: Client, scene: ConsoleScene, token: dict[str, Any], body: dict[str, Any], code: str
) -> None:
    backup = scene.backup(3)
    given = {"token": _token(scene, backup, **token), "name": "shop"}
    said = {name: value for name, value in body.get("confirmation", {}).items() if value is not None}

    found = client.post(f"/api/v1/backups/{backup.id}/restore", {**WANTED, **body, "confirmation": given | said})

    assert (found.status, found.json["code"]) == (409, code)
    assert client.functions.invoked == []


def test_a_token_that_was_used_or_has_expired_confirms_nothing(client: Client, scene: ConsoleScene) -> None:
    backup = scene.backup(3)
    used, old = _token(scene, backup), _token(scene, backup)
    issued = scene.catalog.confirmations.find(token_id(used))
    assert issued is not None
    assert scene.catalog.confirmations.take(issued, NOW)
    url = f"/api/v1/backups/{backup.id}/restore"

    replayed = client.post(url, {**WANTED, "confirmation": {"token": used, "name": "shop"}})
    scene.now = NOW + timedelta(minutes=10)
    expired = client.post(url, {**WANTED, "confirmation": {"token": old, "name": "shop"}})

    assert [replayed.json["code"], expired.json["code"]] == ["CONFIRMATION_INVALID"] * 2
    assert client.functions.invoked == []


@pytest.mark.parametrize(
    "body",
    [
        {"tables": ["orders"], "replace": True, "destination": "coffre/destination/other"},
        {"tables": ["orders"], "rows": {"where": "pg_sleep(9) is null"}, "apply": True},
        {"tables": ["orders"], "replace": True, "no_safety": True},
        {"replace": True},
        {"storage": {"mode": "overwrite"}},
        {"storage": {"mode": "overwrite", "keys": ["a"], "to": "elsewhere"}},
    ],
    ids=["elsewhere", "sql", "no safety", "whole", "whole bucket", "other bucket"],
)
def test_a_restorer_restores_parts_where_they_were_and_nothing_else(scene: ConsoleScene, body: dict[str, Any]) -> None:
    backup = scene.backup(3)
    client = Client(scene, Caller("person", "ben", "ben", (Grant.of_role("restorer", ["shop"]),)))

    refused = client.post(f"/api/v1/backups/{backup.id}/restore", {**body, "dry_run": True})
    allowed = client.post(f"/api/v1/backups/{backup.id}/restore", {**WANTED, "dry_run": True})

    assert (refused.status, allowed.status) == (403, 202)
    assert len(client.functions.invoked) == 1


@pytest.mark.parametrize(
    "body",
    [
        {"tables": ["orders"], "dry-run": True},
        {"tables": "orders"},
        {"apply": True},
        {"destination": "postgres://u:p@host/db"},
        {"tables": ["orders"], "storage": {"mode": "burn"}},
        {},  # a whole restore without a destination
    ],
)
def test_a_wrong_restore_starts_nothing(client: Client, scene: ConsoleScene, body: dict[str, Any]) -> None:
    backup = scene.backup(3)

    found = client.post(f"/api/v1/backups/{backup.id}/restore", body)

    assert found.status == 422
    assert found.json["hint"]
    assert "u:p@" not in found.body
    assert client.functions.invoked == []


def test_objects_are_restored_with_the_event_of_buckets(client: Client, scene: ConsoleScene) -> None:
    backup = scene.backup(3)

    found = client.post(f"/api/v1/backups/{backup.id}/restore", {"storage": {"keys": ["a"]}, "dry_run": True})

    [(_, _, event)] = client.functions.invoked
    assert found.status == 202
    assert event["storage"] == {"keys": ["a"], "dry_run": True}
    assert "dry_run" not in event


def test_restores_are_listed_shown_and_cancelled(client: Client, scene: ConsoleScene) -> None:
    trial = _dry_run(scene, scene.backup(3), Status.IN_PROGRESS)
    client.functions.answers["coffre-rotate"] = {"restore": trial.model_dump(mode="json")}

    listed = client.get("/api/v1/restores?target=shop&status=IN_PROGRESS")
    running = client.get("/api/v1/runs")
    shown = client.get(f"/api/v1/restores/{trial.id}")
    cancelled = client.post(f"/api/v1/restores/{trial.id}/cancel")

    assert [one["id"] for one in listed.json["restores"]] == [trial.id]
    assert [(one["type"], one["dry_run"]) for one in running.json["runs"]] == [("restore", True)]
    assert shown.json["report"] is None
    assert cancelled.json["restore"]["id"] == trial.id


def test_what_is_overwritten_is_backed_up_first_by_who_may_restore_it(scene: ConsoleScene) -> None:
    backup = scene.backup(3)
    client = Client(scene, Caller("person", "ben", "ben", (Grant.of_role("restorer", ["shop"]),)))

    found = client.post(f"/api/v1/backups/{backup.id}/restore", {**WANTED, "safety_backup": True})

    [(name, how, event)] = client.functions.invoked
    assert (found.status, name, how) == (202, "coffre-backup-database", "Event")
    assert found.headers["location"] == f"/api/v1/backups/{event['backup_id']}"
    assert (event["target"], event["tier"]) == ("shop", "SAFETY")
