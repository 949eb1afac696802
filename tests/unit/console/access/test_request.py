"""Events of an HTTP API as requests: what is read, and what is refused."""

from __future__ import annotations

import base64
from datetime import UTC, datetime
from typing import Any

import pytest

from coffre_console.access.caller import Caller
from coffre_console.access.headers import headers_of
from coffre_console.access.identify import NOT_SIGNED_IN, Refused, identify
from coffre_console.access.request import LONGEST_BODY, BadRequestError, Request, Response

NOW = datetime(2026, 11, 29, 3, tzinfo=UTC)
ORIGIN = "https://backups.example.com"


def event(**changes: Any) -> dict[str, Any]:
    http = {"method": "GET", "path": "/", "sourceIp": "192.0.2.1"}
    return {"rawPath": "/", "headers": {}, "requestContext": {"http": http, "stage": "$default"}, **changes}


def read(base: str = ORIGIN, **changes: Any) -> Request:
    return Request.of_event(event(**changes), base=base)


def test_an_event_becomes_a_request() -> None:
    request = read(
        rawPath="/backups",
        rawQueryString="status=FAILED&name=caf%C3%A9",
        headers={"X-One": "1"},
        cookies=["__Host-session=abc; other=1", "__Host-login=x=y"],
        body=base64.b64encode("reason=früh".encode()).decode(),
        isBase64Encoded=True,
    )
    assert request.query == {"status": "FAILED", "name": "café"}
    assert request.headers == {"x-one": "1"}
    assert request.cookies == {"__Host-session": "abc", "__Host-login": "x=y"}
    assert request.form == {"reason": "früh"}
    assert request.address == "192.0.2.1"


@pytest.mark.parametrize(
    ("path", "read_path"), [("/prod", "/"), ("/prod/login", "/login"), ("/production", "/production")]
)
def test_the_prefix_of_a_stage_or_a_mapping_is_no_part_of_the_path(path: str, read_path: str) -> None:
    request = read(f"{ORIGIN}/prod/", rawPath=path)
    assert (request.path, request.prefix, request.origin) == (read_path, "/prod", ORIGIN)
    assert request.base == f"{ORIGIN}/prod"


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"rawQueryString": "a=1&a=2"}, "field of the request comes twice"),
        ({"cookies": ["__Host-session=a", "__Host-session=b"]}, "cookie of the request comes twice"),
        ({"rawQueryString": "a=%ff"}, "cannot be read"),
        ({"rawQueryString": "&".join(f"a{n}=1" for n in range(201))}, "cannot be read"),
        ({"body": "x" * (LONGEST_BODY + 1)}, "too long"),
        ({"body": "é" * LONGEST_BODY}, "too long"),
        ({"body": "!", "isBase64Encoded": True}, "no text"),
        ({"body": base64.b64encode(b"\xff").decode(), "isBase64Encoded": True}, "no text"),
    ],
)
def test_what_cannot_be_read_in_one_way_is_refused(changes: dict[str, Any], message: str) -> None:
    with pytest.raises(BadRequestError, match=message):
        read(**changes)


def test_an_answer_becomes_an_event() -> None:
    answer = Response(302, headers={"location": "/"}, cookies=("a=1",)).as_event()
    assert answer == {"statusCode": 302, "headers": {"location": "/"}, "cookies": ["a=1"], "body": ""}


def test_the_first_way_that_a_request_uses_answers() -> None:
    caller = Caller("key", "key", "key", ())
    refusal = Refused(429, "Later.", "TOO_MANY")
    assert identify(read(), NOW, []) == NOT_SIGNED_IN
    assert identify(read(), NOW, [lambda *_: None, lambda *_: caller, lambda *_: refusal]) == caller
    assert identify(read(), NOW, [lambda *_: refusal, lambda *_: caller]) == refusal


def test_a_cookie_and_a_key_together_are_refused() -> None:
    both = read(cookies=["__Host-session=abc"], headers={"authorization": "Bearer x"})
    found = identify(both, NOW, [lambda *_: Caller("key", "key", "key", ())])
    assert isinstance(found, Refused)
    assert (found.status, found.code) == (400, "TWO_CREDENTIALS")


def test_a_page_runs_nothing_but_the_consoles_own_files() -> None:
    policy = headers_of("page", issuer="https://login.example.com/realm?x=1")["content-security-policy"]
    assert policy.split("; ") == [
        "default-src 'none'",
        "script-src 'self'",
        "style-src 'self'",
        "img-src 'self' data:",
        "connect-src 'self'",
        "form-action 'self' https://login.example.com",
        "frame-ancestors 'none'",
        "base-uri 'none'",
    ]
    assert "form-action 'self';" in headers_of("page")["content-security-policy"]


@pytest.mark.parametrize("kind", ["page", "api", "asset", "redirect"])
def test_every_answer_is_protected_and_only_assets_are_stored(kind: Any) -> None:
    headers = headers_of(kind)
    assert headers["x-content-type-options"] == "nosniff"
    assert headers["referrer-policy"] == "same-origin"
    assert "frame-ancestors 'none'" in headers["content-security-policy"]
    assert "unsafe" not in headers["content-security-policy"]
    assert ("immutable" in headers["cache-control"]) == (kind == "asset")
    assert kind == "asset" or headers["cache-control"] == "no-store"


def test_cookies_in_a_header_count_where_the_event_has_none() -> None:
    assert read(headers={"Cookie": "__Host-session=abc; other=1"}).cookies == {"__Host-session": "abc"}
    assert read(headers={"Cookie": "__Host-session=abc"}, cookies=["__Host-session=def"]).cookies == {
        "__Host-session": "def"
    }
