"""Reports, drills, restore points and sessions as pages."""

from dataclasses import replace
from datetime import timedelta

from tests.console_client import Client
from tests.console_restores import HOSTILE
from tests.console_scene import NOW, ConsoleScene
from tests.unit.console.pages.conftest import PERSON
from tests.unit.console.pages.markup import Markup

from coffre.model.drill import Outcome
from coffre.model.drill_report import CheckProof, DrillReport, TableProof, Verdict
from coffre.model.kinds import TargetKind
from coffre.model.points import PointCounts, PointPart, PointRecord
from coffre.model.report import Period
from coffre.model.session import Session
from coffre.stores.store import put_small
from coffre.vault.layout import report_key, reports_prefix
from coffre.vault.reports import DrillReports, keep_report
from coffre_console.access.caller import Caller, Grant
from coffre_console.access.sessions import browser_of
from coffre_console.reading.reports import report_now

ID = "01M80T0000000000000000000A"
LATER = "01M80T0000000000000000000B"


def page_of(client: Client, url: str) -> Markup:
    reply = client.get(url)
    page = Markup(reply.body)
    assert (reply.status, page.faults, "<script>alert" in reply.body) == (200, [], False), reply.body
    return page


def test_kept_reports_and_drills_are_pages_and_damaged_ones_are_said(scene: ConsoleScene, client: Client) -> None:
    backup, store = scene.backup(5), scene.vault.store
    month = report_now(scene.source, Period.MONTHLY)
    keep_report(store, ID, month.model_copy(update={"restores": (HOSTILE,)}), "<p>x</p>")
    assert f"/report?kept={ID}" in page_of(client, "/report").links
    kept = page_of(client, f"/report?kept={ID}")
    since, at = f"{month.since:%Y-%m-%d}", f"{month.at:%Y-%m-%d}"
    assert f"Report: {since} – {at}" in kept.text
    assert f"As of {at}: {month.status.headline}" in " ".join(kept.text.split())
    assert (f"Made on {at}" in kept.text, "coffre report monthly" in kept.commands) == (True, False)
    assert "coffre report monthly" in page_of(client, "/report?period=monthly").commands
    assert "🧨" in kept.text
    put_small(store, report_key(NOW, LATER, "json"), b"{")
    statuses = [client.get(f"/report?kept={one}").status for one in ("x", LATER, ID.replace("A", "C"))]
    assert statuses == [422, 500, 404]

    tables = [
        TableProof(table=name, verdict=verdict, rows=2, rows_found=1, size_bytes=1_500_000, slices=1, detail=HOSTILE)
        for name, verdict in (("a", Verdict.EQUAL), (HOSTILE, Verdict.DIFFERENT), ("b", Verdict.NOT_LOADED))
    ]
    check = CheckProof(name="orders", query="SELECT 1", expected=1, error=HOSTILE, passed=False)
    fields = {"backup_id": backup.id, "target": "shop", "backup_created_at": NOW, "coffre_version": "0.1.0"}
    fields |= {"started_at": NOW, "completed_at": NOW, "outcome": Outcome.FAILED, "problems": (HOSTILE,)}
    for drill_id in (ID, LATER):
        DrillReports(store).write(DrillReport(id=drill_id, tables=tables, checks=(check,), **fields), "")
    base = f"/backups/{backup.id}"
    assert {f"{base}/drills/{ID}", f"{base}/drills/{LATER}"} <= set(page_of(client, base).links)
    newest, older = page_of(client, f"{base}/drills/{LATER}"), page_of(client, f"{base}/drills/{ID}")
    assert (newest.commands, older.commands) == ([f"coffre report {backup.id}"], [])
    assert newest.text.index("DIFFERENT") < newest.text.index("equal")
    assert client.get(f"{base}/drills/{ID.replace('A', 'C')}").status == 404
    assert client.get(f"{base}/drills/x").status == 404
    (scene.root / "vault" / f"{reports_prefix('shop', backup.id)}drill-{LATER}.json").write_text("{")
    assert "REPORT_DAMAGED" in client.get(f"{base}/drills/{LATER}").body
    assert page_of(client, f"{base}/drills/{ID}").text == older.text


