"""A role for one of two targets: no page and no answer of the API says anything about the other one."""

import json
import re
from collections.abc import Mapping
from urllib.parse import unquote_plus

from tests.console_client import Client, Reply
from tests.console_restores import ended, started
from tests.console_scene import NOW, ConsoleScene

from coffre.model.audit import Actor
from coffre.model.backup import Progress
from coffre.model.copies import Copy, CopyStatus
from coffre.model.drill import Outcome
from coffre.model.drill_report import DrillReport, TableProof, Verdict
from coffre.model.incident import Incident
from coffre.model.kinds import SafetyState, TargetKind
from coffre.model.points import PointPart, PointRecord
from coffre.vault.reports import DrillReports
from coffre_console.access.caller import Caller, Grant
from coffre_console.access.permissions import OPEN, ROUTES
from coffre_console.pages.site import Site

OTHER = "zebra"
"""The other target; whatever else belongs to it has the word `quagga` in its name."""
_ADMIN = Caller("person", "anna", "anna", (Grant.of_role("admin"),), form_token="f" * 64, session="s")
_LIMITED = Caller("person", "rita", "rita", (Grant.of_role("admin", ["shop"]),), form_token="e" * 64, session="t")
_ID = r"/[0-9A-Z]{26}"
_POINT = "01M80T0000000000000000000P"
_DRILL = "01M80T0000000000000000000D"
_HEX = "0123456789abcdef"


def _records(scene: ConsoleScene, target: str, table: str, word: str, letter: str) -> Mapping[str, str]:
    """Leave one record of each kind, each with this word in it; return the ids by the names in routes."""
    catalog, at = scene.catalog, scene.now
    backup = scene.backup(30, target=target, tables={f"{table}_{word}": b"1\n"})
    scene.failed(4, target=target, message=f"the server {word} broke")
    running = scene.begin(0.01, target=target, heartbeat_at=at, started_by=f"{word}@example.com")
    catalog.heartbeat_backup(running.id, at, Progress(phase="tables", current=f"public.{word}"))
    catalog.protection.hold(backup.id, f"the case of {word}", at)
    restore = started(scene, backup, f"01M80T0000000000000000000{letter}", dry_run=False)
    dry_run = started(scene, backup, f"01M80T0000000000000000001{letter}")
    ended(scene, backup, dry_run, SafetyState.NOT_NEEDED, tables=(f"{table}_{word}",))
    catalog.audit.record(at, Actor(f"{word}@example.com"), "backup.held", target, backup.id, word)
    for about, kind in ((target, "BACKUP_FAILED"), ("-", "UNEXPECTED_ERROR"), ("copy:offsite", "COPY_FAILED")):
        incident = Incident(
            target=about, kind=kind, fingerprint=f"{word}{kind}", subject=f"{word} of {target}", since=at, seen_at=at
        )
        catalog.incidents.replace(None, incident)
    proof = TableProof(table=word, verdict=Verdict.DIFFERENT, rows=2, rows_found=1, size_bytes=1, slices=1, detail=word)
    fields = {"backup_id": backup.id, "target": target, "backup_created_at": at, "coffre_version": "0.1.0"}
    fields |= {"started_at": at, "completed_at": at, "outcome": Outcome.FAILED, "problems": (word,)}
    report = DrillReport(id=f"{_DRILL[:-1]}{letter}", tables=(proof,), **fields)
    DrillReports(scene.vault.store).write(report, "")
    catalog.latest.note_drill(report.summary)
    for copy in ("offsite", f"{word}-copy"):
        record = Copy(destination=copy, backup_id=backup.id, target=target, status=CopyStatus.FAILED, started_at=at)
        catalog.copies.keep(record.model_copy(update={"error": f"{word} was refused"}))
    return {"backup_id": backup.id, "restore_id": restore.id, "dry_run_id": dry_run.id, "drill_id": report.id}


def _scene(scene: ConsoleScene) -> tuple[Mapping[str, str], Mapping[str, str]]:
    """Leave records of the target `shop`, and of the other one; return the ids of both."""
    store = {"type": "directory", "path": "/copy"}
    scene.document["targets"] = [{"name": one, "secret": f"coffre/database/{one}"} for one in ("shop", OTHER)]
    scene.document["copies"] = [
        {"name": "offsite", "store": store},
        {"name": "quagga-copy", "store": store, "targets": [OTHER]},
    ]
    own, other = _records(scene, "shop", "orders", "horse", "A"), _records(scene, OTHER, "ledger", "quagga", "B")
    parts = [PointPart(target=OTHER, kind=TargetKind.BUCKET, backup_id=other["backup_id"])]
    parts.append(PointPart(target="shop", kind=TargetKind.DATABASE, backup_id=own["backup_id"]))
    point = PointRecord(id=_POINT, name="quagga-point", taken_at=NOW, parts=tuple(parts), references=1, sealed_at=NOW)
    scene.catalog.points.keep(point)
    return own, {**other, "point_id": _POINT}


