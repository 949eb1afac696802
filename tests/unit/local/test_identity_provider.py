"""The local identity provider: the console's own sign-in takes its users, and no other address gets a code."""

from __future__ import annotations

import http.client
import json
import threading
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any
from urllib.parse import parse_qsl, urlencode, urlsplit

import pytest

from coffre.model.console import Console
from coffre_console.access.bearers import person_of
from coffre_console.access.issuers import Issuer
from coffre_console.access.tokens import TokenError, expect_id_token, read_token
from coffre_local.identity_provider import CODE_SECONDS, Provider, server_of
from coffre_local.issuer import CLIENT_ID, PEOPLE, LocalIssuer, with_people
from coffre_local.processes import ProcessMark

NOW = datetime(2026, 11, 29, 5, 0, tzinfo=UTC)
BACK = "http://abc.execute-api.localhost:4566/callback"
# The example of RFC 7636, appendix B.
VERIFIER, CHALLENGE = "dBjftJeZ4CVP-mB92K27uhbUJU1p1r_wW1gFWFOEjXk", "E9Melhoa2OwvFrEMTJguCHaoeK1t8URWbuGJSstw-cM"
ASKED = {
    "response_type": "code",
    "client_id": CLIENT_ID,
    "redirect_uri": BACK,
    "scope": "openid",
    "state": "s" * 43,
    "nonce": "n" * 43,
    "code_challenge": CHALLENGE,
    "code_challenge_method": "S256",
}


@dataclass
class Clock:
    seconds: float = NOW.timestamp()

    def __call__(self) -> float:
        return self.seconds


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def provider(clock: Clock) -> Provider:
    return Provider("http://127.0.0.1:4000", clock)


def code_of(provider: Provider, user: str = "ada", **changes: str) -> str:
    answer = provider.answer("POST", "/authorize", {**ASKED, **changes}, {"user": user})
    assert answer.location is not None, answer.body
    back = dict(parse_qsl(urlsplit(answer.location).query))
    assert answer.location.startswith(f"{BACK}?")
    assert (back["state"], back["iss"]) == (ASKED["state"], provider.url)
    return back["code"]


def exchanged(provider: Provider, code_: str, **changes: str) -> Mapping[str, Any]:
    form = {"code": code_, "redirect_uri": BACK, "client_id": CLIENT_ID, "code_verifier": VERIFIER, **changes}
    answer = provider.answer("POST", "/token", {}, form)
    assert answer.status == (200 if "id_token" in answer.body else 400)
    found: Mapping[str, Any] = json.loads(answer.body)
    return found


def test_each_user_signs_in_with_the_role_of_the_group(provider: Provider) -> None:
    """Read by what the console reads tokens with."""
    issuer = Issuer(provider.url, lambda url, **_: json.loads(provider.answer("GET", urlsplit(url).path, {}, {}).body))
    document = with_people('{"targets": []}', LocalIssuer(4000, ProcessMark(1, 1.0)))
    console = Console.model_validate(json.loads(document)["console"])
    page = provider.answer("GET", "/authorize", ASKED, {}).body
    for user, about in PEOPLE.items():
        assert f'value="{user}"' in page
        claims = read_token(exchanged(provider, code_of(provider, user))["id_token"], issuer, NOW)
        expect_id_token(claims, console.client_id, ASKED["nonce"])
        assert set(person_of(claims, console).groups) == set(about.groups)
        with pytest.raises(TokenError):
            expect_id_token(claims, console.client_id, "another")
    assert {role.role for role in console.roles} == {"viewer", "operator", "restorer", "admin"}


def test_a_code_works_once_for_its_own_sign_in_and_not_for_long(provider: Provider, clock: Clock) -> None:
    code = code_of(provider)
    assert "id_token" in exchanged(provider, code)
    assert exchanged(provider, code)["error"] == "invalid_grant"
    for changes in ({"code_verifier": "x" * 43}, {"redirect_uri": f"{BACK}/"}, {"client_id": "x"}, {"code": "é"}):
        assert exchanged(provider, code_of(provider), **changes)["error"] == "invalid_grant"
    late = code_of(provider)
    clock.seconds += CODE_SECONDS + 1
    assert exchanged(provider, late)["error"] == "invalid_grant"


@pytest.mark.parametrize(
    "changes",
    [
        {"redirect_uri": "http://evil.example.com/callback"},
        {"redirect_uri": "http://localhost.example.com/callback"},
        {"redirect_uri": "http://[/callback"},
        {"client_id": "other"},
        {"response_type": "token"},
        {"code_challenge_method": "plain"},
        {"nonce": ""},
    ],
)
def test_what_is_no_sign_in_of_this_machine_gets_no_code(provider: Provider, changes: dict[str, str]) -> None:
    answer = provider.answer("POST", "/authorize", {**ASKED, **changes}, {"user": "ada"})
    assert (answer.status, answer.location) == (400, None)
    assert json.loads(answer.body)["error"] == "invalid_request"


def test_the_server_answers_to_its_own_name_alone(provider: Provider) -> None:
    assert provider.answer("POST", "/authorize", ASKED, {"user": "eve"}).status == 400
    assert provider.answer("GET", "/nothing", {}, {}).status == 404
    assert (
        provider.answer("GET", "/sign-out", {"post_logout_redirect_uri": "http://evil.example.com/"}, {}).status == 400
    )
    server = server_of(0)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    try:
        connection = http.client.HTTPConnection("127.0.0.1", server.server_port, timeout=60)
        connection.request("GET", "/.well-known/openid-configuration", headers={"host": "evil.example.com"})
        answer = connection.getresponse()
        assert (answer.status, b"issuer" in answer.read()) == (400, False)
        place = f"/sign-out?{urlencode({'post_logout_redirect_uri': 'http://abc.localhost:4566/'})}"
        connection.request("GET", place)
        answer = connection.getresponse()
        assert (answer.status, answer.headers["location"]) == (303, "http://abc.localhost:4566/")
        answer.read()
        connection.request("POST", "/token", body=b"x" * 20_000)
        assert connection.getresponse().status == 400
        connection.close()
    finally:
        server.shutdown()
        server.server_close()
