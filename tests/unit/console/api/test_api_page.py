"""docs/api.md has every route, and the dashboard has no number that the console does not send."""

import json
import re

import pytest
from tests.unit.console.api.openapi import PATH

from coffre_console.access.permissions import ROUTES
from coffre_console.api import metrics

DOCS = PATH.parent
OF_ALL = {"coffre_open_alerts", "coffre_copy_complete", "coffre_vault_bytes", "coffre_month_cost_dollars"}


@pytest.mark.parametrize("route", sorted(route for route in ROUTES if " /api/v1/" in route))
def test_the_page_has_every_route(route: str) -> None:
    _, path = route.split(" ")
    shown = re.sub(r"<\w+>", "{id}", path.removeprefix("/api/v1"))

    assert shown in (DOCS / "api.md").read_text()


def test_the_dashboard_shows_what_the_console_sends() -> None:
    panels = json.loads((DOCS / "grafana.json").read_text())["panels"]

    shown = {name for panel in panels for one in panel["targets"] for name in re.findall(r"coffre_\w+", one["expr"])}
    assert shown <= metrics._OF_TARGETS.keys() | OF_ALL
