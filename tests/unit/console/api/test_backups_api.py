"""Backups over the API: what is asked of the functions, what is refused, and nothing is done by the console."""

import pytest
from botocore.exceptions import EndpointConnectionError
from tests.console_client import Client
from tests.console_scene import NOW, ConsoleScene

from coffre.catalog.console_starts import BEGINS_WITHIN
from coffre.model.backup import Failure
from coffre_console.access.caller import Caller, Grant

UNKNOWN = "01K9X000000000000000000000"


def test_the_list_is_filtered_and_paged_by_the_url(client: Client, scene: ConsoleScene) -> None:
    made = [scene.backup(hours).id for hours in (1, 2, 3)]
    scene.failed(4)
    scene.backup(5, target="billing")

    first = client.get("/api/v1/backups?target=shop&status=COMPLETED&type=database&size=2")
    second = client.get(f"/api/v1/backups?target=shop&status=COMPLETED&size=2&cursor={first.json['next']}")
    counted = client.get("/api/v1/statistics?target=shop")

    assert [one["id"] for one in first.json["backups"] + second.json["backups"]] == made
    assert second.json["next"] is None
    assert counted.json["by_status"] == {"COMPLETED": 3, "FAILED": 1, "IN_PROGRESS": 0, "DELETED": 0}
    assert counted.json["success_rate_percent"] == 75.0


@pytest.mark.parametrize(
    ("query", "where"),
    [
        ("typ=database", "query.typ"),
        ("type=tape", "query.type"),
        ("status=DONE", "query.status"),
        ("size=0", "query.size"),
        ("size=201", "query.size"),
        ("size=many", "query.size"),
        ("cursor=abc", "query.cursor"),
        ("since=2026-11-01", "query.since"),  # a day without a time and a zone
        ("since=2026-11-01T00:00:00", "query.since"),
        ("since=0001-01-01T00:00:00%2B02:00", "query.since"),
        ("until=9999-12-31T23:59:59Z", "query.until"),
        ("target=../x", "query.target"),
    ],
)
def test_a_wrong_filter_is_named(client: Client, query: str, where: str) -> None:
    found = client.get(f"/api/v1/backups?{query}")

    assert (found.status, found.headers["content-type"]) == (422, "application/problem+json")
    assert [one["where"] for one in found.json["errors"]] == [where]
    assert found.json["hint"]


def test_a_backup_starts_the_function_with_the_event_of_the_command(client: Client) -> None:
    found = client.post("/api/v1/backups", {"target": "shop", "keep": "7d"})

    [(name, how, event)] = client.functions.invoked
    assert found.status == 202
    assert found.headers["location"] == found.json["location"] == f"/api/v1/backups/{event['backup_id']}"
    assert (name, how) == ("coffre-backup-database", "Event")
    assert {key: event[key] for key in ("target", "tier", "keep", "actor")} == {
        "target": "shop",
        "tier": "MANUAL",
        "keep": "7d",
        "actor": "anna",
    }
    assert event["proof"]["signature"]


def test_a_backup_is_refused_while_one_of_its_target_runs(client: Client, scene: ConsoleScene) -> None:
    running = scene.begin(0.1)

    refused = client.post("/api/v1/backups", {"target": "shop"})
    other = client.post("/api/v1/backups", {"target": "billing"})

    assert (refused.status, refused.json["code"]) == (409, "BACKUP_RUNNING")
    assert refused.headers["location"] == f"/api/v1/backups/{running.id}"
    assert other.status == 202
    assert len(client.functions.invoked) == 1


def test_the_second_of_two_requests_is_refused_before_the_function_has_begun(
    client: Client, scene: ConsoleScene
) -> None:
    first = client.post("/api/v1/backups", {"target": "shop"})

    second = client.post("/api/v1/backups", {"target": "shop"})
    triggered = client.post("/api/v1/trigger/backup-database?target=shop")
    safety = client.post(f"/api/v1/backups/{scene.backup(9).id}/restore", {"replace": True, "safety_backup": True})

    for refused in (second, triggered, safety):
        assert (refused.status, refused.json["code"]) == (409, "BACKUP_RUNNING")
        assert refused.headers["location"] == first.headers["location"]
    assert client.post("/api/v1/backups", {"target": "billing"}).status == 202
    assert [event["target"] for _, _, event in client.functions.invoked] == ["shop", "billing"]

    # Once it has ended, however soon, the next one may begin
    begun = scene.begin(0, id=first.json["id"])
    scene.catalog.fail_backup(begun.id, Failure(code="DUMP_FAILED", message="It broke."), scene.now)
    third = client.post("/api/v1/backups", {"target": "shop"})
    assert third.status == 202
    # A function that never began blocks no one for long
    scene.now += BEGINS_WITHIN
    assert client.post("/api/v1/backups", {"target": "shop"}).status == 202


