"""A web server on this machine that keeps what it is sent, and answers what it is told to."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from threading import Thread
from typing import Any


@dataclass(frozen=True)
class Received:
    """One request."""

    method: str
    path: str
    body: bytes
    headers: Mapping[str, str]

    def json(self) -> Any:
        return json.loads(self.body)


@dataclass
class Web:
    """The server: `answers` are status and headers of the next answers to a path; after those, it is 200."""

    url: str
    received: list[Received] = field(default_factory=list)
    answers: dict[str, list[tuple[int, dict[str, str]]]] = field(default_factory=dict)

    def will_answer(self, path: str, *answers: int | tuple[int, dict[str, str]]) -> None:
        """Say what the next requests to a path get."""
        self.answers[path] = [(one, {}) if isinstance(one, int) else one for one in answers]

    def paths(self) -> list[str]:
        """The paths of all requests so far."""
        return [one.path for one in self.received]


@contextmanager
def web_server() -> Iterator[Web]:
    """Give a server that runs."""

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
            web.received.append(Received(self.command, self.path, body, dict(self.headers)))
            waiting = web.answers.get(self.path)
            status, headers = waiting.pop(0) if waiting else (200, {})
            self.send_response(status)
            for name, value in {**headers, "Content-Length": "2"}.items():
                self.send_header(name, value)
            self.end_headers()
            self.wfile.write(b"ok")

        do_GET = do_POST  # noqa: N815

        def log_message(self, *args: Any) -> None:
            pass

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        web = Web(f"http://127.0.0.1:{server.server_address[1]}")
        thread = Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05})
        thread.start()
        try:
            yield web
        finally:
            server.shutdown()
            thread.join()
