"""Routes that are registered when a path below them is first asked for."""

from __future__ import annotations

import pytest

from coffre_console.access.request import Request
from coffre_console.problems import ProblemError
from coffre_console.routing import Routes


def test_a_path_registers_the_nearest_group_alone_and_once() -> None:
    routes, registered = Routes(), list[str]()
    routes.later("/", lambda _: registered.append("pages"))
    routes.later("/api/", lambda _: registered.append("api"))

    for path in ("/api/v1/unknown", "/api/v1/unknown", "/unknown", "/unknown"):
        event = {"rawPath": path, "requestContext": {"http": {"method": "GET", "path": path}}}
        with pytest.raises(ProblemError):
            routes.of(Request.of_event(event, base="https://backups.example.com"))

    assert registered == ["api", "pages"]