def test_a_start_that_failed_can_be_repeated(client: Client, scene: ConsoleScene) -> None:
    def unreachable(**asked: object) -> None:
        raise EndpointConnectionError(endpoint_url="https://lambda.example.com")

    working = client.functions.invoke
    client.functions.invoke = unreachable  # type: ignore[assignment, method-assign]
    assert client.post("/api/v1/backups", {"target": "shop"}).status == 503
    client.functions.invoke = working  # type: ignore[method-assign]
    assert client.post("/api/v1/backups", {"target": "shop"}).status == 202


@pytest.mark.parametrize(
    ("body", "status", "where"),
    [
        ({"target": "shop", "tier": "SAFETY"}, 422, "body.tier"),
        ({"target": 7}, 422, "body.target"),
        ({"target": "shop", "keep": "soon"}, 422, "body.keep"),
        ({}, 422, "body.target"),
        ("{", 422, "body.1"),
        ("[]", 422, "body"),
        ({"target": "nothing"}, 404, None),
    ],
)
def test_a_wrong_body_starts_nothing(client: Client, body: object, status: int, where: str | None) -> None:
    found = client.post("/api/v1/backups", body)

    assert found.status == status
    assert [one["where"] for one in found.json.get("errors", [])] == ([where] if where else [])
    assert client.functions.invoked == []


def test_one_backup_is_shown_with_parts_and_history(client: Client, scene: ConsoleScene) -> None:
    backup = scene.backup(3)

    found = client.get(f"/api/v1/backups/{backup.id}").json

    assert found["backup"]["id"] == backup.id
    assert [part["name"] for part in found["parts"]] == ["public.orders", "public.customers"]
    assert found["history"] == [{"at": "2026-11-22T05:00:00Z", "what": "verified", "id": found["history"][0]["id"]}]
    assert found["versions"]["client"] == "18.0"


@pytest.mark.parametrize(
    ("method", "path", "body", "asked"),
    [
        ("POST", "pin", None, {"pin"}),
        ("DELETE", "pin", None, {"unpin"}),
        ("POST", "hold", {"reason": "case 4711"}, {"hold", "reason"}),
        ("DELETE", "hold", None, {"release"}),
        ("POST", "cancel", None, {"cancel"}),
    ],
)
def test_what_changes_a_backup_is_asked_of_rotate(
    client: Client, scene: ConsoleScene, method: str, path: str, body: object, asked: set[str]
) -> None:
    backup = scene.backup(3)
    client.functions.answers["coffre-rotate"] = {"backup": backup.model_dump(mode="json")}

    found = client.send(method, f"/api/v1/backups/{backup.id}/{path}", body)

    [(name, how, event)] = client.functions.invoked
    assert (found.status, found.json["backup"]["id"]) == (200, backup.id)
    assert (name, how) == ("coffre-rotate", "RequestResponse")
    assert event.keys() == asked | {"actor", "proof"}


def test_a_refusal_of_the_function_is_a_conflict_with_its_words(client: Client, scene: ConsoleScene) -> None:
    backup = scene.backup(3)
    failure = {"code": "RUN_ENDED", "message": "It is not running.", "hint": "Nothing is left to cancel."}
    client.functions.answers["coffre-rotate"] = {"failure": failure}

    found = client.post(f"/api/v1/backups/{backup.id}/cancel")

    assert found.status == 409
    assert found.json == {
        "type": "urn:coffre:error:RUN_ENDED",
        "title": "It is not running.",
        "status": 409,
        "code": "RUN_ENDED",
        "hint": "Nothing is left to cancel.",
    }


def test_a_deletion_needs_the_plan_of_a_dry_run(client: Client, scene: ConsoleScene) -> None:
    backup = scene.backup(3)
    plan = {"backup_id": backup.id, "target": "shop", "deleted": False, "plan": {"name": "shop"}, "token": "t" * 43}
    client.functions.answers["coffre-rotate"] = lambda event: (
        plan if event["delete"].get("dry_run") else {"backup_id": backup.id, "target": "shop", "deleted": True}
    )

    bare = client.delete(f"/api/v1/backups/{backup.id}", {})
    planned = client.delete(f"/api/v1/backups/{backup.id}", {"dry_run": True})
    confirmation = {"token": planned.json["token"], "name": "shop"}
    deleted = client.delete(f"/api/v1/backups/{backup.id}", {"confirmation": confirmation})

    assert (bare.status, bare.json["code"]) == (409, "CONFIRMATION_NEEDED")
    assert planned.json["plan"] == {"name": "shop"}
    assert deleted.json["deleted"] is True
    assert [event["delete"] for _, _, event in client.functions.invoked] == [
        {"backup_id": backup.id, "dry_run": True},
        {"backup_id": backup.id},
    ]


