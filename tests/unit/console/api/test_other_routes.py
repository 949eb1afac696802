"""Alerts, audit, keys, triggers and metrics over the API."""

import json
from dataclasses import replace
from datetime import timedelta
from typing import Any

import pytest
from tests.console_client import ADMIN, Client
from tests.console_scene import NOW, ConsoleScene

from coffre.model.api_key import read_key
from coffre.model.errors import CatalogError
from coffre.model.server import SeenDatabase
from coffre.model.session import Session
from coffre_console.access.caller import Caller, Grant
from coffre_console.access.permissions import Permission
from coffre_console.starting import LateError


def test_a_key_is_shown_once_and_kept_as_a_hash(client: Client, scene: ConsoleScene) -> None:
    made = client.post("/api/v1/keys", {"label": "deploys", "scopes": ["backup:run:shop"], "days": 30})
    listed = client.get("/api/v1/keys")

    secret, key = made.json["secret"], made.json["key"]
    found = read_key(secret)
    stored = scene.catalog.api_keys.find(key["id"])
    assert found is not None
    assert stored is not None
    assert stored.is_opened_by(found[1], NOW)
    assert stored.expires_at == NOW + timedelta(days=30)
    assert secret not in listed.body
    assert found[1] not in listed.body
    assert [one.action for one in scene.catalog.audit.events()] == ["api_key.created"]


def test_a_rotated_key_opens_with_both_secrets_and_a_revoked_one_with_none(client: Client, scene: ConsoleScene) -> None:
    made = client.post("/api/v1/keys", {"label": "deploys", "scopes": ["backup:read"]}).json
    key_id, first = made["key"]["id"], read_key(made["secret"])

    second = read_key(client.post(f"/api/v1/keys/{key_id}/rotate", {}).json["secret"])
    rotated = scene.catalog.api_keys.find(key_id)
    revoked = client.delete(f"/api/v1/keys/{key_id}")
    after = client.post(f"/api/v1/keys/{key_id}/rotate", {})

    assert first is not None
    assert second is not None
    assert rotated is not None
    assert [rotated.is_opened_by(one[1], NOW) for one in (first, second)] == [True, True]
    assert revoked.json["state"] == "revoked"
    assert (after.status, after.json["code"]) == (409, "API_KEY_REVOKED")


@pytest.mark.parametrize(
    "body",
    [
        {"label": "x", "scopes": ["restore:all"]},
        {"label": "x", "scopes": ["backup:delete"]},
        {"label": "x", "scopes": []},
        {"label": "x", "scopes": ["backup:run"], "days": 367},
        {"label": "x", "scopes": ["backup:run"], "days": 0},
        {"label": "a\nb", "scopes": ["backup:run"]},
        {"label": "x", "scopes": ["backup:run"], "admin": True},
    ],
)
def test_no_key_restores_deletes_or_lives_for_ever(client: Client, scene: ConsoleScene, body: object) -> None:
    found = client.post("/api/v1/keys", body)

    assert found.status == 422
    assert list(scene.catalog.api_keys.all()) == []


def test_a_key_for_a_target_that_does_not_exist_is_refused(client: Client, scene: ConsoleScene) -> None:
    found = client.post("/api/v1/keys", {"label": "x", "scopes": ["backup:run:nope"]})

    assert (found.status, found.json["code"]) == (404, "TARGET_UNKNOWN")
    assert list(scene.catalog.api_keys.all()) == []


def test_an_unknown_key_is_not_found(client: Client) -> None:
    found = client.delete("/api/v1/keys/0123456789abcdef")

    assert (found.status, found.json["code"]) == (404, "API_KEY_UNKNOWN")


