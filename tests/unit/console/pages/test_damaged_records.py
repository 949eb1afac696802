"""A damaged record of the catalog hides no other one: each list names it, and says what to do."""

from __future__ import annotations

from dataclasses import replace

import pytest
from tests.catalog_table import spoil
from tests.console_client import Client
from tests.console_scene import NOW, ConsoleScene
from tests.unit.console.pages.conftest import PERSON
from tests.unit.console.pages.markup import Markup

from coffre.alerts.alert import AlertKind
from coffre.model.api_key import ApiKey
from coffre.model.backup import Restore
from coffre.model.incident import Incident
from coffre.model.kinds import Status
from coffre.model.session import Session
from coffre_console.access.caller import Grant

EVE = replace(PERSON, name="eve", grants=(Grant.of_role("admin", ["shop"]),))
"""The audit and the keys are about all targets: this role does not reach them."""


def session(number: int) -> Session:
    fields = {"name": "anna", "shown": "anna", "issuer": "https://login.example.com", "client_id": "coffre"}
    return Session(id=f"{number:064x}", began_at=NOW, seen_at=NOW, expires_at=NOW.replace(hour=12), **fields)


def fill(scene: ConsoleScene) -> None:
    """Leave two of everything that is listed."""
    place = {"issuer": "https://login.example.com", "client_id": "coffre"}
    scene.document["console"] = {**place, "roles": [{"group": "dba", "role": "admin"}]}
    for number in (1, 2):
        backup = scene.begin(number, target="shop")
        scene.catalog.create_restore(
            Restore(
                id=backup.id,
                backup_id=backup.id,
                target="shop",
                destination="db/shop",
                status=Status.IN_PROGRESS,
                created_at=NOW,
                started_at=NOW,
                heartbeat_at=NOW,
            )
        )
        scene.catalog.sessions.begin(session(number))
        key = ApiKey(
            id=f"{number:016x}",
            label=f"cron {number}",
            scopes=("backup:run",),
            sha256="0" * 64,
            made_by="anna",
            made_at=NOW,
            expires_at=NOW.replace(month=12),
        )
        scene.catalog.api_keys.create(key)
        kind, text = AlertKind.BACKUP_FAILED.value, f"alert {number}"
        found = Incident(
            target="shop", kind=kind, fingerprint=str(number), subject=text, since=NOW, seen_at=NOW, seen=1
        )
        scene.catalog.incidents.replace(None, found)
        scene.catalog.audit.record(NOW, PERSON.actor, f"act.number{number}", "shop")


LISTS = {
    "/backups": ("BACKUP", "created_at", "backups"),
    "/backups?type=database": ("BACKUP", "created_at", "backups"),
    "/running": ("BACKUP", "created_at", "runs"),
    "/restores": ("RESTORE", "created_at", "restores"),
    "/sessions": ("SESSION", "name", "sessions"),
    "/keys": ("APIKEY", "scopes", "keys"),
    "/alerts": ("ALERT", "since", "alerts"),
    "/audit": ("AUDIT#shop", "actor", "events"),
}


@pytest.mark.parametrize("path", LISTS)
def test_a_damaged_record_is_named_above_the_others(scene: ConsoleScene, client: Client, path: str) -> None:
    partition, field, name = LISTS[path]
    fill(scene)
    api = f"/api/v1{path.replace('running', 'runs')}"
    before = client.get(api).json

    key = spoil(partition, field)
    listed, page = client.get(api), client.get(path)

    assert (listed.status, page.status, before["unread"]) == (200, 200, [])
    assert len(listed.json[name]) == len(before[name]) - 1
    said = f'The catalog\'s record "{key}" is damaged. This item of the table was changed by hand:'
    assert [one.startswith(said) for one in listed.json["unread"]] == [True]
    markup = Markup(page.body)
    assert (markup.faults, said in markup.text) == ([], True)


@pytest.mark.parametrize("path", ["/backups", "/restores", "/running", "/alerts", "/sessions"])
def test_a_role_for_some_targets_learns_that_one_exists_and_not_which(
    scene: ConsoleScene, client: Client, path: str
) -> None:
    partition, field, _ = LISTS[path]
    fill(scene)
    key = spoil(partition, field)
    client.gate.current = EVE

    page = client.get(path)

    assert (page.status, key in page.body) == (200, False)
    assert "A record of the catalog cannot be read." in page.body


def test_the_dashboard_and_the_statistics_name_it_too(scene: ConsoleScene, client: Client) -> None:
    fill(scene)
    alert, backup = spoil("ALERT", "since"), spoil("BACKUP", "created_at")

    dashboard, counted = Markup(client.get("/").body).text, client.get("/api/v1/statistics").json

    assert alert in dashboard
    assert "alert 1" in dashboard
    assert (counted["backups"], [backup in one for one in counted["unread"]]) == (1, [True])


def test_a_list_of_pages_passes_one_that_is_damaged(scene: ConsoleScene, client: Client) -> None:
    for number in (1, 2, 3):
        scene.begin(number)
    key = spoil("BACKUP", "created_at")

    pages = []
    url = "/api/v1/backups?size=1"
    while url:
        page = client.get(url).json
        pages.append((len(page["backups"]), [key in one for one in page["unread"]]))
        url = f"/api/v1/backups?size=1&cursor={page['next']}" if page["next"] else ""

    assert pages[:3] == [(0, [True]), (1, []), (1, [])]
    assert len(pages) <= 4