@pytest.mark.parametrize(
    ("method", "path", "body"),
    [
        ("GET", "", None),
        ("DELETE", "", {"dry_run": True}),
        ("POST", "/pin", None),
        ("POST", "/hold", {"reason": "x"}),
        ("POST", "/verify", {}),
        ("POST", "/drill", None),
        ("POST", "/restore", {"tables": ["orders"]}),
    ],
)
def test_an_unknown_backup_is_not_found(client: Client, method: str, path: str, body: object) -> None:
    found = client.send(method, f"/api/v1/backups/{UNKNOWN}{path}", body)

    assert (found.status, found.json["code"]) == (404, "BACKUP_UNKNOWN")
    assert client.functions.invoked == []


def test_what_is_deleted_is_neither_verified_nor_restored(client: Client, scene: ConsoleScene) -> None:
    failed = scene.failed(3)

    answers = [
        client.post(f"/api/v1/backups/{failed.id}/{what}", body)
        for what, body in (("verify", {}), ("drill", None), ("restore", {"tables": ["orders"]}))
    ]

    assert [one.status for one in answers] == [409, 409, 409]
    assert client.functions.invoked == []


def test_who_sees_some_targets_sees_and_does_nothing_else(scene: ConsoleScene) -> None:
    own, other = scene.backup(1), scene.backup(2, target="billing")
    client = Client(scene, Caller("person", "ben", "ben", (Grant.of_role("operator", ["shop"]),)))

    listed = client.get("/api/v1/backups")
    refused = [
        client.get(f"/api/v1/backups/{other.id}"),
        client.get("/api/v1/backups?target=billing"),
        client.post("/api/v1/backups", {"target": "billing"}),
        client.post(f"/api/v1/backups/{other.id}/pin"),
        client.delete(f"/api/v1/backups/{own.id}", {"dry_run": True}),
        client.get("/api/v1/audit"),
        client.get("/api/v1/reports"),
    ]

    assert [one["id"] for one in listed.json["backups"]] == [own.id]
    # What another target's id names is as unknown as what no id names
    assert [one.status for one in refused] == [404, 403, 403, 404, 403, 403, 403]
    assert "billing" not in client.get("/api/v1/status").body + client.get("/api/v1/metrics").body
    assert client.functions.invoked == []


def test_who_is_not_signed_in_learns_nothing_about_fields(scene: ConsoleScene) -> None:
    client = Client(scene, None)

    found = [
        client.post("/api/v1/backups", {"nonsense": 1}),
        client.get("/api/v1/backups?nonsense=1"),
        client.get("/api/v1/backups/nonsense"),
        client.get("/api/v1/keys"),
    ]

    assert {one.status for one in found} == {401}
    assert len({one.body for one in found}) == 1


def test_a_catalog_that_does_not_answer_is_said_and_not_shown(
    client: Client, scene: ConsoleScene, monkeypatch: pytest.MonkeyPatch
) -> None:
    from coffre.model.errors import CatalogError

    def gone(*_: object, **__: object) -> None:
        raise CatalogError('The catalog table "catalog" did not answer Query.', detail="secret words", hint="Wait.")

    monkeypatch.setattr(type(scene.catalog), "page_of_backups", gone)

    found = client.get("/api/v1/backups")

    assert (found.status, found.headers["retry-after"]) == (503, "30")
    assert found.json["hint"] == "Wait."
    assert "secret words" not in found.body


def test_every_answer_has_the_headers_of_the_table(client: Client) -> None:
    for found in (client.get("/api/v1/status"), client.get("/nothing"), client.get("/api/v1/backups?x=1")):
        assert found.headers["cache-control"] == "no-store"
        assert found.headers["x-content-type-options"] == "nosniff"
        assert "default-src 'none'" in found.headers["content-security-policy"]


def test_times_of_an_answer_have_their_zone(client: Client, scene: ConsoleScene) -> None:
    scene.backup(1)

    [backup] = client.get(f"/api/v1/backups?since={NOW.replace(hour=0):%Y-%m-%dT%H:%M:%SZ}").json["backups"]

    assert backup["created_at"] == "2026-11-22T04:00:00Z"