def _asked(ids: Mapping[str, str], other: Mapping[str, str], target: str = "shop") -> list[tuple[str, str]]:
    """Return every route that is not open, with these ids, and with what a query can name; method and address."""
    found = []
    own = {"point_id": _POINT, "key_id": _HEX, "session_id": _HEX * 4, "plan_id": _HEX * 4, "target": target, **ids}
    for route, needed in ROUTES.items():
        method, path = route.split(" ")
        if needed == OPEN:
            continue
        url = re.sub(r"<(\w+)>", lambda match: own[match[1]], path)
        found.append((method, url))
        if method == "GET" and path in ("/backups", "/journal", "/restores", "/api/v1/backups", "/api/v1/alerts"):
            found.append((method, f"{url}?target={OTHER}"))
        if path == "/diff":
            found += [(method, f"{url}?first={own['backup_id']}"), (method, f"{url}?first={other['backup_id']}")]
        if path == "/backups/<backup_id>/restore" and method == "GET":
            chosen = "what=replace&tables=orders"
            found += [(method, f"{url}?{chosen}&dry_run_id={one['dry_run_id']}") for one in (own, other)]
        if path == "/backups/<backup_id>/drills/<drill_id>":
            found.append((method, url.replace(own["drill_id"], other["drill_id"])))
    return found


def _said(reply: Reply, sent: str) -> str:
    """Return all of an answer, without what the request itself has named."""
    text = unquote_plus(reply.body + json.dumps(dict(reply.headers))).lower()
    for word in re.findall(r"[0-9a-z]{5,}", sent.lower()):
        text = text.replace(word, "")
    return text


def _leaks(reply: Reply, sent: str, other: Mapping[str, str]) -> list[str]:
    text = _said(reply, sent)
    return [word for word in (OTHER, "quagga", "ledger", *map(str.lower, other.values())) if word in text]


def _of_none(url: str, hidden: Mapping[str, str]) -> str:
    """Return an address with ids that nothing has for those of the other target."""
    return re.sub("|".join(hidden.values()), "01K9X000000000000000000000", url)


def _without_ids(reply: Reply) -> tuple[int, str]:
    return reply.status, re.sub(r"[0-9A-Z]{26}", "ID", unquote_plus(reply.body))


def test_no_answer_says_anything_about_another_target(scene: ConsoleScene) -> None:
    own, other = _scene(scene)
    hidden = {name: value for name, value in other.items() if name != "point_id"}
    client = Client(scene, pages=Site())
    seen = 0
    foreign = [one for one in _asked(other, own, OTHER) if re.search(_ID, one[1])]
    foreign.append(("GET", f"/api/v1/targets/{OTHER}/journal"))
    foreign.append(("GET", f"/api/v1/backups/{own['backup_id']}/download?export_id={other['restore_id']}"))
    for method, url in [*_asked(own, hidden), *foreign]:
        is_foreign = any(one in url for one in other.values())
        is_of_api, is_read = url.startswith("/api/"), method == "GET"
        body = None if is_read else "{}" if is_of_api else f"target={OTHER}"
        kind = {"content-type": "application/json" if is_of_api else "application/x-www-form-urlencoded"}
        client.gate.current, before = _LIMITED, len(client.functions.invoked)
        reply = client.send(method, url, body, kind)
        assert _leaks(reply, url + (body or ""), hidden) == [], (method, url, reply.body)
        if is_foreign:
            unknown = client.send(method, _of_none(url, other), body, kind)
            assert _without_ids(reply) == _without_ids(unknown), (method, url)
            is_of_plan = "dry_run_id" in url  # the page waits for a dry run that may begin
            assert (reply.status >= 400 or is_of_plan, len(client.functions.invoked)) == (True, before), (method, url)
        elif is_read and reply.status == 200:
            client.gate.current = _ADMIN
            seen += bool(_leaks(client.get(url), url, hidden))
    assert seen >= 12, "who sees all targets sees the other one there"


def test_what_all_targets_share_counts_and_its_words_are_kept_back(scene: ConsoleScene) -> None:
    _scene(scene)
    scene.backup(2, target="shop")
    limited = Caller("person", "rita", "rita", (Grant.of_role("viewer", ["shop", "gone"]),))
    client = Client(scene, limited)

    found = client.get("/api/v1/status").json

    reasons = {one["code"]: one["sentence"] for one in found["reasons"]}
    assert reasons["UNEXPECTED_ERROR"] == "a critical alert is open: UNEXPECTED_ERROR, of more than one target."
    assert [one["name"] for one in found["copies"]] == ["offsite"]
    assert (found["vault"], found["cost"]) == (None, None)
    client.gate.current = Caller("person", "otto", "otto", (Grant.of_role("operator", ["gone"]),))
    unknown = client.post("/api/v1/backups", {"target": "gone"})
    assert (unknown.status, unknown.json["code"], OTHER in unknown.body) == (404, "TARGET_UNKNOWN", False)
    client.gate.current = _ADMIN
    assert OTHER in client.post("/api/v1/backups", {"target": "gone"}).body
