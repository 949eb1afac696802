"""The description of the API is the one of its routes. After a change: `python -m tests.unit.console.api.openapi`."""

import json

from tests.console_client import Client, event_of
from tests.unit.console.api.openapi import PATH, document

from coffre_console.access.permissions import ROUTES


def test_the_document_is_that_of_the_routes() -> None:
    assert PATH.read_text() == document(), "python -m tests.unit.console.api.openapi"


def test_every_route_of_the_api_in_the_table_is_served_and_described() -> None:
    paths = json.loads(document())["paths"]

    described = {f"{method.upper()} {path}" for path, methods in paths.items() for method in methods}
    wanted = {route.replace("<", "{").replace(">", "}") for route in ROUTES if " /api/" in route}

    assert described == wanted


def test_it_is_served_to_everyone(client: Client) -> None:
    client.gate.current = None

    found = client.get("/api/v1/openapi.json")

    assert found.status == 200
    assert found.json["openapi"].startswith("3.1")


def test_signing_in_is_the_gates_own_answer(client: Client) -> None:
    login = client.app.handle(event_of("GET", "/login"))
    callback = client.get("/callback?state=x")

    assert (login["statusCode"], login["cookies"]) == (302, ["__Host-login=x"])
    assert login["headers"]["cache-control"] == "no-store"
    assert (callback.status, callback.json["code"]) == (400, "LOGIN_UNKNOWN")


def test_every_route_says_what_it_answers_when_all_is_well_and_bodies_in_parts_are_refused(client: Client) -> None:
    paths = json.loads(document())["paths"]
    for path, operations in paths.items():
        for method, operation in operations.items():
            good = [one["content"] for code, one in operation["responses"].items() if code.startswith("2")]
            assert good, (method, path)
            assert all(content["schema"] for one in good for content in one.values()), (method, path)
    found = client.send("POST", "/api/v1/backups", "{}", {"content-type": "multipart/form-data"})
    assert (found.status, found.json["code"]) == (415, "MEDIA_TYPE")