def test_nothing_is_done_that_cannot_be_recorded(
    client: Client, scene: ConsoleScene, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refused(*_: object, **__: object) -> None:
        raise CatalogError("The audit took nothing.", code="AUDIT_STUCK")

    monkeypatch.setattr(scene.catalog.audit, "record", refused)

    made = client.post("/api/v1/keys", {"label": "x", "scopes": ["backup:run"]})
    tested = client.post("/api/v1/alerts/test")

    assert (made.status, tested.status) == (503, 503)
    assert list(scene.catalog.api_keys.all()) == []
    assert client.functions.invoked == []


def test_alerts_are_tested_by_the_function_where_it_exists(client: Client, scene: ConsoleScene) -> None:
    client.functions.answers["coffre-notify"] = {"tried": [{"place": "slack", "sent": True}]}

    found = client.post("/api/v1/alerts/test")
    without = Client(scene, notify=False).post("/api/v1/alerts/test")

    assert found.json == {"tried": [{"place": "slack", "sent": True}], "is_late": False}
    assert client.functions.invoked == [("coffre-notify", "RequestResponse", {"test": True})]
    assert (without.status, without.json["code"]) == (409, "NOTIFY_OFF")


def test_an_answer_that_is_late_is_no_error(
    client: Client, scene: ConsoleScene, monkeypatch: pytest.MonkeyPatch
) -> None:
    backup = scene.backup(1)

    def late(**_: object) -> None:
        raise LateError("late")

    monkeypatch.setattr(client.functions, "invoke", late)

    found = client.post(f"/api/v1/backups/{backup.id}/hold", {"reason": "x"})

    assert (found.status, found.json["is_late"]) == (200, True)


def test_a_machine_triggers_what_its_key_is_for(scene: ConsoleScene) -> None:
    grant = Grant(frozenset({Permission.BACKUP}), frozenset({"shop"}))
    client = Client(scene, Caller("key", "key 1 (cron)", "cron", (grant,)))

    found = client.post("/api/v1/trigger/backup-database")
    other = client.post("/api/v1/trigger/backup-database?target=billing")
    restore = client.post(f"/api/v1/backups/{scene.backup(1).id}/restore", {"tables": ["orders"]})

    [(name, _, event)] = client.functions.invoked
    assert (found.status, name, event["target"]) == (202, "coffre-backup-database", "shop")
    assert [other.status, restore.status] == [403, 403]


def test_a_trigger_that_could_mean_several_targets_asks_which(client: Client, scene: ConsoleScene) -> None:
    several = client.post("/api/v1/trigger/backup-database")
    none = client.post("/api/v1/trigger/backup-buckets")
    wrong = client.post("/api/v1/trigger/backup-buckets?target=shop")
    unknown = client.post("/api/v1/trigger/backup-database?target=nope")
    without = client.post("/api/v1/trigger/verify?target=shop")

    assert [one.json["code"] for one in (several, none, wrong, unknown, without)] == [
        "TARGET_NEEDED",
        "TARGET_NEEDED",
        "TARGET_KIND",
        "TARGET_UNKNOWN",
        "NO_BACKUP",
    ]
    assert client.functions.invoked == []


def test_a_database_that_its_server_has_no_more_is_not_meant_and_not_measured(scene: ConsoleScene) -> None:
    scene.document["targets"] = [{"name": "main", "secret": "coffre/database/main", "databases": "all"}]
    scene.catalog.servers.add(SeenDatabase("main-shop", "main", "shop", NOW))
    scene.catalog.servers.add(SeenDatabase("main-old", "main", "old", NOW, gone_since=NOW))
    grant = Grant(frozenset({Permission.BACKUP, Permission.METRICS}), frozenset({"main", "main-shop", "main-old"}))
    client = Client(scene, Caller("key", "key 1 (cron)", "cron", (grant,)))

    found = client.post("/api/v1/trigger/backup-database")
    measured = client.get("/api/v1/metrics").body

    [(_, _, event)] = client.functions.invoked
    assert (found.status, event["target"]) == (202, "main-shop")
    assert 'coffre_target_safe{target="main-shop"}' in measured
    assert "main-old" not in measured


def test_a_trigger_verifies_the_newest_backup(client: Client, scene: ConsoleScene) -> None:
    scene.backup(5)
    newest = scene.backup(2)

    client.post("/api/v1/trigger/verify?target=shop")

    [(name, how, event)] = client.functions.invoked
    assert (name, how) == ("coffre-verify", "Event")
    assert (event["level"], event["backup_id"]) == ("read", newest.id)


def test_metrics_are_open_metrics_of_the_targets_of_the_key(client: Client, scene: ConsoleScene) -> None:
    scene.backup(3)
    grant = Grant(frozenset({Permission.METRICS}), frozenset({"shop"}))

    found = client.get("/api/v1/metrics")
    of_key = Client(scene, Caller("key", "key 1", "grafana", (grant,))).get("/api/v1/metrics")

    lines = found.body.splitlines()
    assert found.headers["content-type"].startswith("application/openmetrics-text")
    assert lines[-1] == "# EOF"
    assert 'coffre_backup_age_hours{target="shop"} 3' in lines
    assert 'coffre_target_safe{target="billing"} 0' in lines
    assert "billing" not in of_key.body


def test_the_audit_and_reports_are_read(client: Client, scene: ConsoleScene) -> None:
    scene.catalog.audit.record(NOW, ADMIN.actor, "backup.pinned", "shop", "x")

    audit = client.get("/api/v1/audit?actor=anna&action=backup&target=shop").json
    reports = client.get("/api/v1/reports?period=monthly").json

    assert [one["action"] for one in audit["events"]] == ["backup.pinned"]
    assert reports["report"]["period"] == "monthly"
    assert reports["kept"] == []


def test_no_answer_has_a_secret_of_the_configuration(client: Client, scene: ConsoleScene) -> None:
    planted = "planted-secret-value"
    scene.document["targets"][0]["secret"] = f"coffre/database/{planted}"
    scene.failed(1)
    urls = ["status", "targets", "objectives", "statistics", "backups", "runs", "restores", "alerts", "keys", "metrics"]

    bodies = [client.get(f"/api/v1/{url}").body for url in urls]

    assert all(bodies)
    assert planted not in json.dumps(bodies)


def test_a_stage_in_the_path_changes_no_route(client: Client, scene: ConsoleScene) -> None:
    from tests.console_client import event_of

    event: dict[str, Any] = event_of("GET", "/prod/api/v1/status")
    event["requestContext"]["stage"] = "prod"
    scene.document["console"] = {
        "address": "https://backups.example.com/prod",
        "issuer": "https://login.example.com",
        "client_id": "coffre",
        "roles": [{"group": "dba", "role": "admin"}],
    }

    assert client.app.handle(event)["statusCode"] == 200


def test_sessions_are_listed_and_ended_by_their_owner_or_an_admin(client: Client, scene: ConsoleScene) -> None:
    place = {"issuer": "https://login.example.com", "client_id": "coffre"}
    scene.document["console"] = {**place, "roles": [{"group": "dba", "role": "admin"}]}
    url, times = "/api/v1/sessions", {"began_at": NOW, "seen_at": NOW, "expires_at": NOW + timedelta(hours=8)}
    mine, phone, bens = (f"{number:064x}" for number in range(3))
    for one, name in ((mine, "anna"), (phone, "anna"), (bens, "ben")):
        scene.catalog.sessions.begin(Session(id=one, name=name, shown=name, browser="Firefox", **place, **times))
    viewer = Caller("person", "ben", "ben", (Grant.of_role("viewer", ["shop"]),), session=bens)

    client.gate.current = viewer
    of_ben = client.get(url).json["sessions"]
    refused = client.delete(f"{url}/{mine}")
    client.gate.current = replace(ADMIN, session=mine)
    of_all = client.get(url).json["sessions"]
    ended = client.delete(f"{url}/{bens}")
    over, wrong = client.delete(f"{url}/{bens}"), client.delete(f"{url}/all")
    client.gate.current = Caller("key", "k", "k", (Grant(frozenset({Permission.READ})),), key="k")
    of_key = client.get(url).json["sessions"]

    assert [(one["id"], one["is_this"]) for one in of_ben] == [(bens, True)]
    assert (refused.status, refused.json["code"]) == (404, "SESSION_UNKNOWN"), "as of one that does not exist"
    assert [one["name"] for one in of_all] == ["anna", "anna", "ben"]
    assert [one["id"] for one in of_all if one["is_this"]] == [mine]
    assert (ended.status, ended.json["name"]) == (200, "ben")
    assert (over.status, over.json["code"], wrong.status, of_key) == (404, "SESSION_UNKNOWN", 422, [])
    assert [one.action for one in scene.catalog.audit.events()] == ["session.ended"]
