"""Requests to an identity provider over a real connection: what a hostile or broken one answers is one clear error."""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from threading import Thread
from typing import Any

import pytest
from tests.unit.console.access.issuer import PlayedIssuer

from coffre_console.access import web
from coffre_console.access.issuers import Issuer
from coffre_console.access.tokens import read_token
from coffre_console.access.web import IssuerError, fetch, is_protected

NOW = datetime(2026, 11, 29, 3, tzinfo=UTC)
BODIES: dict[str, tuple[int, dict[str, str], bytes]] = {
    "/good": (200, {}, b'{"a": 1}'),
    "/redirect": (302, {"Location": "/good"}, b""),
    "/error": (500, {}, b"{}"),
    "/created": (201, {}, b"{}"),
    "/html": (200, {}, b"<html>"),
    "/list": (200, {}, b"[1]"),
    "/deep": (200, {}, b"[" * 100_000),
    "/bytes": (200, {}, b"\xff\xfe"),
    "/long": (200, {}, b'{"a": "' + b"x" * 300_000 + b'"}'),
    "/zipped": (200, {"Content-Encoding": "gzip"}, b"not zipped"),
    "/short": (200, {"Content-Length": "100"}, b"{}"),
}


@contextmanager
def serving(answers: Any) -> Iterator[tuple[str, list[tuple[str, str, str]]]]:
    """Give the address of a server, and what it has received: method, path and body."""
    received: list[tuple[str, str, str]] = []

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers.get("Content-Length") or 0)).decode()
            received.append((self.command, self.path, body))
            status, headers, answer = answers(self.path)
            self.send_response(status)
            for name, value in {"Content-Length": str(len(answer)), **headers}.items():
                self.send_header(name, value)
            self.end_headers()
            self.wfile.write(answer)
            self.close_connection = True

        do_GET = do_POST  # noqa: N815

        def log_message(self, *args: Any) -> None:
            pass

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        thread = Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        try:
            yield f"http://127.0.0.1:{server.server_address[1]}", received
        finally:
            server.shutdown()
            thread.join()


@pytest.fixture(scope="module")
def address() -> Iterator[str]:
    with serving(BODIES.__getitem__) as (url, _):
        yield url


def test_an_object_is_read(address: str) -> None:
    assert fetch(f"{address}/good") == {"a": 1}


@pytest.mark.parametrize("path", [path for path in BODIES if path != "/good"])
def test_another_answer_is_an_error_that_repeats_nothing_of_it(address: str, path: str) -> None:
    with pytest.raises(IssuerError) as caught:
        fetch(f"{address}{path}")
    assert caught.value.code == "ISSUER_UNAVAILABLE"
    assert "xxx" not in str(caught.value)


def test_an_answer_that_takes_too_long_is_an_error(address: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(web, "_WHOLE_SECONDS", -1)
    with pytest.raises(IssuerError, match="does not answer as it should") as caught:
        fetch(f"{address}/good")
    assert "takes too long" in (caught.value.detail or "")


def test_no_one_listens() -> None:
    with serving(BODIES.__getitem__) as (url, _):
        pass
    with pytest.raises(IssuerError):
        fetch(f"{url}/good")


@pytest.mark.parametrize(
    ("url", "is_one"),
    [
        ("https://login.example.com/x?y=1", True),
        ("http://127.0.0.1:8080/x", True),
        ("http://localhost/x", True),
        ("http://login.example.com", False),
        ("http://127.0.0.1.evil.example", False),
        ("https://user:password@login.example.com", False),
        ("ftp://login.example.com", False),
        ("file:///etc/passwd", False),
        ("https://", False),
        ("https://[", False),
        ("https://login.example.com/\r\n", False),
        ("https://l\u043egin.example.com", False),
        ("https://login.example.com/#x", False),
    ],
)
def test_addresses_without_tls_are_this_machines_alone(url: str, is_one: bool) -> None:
    assert is_protected(url) == is_one
    if not is_one:
        with pytest.raises(IssuerError):
            fetch(url)


def test_a_whole_sign_in_over_a_connection() -> None:
    """Given an issuer on this machine, its documents are read over HTTP, and a token of its key is read."""
    played = PlayedIssuer()

    def answer(path: str) -> tuple[int, dict[str, str], bytes]:
        try:
            return 200, {}, json.dumps(played(f"{played.url}{path}")).encode()
        except IssuerError:  # the token endpoint, without a code of this issuer
            return 400, {}, b"{}"

    with serving(answer) as (url, received):
        played.url = url
        claims = played.person(NOW.timestamp())
        assert read_token(played.sign(claims), Issuer(url, fetch), NOW) == claims
        with pytest.raises(IssuerError):
            fetch(f"{url}/token", form={"code": "a&b=c"})
    assert [path for _, path, _ in received][:2] == ["/.well-known/openid-configuration", "/keys"]
    assert ("POST", "/token", "code=a%26b%3Dc") in received
