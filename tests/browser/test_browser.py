"""The console in a real browser: accessible, within its policy, and whole with and without JavaScript."""

from collections.abc import Callable
from datetime import timedelta
from typing import Any

import pytest
from playwright.sync_api import Browser
from tests.browser.conftest import AXE, tab
from tests.console_journal import journal_with_gap
from tests.console_restores import HOSTILE, ended, started
from tests.console_scene import NOW, ConsoleScene
from tests.console_web import Web
from tests.unit.console.api.test_downloads_api import AGE, EXPORT, exported, stored

from coffre.model.audit import Actor
from coffre.model.backup import Backup, Failure, Progress
from coffre.model.confirmation import Plan
from coffre.model.drill import Outcome
from coffre.model.drill_report import DrillReport, TableProof, Verdict
from coffre.model.kinds import SafetyState, Status, TargetKind
from coffre.model.points import PointPart, PointRecord
from coffre.model.report import Period
from coffre.vault.reports import DrillReports, keep_report
from coffre_console.reading.reports import report_now


def filled(scene: ConsoleScene) -> dict[str, Backup]:
    """Leave backups of each state, with hostile names."""
    for days in range(9, 1, -1):
        scene.backup(24 * days)
    good = scene.backup(5, tables={HOSTILE: b"1\n", "orders": b"1\n2\n"})
    scene.catalog.audit.record(scene.now, Actor(HOSTILE), "backup.held", "shop", good.id, HOSTILE)
    running = scene.begin(0.01, target="billing", heartbeat_at=scene.now)
    done = Progress(phase="tables", done_bytes=3, total_bytes=9, done_tables=1, total_tables=4, current=HOSTILE)
    scene.catalog.heartbeat_backup(running.id, scene.now, done)
    return {"good": good, "failed": scene.failed(3, message=HOSTILE), "running": running}


def planned(scene: ConsoleScene, plans: list[Plan]) -> Callable[[dict[str, Any]], dict[str, Any]]:
    """Return what the function `restore` answers with: the last of these plans, with a token for who asks."""

    def restore(event: dict[str, Any]) -> dict[str, Any]:
        lifetime, actor = timedelta(minutes=10), Actor(event["actor"], verified=True)
        token, issued = scene.catalog.confirmations.issue(plans[-1], actor, scene.now, lifetime=lifetime, approvals=0)
        return {"plan": issued.answer(), "token": token}

    return restore


def proven(scene: ConsoleScene, backup: Backup) -> list[str]:
    """Leave what is known of a backup besides itself, and return the addresses of its pages."""
    files = scene.bucket_backup(5, {f"2026/{HOSTILE}": 1_500_000, "top.txt": 3})
    ids = [f"01M80T0000000000000000000{letter}" for letter in "CDEFG"]
    table = TableProof(table=HOSTILE, verdict=Verdict.DIFFERENT, rows=2, size_bytes=9, slices=1, detail=HOSTILE)
    fields = {"backup_id": backup.id, "target": "shop", "backup_created_at": NOW, "coffre_version": "0.1.0"}
    fields |= {"started_at": NOW, "completed_at": NOW, "outcome": Outcome.FAILED, "problems": (HOSTILE,)}
    DrillReports(scene.vault.store).write(DrillReport(id=ids[0], tables=(table,), **fields), "")
    keep_report(scene.vault.store, ids[1], report_now(scene.source, Period.MONTHLY), "<p>x</p>")
    parts = [(files, TargetKind.BUCKET), (backup, TargetKind.DATABASE)]
    those = tuple(PointPart(target=one.target, kind=kind, backup_id=one.id) for one, kind in parts)
    scene.catalog.points.keep(PointRecord(id=ids[2], name="shop", taken_at=NOW, parts=those, sealed_at=NOW))
    for export_id, status in ((ids[3], Status.IN_PROGRESS), (EXPORT, Status.COMPLETED)):
        exported(scene, backup, export_id, status=status, heartbeat_at=scene.now)
    stored()
    paths = [f"/backups/{backup.id}/drills/{ids[0]}", f"/report?kept={ids[1]}", f"/points/{ids[2]}", "/sessions"]
    paths += [f"/backups/{files.id}/{name}" for name in ("contents", "contents?bucket=docs&prefix=2026/", "restore")]
    return [*paths, f"/backups/{backup.id}/download", f"/backups/{backup.id}/download?export_id={ids[3]}"]


