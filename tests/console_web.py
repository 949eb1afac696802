"""The console on this machine, for a real browser: its application behind a web server, with real sessions."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import datetime
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from threading import Lock, Thread
from typing import Any
from urllib.parse import urlsplit

from aws_lambda_powertools import Logger
from tests.console_client import Client
from tests.console_scene import ConsoleScene

from coffre_console.access.bearers import Person
from coffre_console.access.gate import Gate
from coffre_console.access.headers import headers_of
from coffre_console.access.identify import Refused
from coffre_console.access.request import Request, Response, local_path
from coffre_console.app import App
from coffre_console.pages.site import Site


@dataclass
class Noting:
    """Takes what the gate reports."""

    logger: Logger = field(default_factory=lambda: Logger("console", level="CRITICAL"))

    def audit(self, *args: Any, **keys: Any) -> None:
        pass

    count_refusal = publish = audit


@dataclass(frozen=True)
class ShortGate(Gate):
    """Signs people in without an identity provider; sessions, roles and forms are checked as in a deployment."""

    def login(self, request: Request, now: datetime) -> Response | Refused:
        console = self.configuration().console
        assert console is not None
        anna = Person("anna", "anna@example.com", ("dba",))
        cookie = self._sessions.begin(console, anna, now, request.headers.get("user-agent", ""))
        place = local_path(request.query.get("next", "/"))
        return Response(303, headers={**headers_of("redirect"), "location": place}, cookies=(cookie,))


@dataclass
class Web:
    """The server: where it is, and what it answers for."""

    url: str
    client: Client


@contextmanager
def served(scene: ConsoleScene) -> Iterator[Web]:
    """Give a server that runs."""
    scene.document["console"] = {
        "issuer": "https://login.example.com",
        "client_id": "coffre",
        "roles": [{"group": "dba", "role": "admin"}],
    }
    client = Client(scene)
    lock = Lock()

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_GET(self) -> None:
            body = self.rfile.read(int(self.headers.get("content-length") or 0))
            with lock:
                answer = client.app.handle(_event(self, body.decode()))
            text = (answer.get("body") or "").encode()
            self.send_response(answer["statusCode"])
            for name, value in {**answer["headers"], "content-length": str(len(text))}.items():
                self.send_header(name, value)
            for cookie in answer.get("cookies") or ():
                self.send_header("set-cookie", cookie)
            self.end_headers()
            self.wfile.write(text)

        do_POST = do_GET  # noqa: N815

        def log_message(self, *args: Any) -> None:
            pass

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        url = f"http://127.0.0.1:{server.server_address[1]}"
        object.__setattr__(client.console.settings, "console_address", url)
        gate = ShortGate(scene.catalog, Noting(), lambda: scene.configuration, lambda name: "")
        client.app = App.make(client.console, gate, Site(), now=lambda: scene.now)
        thread = Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05}, daemon=True)
        thread.start()
        try:
            yield Web(url, client)
        finally:
            server.shutdown()
            thread.join()


def _event(handler: BaseHTTPRequestHandler, body: str) -> dict[str, Any]:
    parts = urlsplit(handler.path)
    headers = {name.lower(): value for name, value in handler.headers.items()}
    cookies = [one.strip() for one in headers.pop("cookie", "").split(";") if one]
    return {
        "version": "2.0",
        "routeKey": "$default",
        "rawPath": parts.path,
        "rawQueryString": parts.query,
        "headers": headers,
        "cookies": cookies,
        "requestContext": {
            "stage": "$default",
            "requestId": "r",
            "http": {"method": handler.command, "path": parts.path, "sourceIp": "127.0.0.1", "protocol": "HTTP/1.1"},
        },
        "body": body,
        "isBase64Encoded": False,
    }