def test_a_restore_point_leads_to_its_database_first_and_then_to_its_buckets(
    scene: ConsoleScene, client: Client
) -> None:
    database, bucket = scene.backup(5), scene.bucket_backup(5, {"a.txt": 1})
    of_point = scene.begin(4, point=ID, point_name="night")
    counts = PointCounts(references=9, dangling=2)
    parts = (
        PointPart(target="files", kind=TargetKind.BUCKET, backup_id=bucket.id, counts=counts),
        PointPart(target="shop", kind=TargetKind.DATABASE, backup_id=database.id),
    )
    made = PointRecord(id=ID, name="shop", taken_at=NOW, parts=parts, references=9, sealed_at=NOW)
    assert f"/points/{ID}" not in page_of(client, f"/backups/{of_point.id}").links, "it is not kept yet"
    scene.catalog.points.keep(made)
    assert f"/points/{ID}" in page_of(client, f"/backups/{of_point.id}").links
    page = page_of(client, f"/points/{ID}")
    wizards = [link for link in page.links if "/restore?" in link]
    assert wizards == [f"/backups/{database.id}/restore?what=whole", f"/backups/{bucket.id}/restore?mode=overwrite"]
    assert page.commands == [f"coffre restore point {ID} --replace --mode overwrite --dry-run"]
    assert [client.get(f"/points/{one}").status for one in (LATER, "x")] == [404, 404]
    scene.catalog.points.keep(made.model_copy(update={"id": LATER, "sealed_at": None}))
    assert "not sealed" in page_of(client, f"/points/{LATER}").text
    client.gate.current = Caller(
        "person", "v", "v", (Grant.of_role("restorer", ["shop"]),), form_token="f", session="s"
    )
    assert client.get(f"/points/{ID}").status == 404
    plain = page_of(client, f"/backups/{of_point.id}")
    assert (f"/points/{ID}" in plain.links, ID in plain.text) == (False, True)
    client.gate.current = Caller("person", "v", "v", (Grant.of_role("restorer"),), form_token="f", session="s")
    assert not [link for link in page_of(client, f"/points/{ID}").links if "/restore?" in link]


def test_sessions_are_seen_and_ended_by_their_owner_or_an_admin(scene: ConsoleScene, client: Client) -> None:
    place = {"issuer": "https://login.example.com", "client_id": "coffre"}
    scene.document["console"] = {**place, "roles": [{"group": "dba", "role": "admin"}]}

    def begin(number: int, name: str, hours: float = 0.1, browser: str = "Firefox, Linux") -> str:
        at, one = NOW - timedelta(hours=hours), f"{number:064x}"
        expires = at + timedelta(hours=8)
        fields = {"name": name, "shown": f"{name} {HOSTILE}", "began_at": at, "seen_at": at, "expires_at": expires}
        fields |= place if number != 5 else {}
        scene.catalog.sessions.begin(Session(id=one, browser=browser, **fields))
        return one

    # Of the same person, whose address of mail was another one then
    mine, other, phone = begin(1, "anna"), begin(2, "ben"), begin(3, "anna (anna@old.example)", browser=HOSTILE)
    over = {begin(4, "anna", 9), begin(5, "anna")}
    client.gate.current = replace(PERSON, session=mine)

    def shown() -> set[str]:
        return {form.fields["id"] for form in page_of(client, "/sessions").forms if "id" in form.fields} - {"all"}

    assert shown() == {mine, other, phone}
    page = page_of(client, "/sessions").text
    assert (page.count("this one"), "Sessions of everyone" in page) == (1, True)
    viewer = Caller("person", "ben", "ben", (Grant.of_role("viewer", ["shop"]),), form_token="f", session=other)
    client.gate.current = viewer
    assert shown() == {other}
    assert "Where you are signed in now" in page_of(client, "/sessions").text
    assert client.submit("/sessions/end", id=mine).status == 303
    assert scene.catalog.sessions.find(mine) is not None, "without the permission it is like one that does not exist"
    assert [client.submit("/sessions/end", id="").status, client.submit("/sessions/end", id="x").status] == [422, 303]
    client.gate.current = replace(PERSON, session=mine)
    assert client.submit("/sessions/end", id=other).headers["location"] == "/sessions"
    assert shown() == {mine, phone}
    client.submit("/sessions/end", id="all")
    assert {one.id for one in scene.catalog.sessions.all()} == over
    ended = [(one.actor, one.detail) for one in scene.catalog.audit.events() if one.action == "session.ended"]
    assert len(ended) == 3, "what was over already has not been ended by anyone"
    assert {actor for actor, _ in ended} == {"anna"}
    assert {(detail or "").partition(" (")[0] for _, detail in ended} == {"anna", "ben"}
    assert any("Firefox" in (detail or "") for _, detail in ended)


def test_a_browser_is_named_by_what_people_call_it() -> None:
    mozilla = "Mozilla/5.0"
    assert browser_of(f"{mozilla} (X11; Linux x86_64; rv:140.0) Gecko/20100101 Firefox/140.0") == "Firefox, Linux"
    phone = f"{mozilla} (Linux; Android 10; K) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/156.0 Mobile Safari/537.36"
    assert browser_of(phone) == "Chrome, Android"
    assert browser_of(f"{phone} EdgA/156.0") == "Edge, Android"
    assert browser_of(f"{mozilla} (Macintosh; Intel Mac OS X 10_15) Version/26.0 Safari/605.1.15") == "Safari, macOS"
    assert (browser_of(""), browser_of("curl/8")) == ("", "")
