"""docs/api.md: every route is in a row of its table, every row works, and the dashboard has no number of its own."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from typing import Any, NamedTuple

from tests.console_client import Client
from tests.console_scene import ConsoleScene
from tests.unit.console.api.openapi import PATH
from tests.unit.console.api.test_downloads_api import AGE, EXPORT, exported, stored

from coffre.model.audit import Actor
from coffre.model.backup import Backup, Restore, Status
from coffre.model.confirmation import Act, Facts, Plan, Request, Seen
from coffre.model.restore import Scope
from coffre.model.session import Session
from coffre_console.access.permissions import OPEN, ROUTES
from coffre_console.api import metrics

DOCS = PATH.parent
OF_ALL = {"coffre_open_alerts", "coffre_copy_complete", "coffre_vault_bytes", "coffre_month_cost_dollars"}
RESTORE = "01KBVJ0000000000000000000R"


class Row(NamedTuple):
    """What the page promises of a route, as it is asked: `says` is a field of the answer, `starts` a function."""

    body: Any = None
    status: int = 200
    says: str = ""
    starts: str = ""
    query: str = ""


# By route, `{id}` being what the scene below has; a route that is asked about another backup names it.
ROWS: dict[str, Row] = {
    "GET /backups": Row(says="next", query="?type=database&status=COMPLETED&target=shop&since=2026-11-01T00:00:00Z"),
    "GET /statistics": Row(says="success_rate_percent"),
    "POST /backups": Row({"target": "billing"}, 202, "location", "backup-database"),
    "GET /backups/{id}": Row(says="history"),
    "DELETE /backups/{id}": Row({"dry_run": True}, says="token", starts="rotate"),
    "POST /backups/{id}/download": Row({"recipients": [AGE]}, 202, "location", "restore"),
    "GET /backups/{id}/download": Row(says="expires_at", query=f"?export_id={EXPORT}"),
    "POST /backups/{id}/restore": Row({"tables": ["orders"], "dry_run": True}, 202, "location", "restore"),
    "GET /approvals": Row(says="plans"),
    "GET /approvals/{id}": Row(says="overwrites"),
    "POST /approvals/{id}/approve": Row({"sha256": "0" * 64}, says="state", starts="restore"),
    "POST /approvals/{id}/decline": Row({"sha256": "0" * 64, "reason": "no"}, says="state", starts="restore"),
    "POST /approvals/{id}/run": Row({"name": "shop"}, 202, "location", "restore"),
    "POST /backups/{id}/cancel": Row(says="backup", starts="rotate"),
    "POST /restores/{id}/cancel": Row(says="restore", starts="rotate"),
    "POST /backups/{id}/pin": Row(says="backup", starts="rotate"),
    "DELETE /backups/{id}/pin": Row(says="backup", starts="rotate"),
    "POST /backups/{id}/hold": Row({"reason": "case 4711"}, says="backup", starts="rotate"),
    "DELETE /backups/{id}/hold": Row(says="backup", starts="rotate"),
    "POST /backups/{id}/verify": Row({}, 202, "location", "verify"),
    "POST /backups/{id}/drill": Row(None, 202, "location", "drill"),
    "GET /runs": Row(says="runs"),
    "GET /restores": Row(says="next"),
    "GET /restores/{id}": Row(says="report"),
    "GET /status": Row(says="targets"),
    "GET /targets": Row(says="targets"),
    "GET /targets/{id}/journal": Row(says="stretches"),
    "GET /objectives": Row(says="objectives"),
    "GET /reports": Row(says="kept", query="?period=weekly"),
    "GET /alerts": Row(says="alerts"),
    "POST /alerts/test": Row(says="tried", starts="notify"),
    "GET /audit": Row(says="has_more", query="?target=shop&action=backup&actor=a"),
    "GET /keys": Row(says="keys"),
    "POST /keys": Row({"label": "cron", "scopes": ["backup:run:shop"], "days": 90}, says="secret"),
    "POST /keys/{id}/rotate": Row({}, says="secret"),
    "DELETE /keys/{id}": Row(says="state"),
    "GET /sessions": Row(says="sessions"),
    "DELETE /sessions/{id}": Row(says="browser"),
    "GET /metrics": Row(),
    "POST /trigger/backup-database": Row(None, 202, "location", "backup-database", "?target=shop"),
    "POST /trigger/backup-buckets": Row(None, 202, "location", "backup-storage", "?target=files"),
    "POST /trigger/verify": Row(None, 202, "location", "verify", "?target=shop"),
}


def rows() -> Iterator[str]:
    """Yield `METHOD /path` of every row of the table. "`POST`, `GET /x`" are two routes, "`GET /x`, `/y`" too."""
    section = (DOCS / "api.md").read_text().split("## What is possible")[1].split("\n## ")[0]
    for line in section.splitlines():
        waiting: list[str] = []
        last = ""
        for code in re.findall(r"`([^`]+)`", "".join(line.split("|")[2:3])):
            method, _, path = code.rpartition(" ") if "/" in code else (code, "", "")
            waiting = [*waiting, method] if method else [last]
            last = waiting[-1]
            if path:
                yield from (f"{one} {path.partition('?')[0]}" for one in waiting)
                waiting = []


def test_the_page_has_every_route_in_a_row_and_no_other() -> None:
    served = {re.sub(r"<\w+>", "{id}", route.replace(" /api/v1", " ")) for route in ROUTES if " /api/v1/" in route}

    assert sorted(rows()) == sorted(served - {"GET /openapi.json"})
    assert ROUTES["GET /api/v1/openapi.json"] == OPEN
    assert "`GET /api/v1/openapi.json`" in (DOCS / "api.md").read_text()


def test_every_row_of_the_page_works(client: Client, scene: ConsoleScene) -> None:
    """Asked in the order of the table, each is answered as its row says, and starts the function that does it."""
    stored()
    scene.now = datetime.now(UTC).replace(microsecond=0)  # moto's credentials end an hour from the true time
    files = {"name": "files", "kind": "bucket", "buckets": [{"name": "docs"}]}
    scene.document["targets"].append(files)
    good = scene.backup(5)
    exported(scene, good)
    running = Restore(
        id=RESTORE, backup_id=good.id, target="shop", destination="x", status=Status.IN_PROGRESS, created_at=scene.now
    )
    scene.catalog.create_restore(running)
    key = client.post("/api/v1/keys", {"label": "old", "scopes": ["backup:read"]}).json["key"]["id"]
    waiting = {"approvals": _approved(scene, good), "sessions": _session(scene)}
    changed = {"backup": good.model_dump(mode="json"), "restore": running.model_dump(mode="json")}
    plan = {"backup_id": good.id, "deleted": False, "plan": {"name": "shop"}, "token": "t" * 43}
    client.functions.answers = {"coffre-rotate": {**changed, **plan}, "coffre-notify": {"tried": []}}

    for route in rows():
        method, path = route.split(" ")
        row, known = ROWS[route], {"backups": good.id, "restores": RESTORE, "keys": key, "targets": "shop", **waiting}
        client.functions.invoked.clear()
        reply = client.send(
            method, f"/api/v1{path.replace('{id}', known.get(path.split('/')[1], ''))}{row.query}", row.body
        )
        assert reply.status == row.status, (route, reply.body)
        assert not row.says or row.says in reply.json, (route, reply.body)
        assert {name for name, _, _ in client.functions.invoked} == (
            {f"coffre-{row.starts}"} if row.starts else set()
        ), route
        if row.status == 202:
            assert reply.headers["location"] == reply.json["location"], route


def _approved(scene: ConsoleScene, backup: Backup) -> str:
    """Leave a plan of the administrator that another person has approved, and return its id."""
    scope = Scope(tables=("orders",), replace=True)
    request = Request.of(Act.RESTORE, backup.target, backup.id, backup.manifest_sha256, scope)
    plan = Plan(request=request, seen=Seen(destination="db/shop", name="shop", facts=Facts()))
    kept, hour = scene.catalog.confirmations, timedelta(hours=1)
    issued = kept.issue(plan, Actor.in_console("anna"), scene.now, lifetime=hour, approvals=1)[1]
    kept.approve(issued, "arn:ben", scene.now, lifetime=hour)
    return issued.id


def _session(scene: ConsoleScene) -> str:
    place = {"issuer": "https://login.example.com", "client_id": "coffre"}
    scene.document["console"] = {**place, "roles": [{"group": "dba", "role": "admin"}]}
    times = {"began_at": scene.now, "seen_at": scene.now, "expires_at": scene.now + timedelta(hours=8)}
    scene.catalog.sessions.begin(Session(id="a" * 64, name="anna", shown="anna", **place, **times))
    return "a" * 64


def test_the_dashboard_shows_what_the_console_sends() -> None:
    panels = json.loads((DOCS / "grafana.json").read_text())["panels"]

    shown = {name for panel in panels for one in panel["targets"] for name in re.findall(r"coffre_\w+", one["expr"])}
    assert shown <= metrics._OF_TARGETS.keys() | OF_ALL
