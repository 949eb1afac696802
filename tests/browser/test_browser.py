"""The console in a real browser: accessible, within its policy, and whole with and without JavaScript."""

from datetime import timedelta
from typing import Any

import pytest
from playwright.sync_api import Browser
from tests.browser.conftest import AXE, tab
from tests.console_restores import HOSTILE, ended, started
from tests.console_scene import ConsoleScene
from tests.console_web import Web

from coffre.model.audit import Actor
from coffre.model.backup import Backup, Failure, Progress
from coffre.model.confirmation import Plan
from coffre.model.kinds import SafetyState


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


@pytest.mark.parametrize(("scheme", "width"), [("light", 1280), ("dark", 320)])
def test_every_page_is_accessible_and_within_its_policy(
    chromium: Browser, web: Web, scene: ConsoleScene, scheme: Any, width: int
) -> None:
    found = filled(scene)
    good = found["good"].id
    trial = started(scene, found["good"], "01M80T0000000000000000000A")
    ended(scene, found["good"], trial, SafetyState.PRESENT)
    paths = ["/", "/backups", "/backups?type=bucket", "/targets", "/running", "/restores", "/alerts", "/report"]
    paths += ["/audit", "/keys", "/settings", "/backups/new", "/nothing", f"/diff?first={good}"]
    paths += [f"/backups/{one.id}" for one in found.values()] + [f"/restores/{trial.id}"]
    paths += [f"/backups/{good}/{name}" for name in ("hold", "restore", "delete", "contents")]
    paths += [f"/backups/{good}/restore?what=replace&tables=orders&dry_run_id={trial.id}"]
    with tab(chromium, web, color_scheme=scheme, viewport={"width": width, "height": 800}) as one:
        one.page.context.add_init_script(path=AXE)
        wrong = []
        for path in paths:
            one.open(path)
            wrong += one.axe()
            if one.page.evaluate("document.documentElement.scrollWidth > document.documentElement.clientWidth"):
                wrong.append(f"{path} is wider than {width} px")
        one.page.context.clear_cookies()
        one.open("/")
        wrong += one.axe()
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

    def restore(event: dict[str, Any]) -> dict[str, Any]:
        lifetime = timedelta(minutes=10)
        actor = Actor(event["actor"], verified=True)
        token, issued = scene.catalog.confirmations.issue(plans[-1], actor, scene.now, lifetime=lifetime, approvals=0)
        return {"plan": issued.answer(), "token": token}

    noted.answers["coffre-restore"] = restore
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
        one.press("Compare")
        one.press("Sign in")
        assert page.get_by_label("One a line").input_value() == "orders"
        assert page.get_by_label("Tables as they were").is_checked()
        one.press("Compare")
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


def test_progress_moves_by_itself_until_the_end(chromium: Browser, web: Web, scene: ConsoleScene) -> None:
    running = scene.begin(0.01, target="billing", heartbeat_at=scene.now)
    with tab(chromium, web) as one:
        one.open(f"/backups/{running.id}?done=start")
        progress = Progress(phase="tables", done_bytes=1, total_bytes=4)
        scene.catalog.heartbeat_backup(running.id, scene.now, progress)
        one.page.get_by_text("25 %").wait_for()
        scene.catalog.fail_backup(running.id, Failure(code="DUMP_FAILED", message="It broke."), scene.now)
        one.page.get_by_text("DUMP_FAILED").wait_for()