@pytest.mark.parametrize(("scheme", "width", "locale"), [("light", 1280, "en-GB"), ("dark", 320, "fr-FR")])
def test_every_page_is_accessible_and_within_its_policy(
    chromium: Browser, web: Web, scene: ConsoleScene, scheme: Any, width: int, locale: str
) -> None:
    found = filled(scene)
    scene.document["targets"][0]["journal"] = {}
    journal_with_gap(scene)
    good = found["good"].id
    trial = started(scene, found["good"], "01M80T0000000000000000000A")
    plans = [ended(scene, found["good"], trial, SafetyState.PRESENT)]
    web.client.functions.answers["coffre-restore"] = planned(scene, plans)
    paths = ["/", "/backups", "/backups?type=bucket", "/targets", "/running", "/restores", "/alerts", "/report"]
    paths += ["/audit", "/keys", "/settings", "/backups/new", "/nothing", f"/diff?first={good}", "/journal?target=shop"]
    paths += [f"/backups/{one.id}" for one in found.values()] + [f"/restores/{trial.id}"]
    paths += [f"/backups/{good}/{name}" for name in ("hold", "restore", "delete", "contents")]
    paths += [f"/backups/{good}/restore?what=replace&tables=orders&dry_run_id={trial.id}"]
    paths += proven(scene, found["good"])
    issue, ben = scene.catalog.confirmations.issue, Actor.in_console(f"ben {HOSTILE}")
    waiting = issue(plans[0], ben, scene.now, lifetime=timedelta(hours=1), approvals=1)[1]
    paths += ["/approvals", f"/approvals/{waiting.id}"]
    size = {"width": width, "height": 800}
    with tab(chromium, web, color_scheme=scheme, viewport=size, locale=locale) as one:
        page, wrong = one.page, []
        page.context.add_init_script(path=AXE)

        def look() -> None:
            nonlocal wrong
            wrong += one.axe()
            if page.evaluate("document.documentElement.scrollWidth > document.documentElement.clientWidth"):
                wrong.append(f"{page.url} is wider than {width} px")
            if page.locator("html").get_attribute("lang") != locale[:2]:
                wrong.append(f"{page.url} is in another language")

        for path in paths:
            one.open(path)
            look()
        one.open(f"/backups/{good}/download?export_id={EXPORT}")
        page.locator("form:has(input[name=step]) button").first.click()
        page.locator(".notice.good a").wait_for()
        look()
        one.open(f"/backups/{good}/restore?what=replace&tables=orders&dry_run_id={trial.id}")
        page.locator("input[name=name]").fill("shop")
        page.locator("button.grave").click()
        page.locator("[data-stop]").wait_for()
        look()
        page.locator("[data-stop]").click()
        page.locator("form.who button").click()
        page.wait_for_url("**/logout")
        look()
        one.open("/")
        look()
        assert wrong == []


def test_the_first_view_asks_the_console_alone_and_few_things(chromium: Browser, web: Web, scene: ConsoleScene) -> None:
    filled(scene)
    with tab(chromium, web) as one:
        first = one.requests[one.requests.index(f"{web.url}/login?next=%2F") + 1 :]
        assert {url.split("/", 3)[2] for url in one.requests} == {web.url.split("/")[2]}
        assert len(first) <= 5  # the page, its style, its module, and the icon
        assert one.page.locator("time small").count() > 0  # UTC next to the reader's own time


@pytest.mark.parametrize("scripted", [True, False], ids=["script", "plain"])
def test_people_can_do_everything_with_and_without_javascript(
    chromium: Browser, web: Web, scene: ConsoleScene, scripted: bool
) -> None:
    good = filled(scene)["good"]
    noted = web.client.functions
    plans: list[Plan] = []
    noted.answers["coffre-restore"] = planned(scene, plans)
    with tab(chromium, web, java_script_enabled=scripted) as one:
        page = one.page
        one.press("Backups")
        page.get_by_label("Status").select_option("FAILED")
        one.press("Filter")
        assert page.locator("tbody tr").count() == 1
        one.open(f"/backups/{good.id}/hold")
        page.get_by_role("textbox").fill("case 4711")
        one.press("Hold")
        assert noted.invoked[-1][2]["reason"] == "case 4711"
        assert "It is on hold." in page.inner_text("main")
        one.press("En français")
        assert "Sa suppression est bloquée." in page.inner_text("main")
        one.press("In English")
        one.open("/backups/new?target=shop")
        one.press("Back up now")
        assert noted.invoked[-1][0] == "coffre-backup-database"

        # The restore: chosen, compared, an expired session in the middle, planned, the name, the last ten seconds.
        one.open(f"/backups/{good.id}/restore")
        page.get_by_label("Tables as they were").check()
        page.get_by_label("One a line").fill("orders")
        page.context.clear_cookies()
        one.press("Dry run")
        one.press("Sign in")
        assert page.get_by_label("One a line").input_value() == "orders"
        assert page.get_by_label("Tables as they were").is_checked()
        one.press("Dry run")
        trial = started(scene, good, noted.invoked[-1][2]["restore_id"])
        plans.append(ended(scene, good, trial, SafetyState.PRESENT))
        page.reload()
        if scripted:
            page.clock.install()
        page.get_by_label("To confirm, type").fill("shop")
        one.press("Continue")
        one.press("Stop, and change nothing")
        page.get_by_label("To confirm, type").fill("shop")
        one.press("Continue")
        before = len(noted.invoked)
        if scripted:
            page.clock.run_for(11_000)
            page.wait_for_url("**/restores/*")
        else:
            one.press("Do it now")
        assert [event["confirmation"]["name"] for _, _, event in noted.invoked[before:]] == ["shop"]
        assert "It was started" in page.inner_text("main")

        # A download, and the end of all sessions.
        one.open(f"/backups/{good.id}")
        one.press("Export a file")
        page.get_by_label("Who can open it").fill(AGE)
        one.press("Export a file")
        assert noted.invoked[-1][2]["export"] == {"recipients": [AGE]}
        exported(scene, good, noted.invoked[-1][2]["restore_id"])
        page.reload()
        stored(noted.invoked[-1][2]["restore_id"])
        one.press("Get the address")
        assert "X-Amz-Signature" in str(page.get_by_role("link", name="Download").get_attribute("href"))
        one.press("anna@example.com")
        assert "Chrome, Linux" in page.inner_text("main")
        one.press("End all my sessions")
        assert "Your session is over" in page.inner_text("main")


def test_progress_moves_by_itself_until_the_end(chromium: Browser, web: Web, scene: ConsoleScene) -> None:
    running = scene.begin(0.01, target="billing", heartbeat_at=scene.now)
    with tab(chromium, web) as one:
        one.open(f"/backups/{running.id}?done=start")
        progress = Progress(phase="tables", done_bytes=1, total_bytes=4)
        scene.catalog.heartbeat_backup(running.id, scene.now, progress)
        one.page.get_by_text("25 %").wait_for()
        scene.catalog.fail_backup(running.id, Failure(code="DUMP_FAILED", message="It broke."), scene.now)
        one.page.get_by_text("DUMP_FAILED").wait_for()
