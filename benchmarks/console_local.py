"""The console of the local stack over HTTP, as a person signed in to it asks: warm pages."""

from __future__ import annotations

import time
from collections.abc import Sequence
from typing import Final

from tests.e2e.browser import Browser

from coffre_local.stack import running

_WARM_UP: Final = 20


def measure_local(requests: int) -> None:
    """Print the milliseconds of each page."""
    state = running()
    address = state.outputs["ConsoleAddress"]
    browser = Browser()
    browser.sign_in(address, "ada")
    newest = browser.get(f"{address}/api/v1/backups?size=1").json["backups"]
    pages = {"dashboard": "/", "list": "/backups", "alerts": "/alerts"}
    if newest:
        pages["one backup"] = f"/backups/{newest[0]['id']}"
    print(f"local stack, {requests} requests each\n\n| page | median ms | p95 ms |\n|---|--:|--:|")
    for name, path in pages.items():
        _times(browser, f"{address}{path}", _WARM_UP)
        _print(name, _times(browser, f"{address}{path}", requests))
    browser.close()


def _times(browser: Browser, url: str, requests: int) -> list[float]:
    found = []
    for _ in range(requests):
        began = time.perf_counter()
        answer = browser.get(url)
        found.append((time.perf_counter() - began) * 1000)
        if answer.status != 200:
            raise SystemExit(f"{url} was answered with {answer.status}.")
    return found


def _print(name: str, found: Sequence[float]) -> None:
    ordered = sorted(found)
    print(
        f"| {name} | {ordered[len(ordered) // 2]:.1f} | {ordered[max(0, len(ordered) * 95 // 100 - 1)]:.1f} |",
        flush=True,
    )
