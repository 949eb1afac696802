"""Sends requests to the console's application as the HTTP API does, in one process."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any
from urllib.parse import urlencode, urlsplit

import botocore.session
from tests.console_scene import ConsoleScene, NotedFunctions

from coffre.model.configuration import Configuration
from coffre.runtime.bootstrap import Services
from coffre.runtime.environment import ConsoleSettings
from coffre_console.access.caller import Caller, Grant
from coffre_console.access.identify import NOT_SIGNED_IN, Refused
from coffre_console.access.permissions import Permission, needed_for
from coffre_console.access.request import Request, Response
from coffre_console.app import App, Pages
from coffre_console.console import Console
from coffre_console.reading.source import Source
from coffre_console.starting import Functions, Signer

ADDRESS = "https://backups.example.com"
EXPORTS = "exports"
TOPIC = "arn:aws:sns:eu-west-3:123456789012:coffre-alerts"
ADMIN = Caller("person", "anna", "anna@example.com", (Grant.of_role("admin"),))


@dataclass(frozen=True)
class PlayedConsole(Console):
    """The console over a scene, whose functions only note what they are asked."""

    scene: ConsoleScene = field(kw_only=True)
    noted: NotedFunctions = field(default_factory=NotedFunctions, kw_only=True)

    def configuration(self, now: datetime) -> Configuration:
        return self.scene.configuration

    def source(self, now: datetime) -> Source:
        return self.scene.source

    @property
    def functions(self) -> Functions:
        client: Any = self.noted
        signer = Signer(botocore.session.get_session(), TOPIC, "eu-west-3")
        return Functions(client, "coffre", signer, has_notify=self.settings.alert_urls)


@dataclass
class PlayedGate:
    """Lets one caller in, whatever a request brings; None: no one."""

    current: Caller | None

    def caller(self, request: Request, now: datetime) -> Caller | Refused:
        return self.current or NOT_SIGNED_IN

    def enter(self, caller: Caller, method: str, route: str, request: Request, now: datetime) -> Refused | None:
        needed = needed_for(method, route)
        return None if needed is None or caller.may_somewhere(needed) else _forbidden(needed)

    def demand(
        self, caller: Caller, needed: Permission, target: str | None, request: Request, now: datetime
    ) -> Refused | None:
        return None if caller.may(needed, target) else _forbidden(needed)

    def login(self, request: Request, now: datetime) -> Response | Refused:
        return Response(302, headers={"location": "https://login.example.com/"}, cookies=("__Host-login=x",))

    def callback(self, request: Request, now: datetime) -> Response | Refused:
        return Refused(400, "Begin again.", "LOGIN_UNKNOWN")

    def logout(self, request: Request, now: datetime) -> Response | Refused:
        return Response(303, headers={"location": "/login"})


def _forbidden(needed: Permission) -> Refused:
    return Refused(403, f"Your role does not allow {needed}.", "NOT_ALLOWED")


@dataclass(frozen=True)
class Reply:
    """One answer."""

    status: int
    headers: Mapping[str, str]
    body: str
    cookies: Sequence[str] = ()

    @property
    def json(self) -> Any:
        return json.loads(self.body)


@dataclass
class Client:
    """Sends requests in the name of one caller."""

    scene: ConsoleScene
    caller: Caller | None = ADMIN
    notify: bool = True
    pages: Pages | None = None

    def __post_init__(self) -> None:
        settings = ConsoleSettings(
            configuration="/coffre/configuration",
            vault_bucket="vault",
            catalog_table="catalog",
            alert_topic_arn=TOPIC,
            stack="coffre",
            console_address=ADDRESS,
            alert_urls=self.notify,
            export_bucket=EXPORTS,
            download_role="arn:aws:iam::123456789012:role/download",
        )
        self.console = PlayedConsole(Services("console", settings), settings, scene=self.scene)
        self.gate = PlayedGate(self.caller)
        self.app = App.make(self.console, self.gate, self.pages, now=lambda: self.scene.now)

    @property
    def functions(self) -> NotedFunctions:
        return self.console.noted

    def get(self, url: str) -> Reply:
        return self.send("GET", url)

    def post(self, url: str, body: object = None) -> Reply:
        return self.send("POST", url, body)

    def delete(self, url: str, body: object = None) -> Reply:
        return self.send("DELETE", url, body)

    def submit(self, url: str, **fields: str) -> Reply:
        """Send a form."""
        return self.send("POST", url, urlencode(fields), {"content-type": "application/x-www-form-urlencoded"})

    def send(self, method: str, url: str, body: object = None, headers: Mapping[str, str] | None = None) -> Reply:
        text = body if isinstance(body, str) else None if body is None else json.dumps(body)
        answer = self.app.handle(event_of(method, url, text, headers))
        return Reply(answer["statusCode"], answer["headers"], answer.get("body") or "", answer.get("cookies") or ())


def event_of(
    method: str, url: str, body: str | None = None, headers: Mapping[str, str] | None = None
) -> dict[str, Any]:
    """Return a request as the HTTP API sends it (payload format 2.0)."""
    parts = urlsplit(url)
    sent = {"host": "backups.example.com", **({"content-type": "application/json"} if body is not None else {})}
    query = parts.query
    return {
        "version": "2.0",
        "routeKey": "$default",
        "rawPath": parts.path,
        "rawQueryString": query,
        "headers": {**sent, **(headers or {})},
        **({"queryStringParameters": dict(one.split("=", 1) for one in query.split("&"))} if query else {}),
        "requestContext": {
            "stage": "$default",
            "requestId": "r",
            "http": {"method": method, "path": parts.path, "sourceIp": "192.0.2.1", "protocol": "HTTP/1.1"},
        },
        **({"body": body} if body is not None else {}),
        "isBase64Encoded": False,
    }
