"""People before the console of a deployed stack, in Debian's Chromium: what each sees, and a table that comes back."""

from __future__ import annotations

import re
import shutil
from collections.abc import Iterator
from contextlib import contextmanager

from playwright.sync_api import Browser, Page, sync_playwright

_WATCH = """
window.refusedByPolicy = [];
document.addEventListener("securitypolicyviolation", (event) => window.refusedByPolicy.push(event.violatedDirective));
"""


@contextmanager
def chromium() -> Iterator[Browser]:
    """Give a browser."""
    program = shutil.which("chromium")
    assert program, "Install Debian's package chromium: the console is tried in it."
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=program, args=["--no-sandbox"])
        yield browser
        browser.close()


@contextmanager
def person(browser: Browser, console: str, name: str) -> Iterator[Page]:
    """Give the page to which a test user's sign-in leads, by way of the identity provider on another site.

    Afterwards nothing may have been refused by the console's policy, and no script may have failed.
    """
    context = browser.new_context(locale="en-GB", timezone_id="Europe/Paris")
    context.add_init_script(_WATCH)
    context.set_default_timeout(60_000)
    page, faults = context.new_page(), list[str]()
    page.on("pageerror", lambda error: faults.append(str(error)))
    page.goto(console)
    page.get_by_role("link", name="Sign in").click()
    page.get_by_role("button", name=re.compile(f"^{name}")).click()
    page.wait_for_url(f"{console}/**")
    yield page
    assert [*faults, *page.evaluate("window.refusedByPolicy")] == []
    context.close()


def restore_table(page: Page, console: str, backup_id: str, table: str) -> str:
    """Bring a dropped table back by the wizard, and return what the last page says."""
    page.goto(f"{console}/backups")
    page.locator(f"a[href='/backups/{backup_id}']").click()
    page.get_by_role("link", name="Restore", exact=True).click()
    page.get_by_label("One a line").fill(table)
    page.get_by_label("With the views, keys and types").check()
    page.get_by_role("button", name="Dry run").click()
    page.get_by_role("button", name="Restore", exact=True).click()  # once the dry run has ended, by itself
    page.wait_for_url("**/restores/*")
    page.get_by_text("Completed").wait_for()
    return page.inner_text("main")
