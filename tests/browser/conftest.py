"""Debian's Chromium before the console, whose functions only note what they are asked."""

from __future__ import annotations

import hashlib
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
from moto import mock_aws
from playwright.sync_api import Browser, Page, sync_playwright
from tests.console_scene import ConsoleScene
from tests.console_web import Web, served

AXE = Path(__file__).with_name("axe.min.js")
# Of npm's axe-core 4.14.1 (MPL-2.0).
AXE_SHA256 = "29348999450cdf2849a8e70b7912fc2da85a849da39c0d0d5394f51d4a9ed95c"
# Init scripts run before the page's own, and its policy does not hold for them.
_WATCH = """
window.refusedByPolicy = [];
document.addEventListener("securitypolicyviolation", (event) =>
  window.refusedByPolicy.push(`${event.violatedDirective} ${event.blockedURI} ${event.sourceFile}`));
"""


@dataclass
class Tab:
    """One tab of a browser, and what went wrong in it."""

    page: Page
    url: str
    faults: list[str] = field(default_factory=list)
    requests: list[str] = field(default_factory=list)

    def open(self, path: str) -> None:
        """Load a page, and note what the policy refused."""
        self.page.goto(self.url + path)
        self.look()

    def press(self, name: str) -> None:
        """Press a button or follow a link by its text."""
        one = self.page.get_by_role("button", name=name, exact=True)
        one = one.or_(self.page.get_by_role("link", name=name, exact=True))
        one.first.click()
        self.page.wait_for_load_state()
        self.look()

    def look(self) -> None:
        """Note what the policy refused on this page."""
        found = self.page.evaluate("window.refusedByPolicy || []")
        self.faults += [f"{self.page.url}: {one}" for one in found]

    def axe(self) -> list[str]:
        """Return what axe-core says against this page (WCAG 2.2 AA and best practices)."""
        found = self.page.evaluate("axe.run({resultTypes: ['violations']})")["violations"]
        return [f"{self.page.url} {one['id']}: {one['nodes'][0]['html'][:200]}" for one in found]


@pytest.fixture(scope="session")
def chromium() -> Iterator[Browser]:
    program = shutil.which("chromium")
    assert program, "Install Debian's package chromium: the pages are tried in it."
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=program, args=["--no-sandbox"])
        yield browser
        browser.close()


@pytest.fixture
def scene(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[ConsoleScene]:
    for name in ("AWS_ENDPOINT_URL", "AWS_ENDPOINT_URL_DYNAMODB", "AWS_PROFILE"):
        monkeypatch.delenv(name, raising=False)
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"):
        monkeypatch.setenv(name, "testing")
    monkeypatch.setenv("AWS_DEFAULT_REGION", "eu-west-3")
    with mock_aws():
        yield ConsoleScene.make(tmp_path)


@pytest.fixture
def web(scene: ConsoleScene) -> Iterator[Web]:
    with served(scene) as found:
        yield found


@contextmanager
def tab(browser: Browser, web: Web, **options: Any) -> Iterator[Tab]:
    """Give a tab in which a person has signed in."""
    assert hashlib.sha256(AXE.read_bytes()).hexdigest() == AXE_SHA256
    context = browser.new_context(**{"locale": "en-GB", "timezone_id": "Europe/Paris", **options})
    context.add_init_script(_WATCH)
    context.set_default_timeout(20_000)
    page = context.new_page()
    found = Tab(page, web.url)
    page.on("request", lambda request: found.requests.append(request.url))
    page.on("pageerror", lambda error: found.faults.append(str(error)))
    page.goto(web.url)
    page.locator("main a.button").click()
    page.wait_for_load_state()
    found.look()
    yield found
    found.look()
    context.close()
    assert found.faults == []
