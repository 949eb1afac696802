"""Signing in and out: the flow with a played identity provider, and every way to disturb it."""

from __future__ import annotations

import base64
import json
from dataclasses import replace
from datetime import timedelta
from typing import Any
from urllib.parse import parse_qsl, urlsplit

import pytest
from tests.unit.console.access.conftest import BASE, NOW, Scene, request
from tests.unit.console.access.issuer import rsa_key

from coffre_console.access.caller import Caller, Grant
from coffre_console.access.cookies import LOGIN_COOKIE, SESSION_COOKIE
from coffre_console.access.csrf import TOKEN_FIELD, refuse_cross_site
from coffre_console.access.identify import Refused
from coffre_console.access.permissions import Permission
from coffre_console.access.request import Response
from coffre_console.access.sessions import IDLE, LIFETIME, is_over
from coffre_console.access.web import unavailable

AT = int(NOW.timestamp())
FORM = {"content-type": "application/x-www-form-urlencoded", "sec-fetch-site": "same-origin"}


def cookies_of(answer: Response) -> dict[str, str]:
    return {one.partition("=")[0]: one.partition("=")[2].partition(";")[0] for one in answer.cookies}


def begin(scene: Scene, **query: str) -> tuple[str, dict[str, str]]:
    answer = scene.gate.login(request(path="/login", query=query), NOW)
    assert isinstance(answer, Response)
    assert answer.status == 303
    return answer.headers["location"], cookies_of(answer)


def come_back(scene: Scene, query: dict[str, str], cookies: dict[str, str], **fields: Any) -> Response | Refused:
    return scene.gate.callback(request(path="/callback", query=query, cookies=cookies, **fields), NOW)


def sign_in(scene: Scene, **claims: Any) -> dict[str, str]:
    """Sign a person in; return the cookie of the session."""
    location, cookies = begin(scene)
    answer = come_back(scene, scene.issuer.authorize(location, AT, **claims), cookies)
    assert isinstance(answer, Response), answer
    return {SESSION_COOKIE: cookies_of(answer)[SESSION_COOKIE]}


def caller(scene: Scene, cookies: dict[str, str], now: Any = NOW, **fields: Any) -> Caller | Refused:
    return scene.gate.caller(request(cookies=cookies, **fields), now)


def test_a_person_signs_in_and_has_the_role_of_their_group(scene: Scene) -> None:
    location, cookies = begin(scene, next="/backups?status=FAILED")
    asked = dict(parse_qsl(urlsplit(location).query))
    assert location.startswith(f"{scene.issuer.url}/authorize?")
    assert asked["redirect_uri"] == f"{BASE}/callback"
    assert (asked["response_type"], asked["code_challenge_method"]) == ("code", "S256")

    answer = come_back(scene, scene.issuer.authorize(location, AT), cookies)
    assert isinstance(answer, Response)
    assert (answer.status, answer.headers["location"]) == (303, "/backups?status=FAILED")
    assert answer.headers["cache-control"] == "no-store"
    assert cookies_of(answer)[LOGIN_COOKIE] == "", "the cookie of the sign-in is removed"

    found = caller(scene, {SESSION_COOKIE: cookies_of(answer)[SESSION_COOKIE]})
    assert isinstance(found, Caller)
    assert (found.kind, found.name, found.shown) == ("person", "1234 (ada@example.com)", "ada@example.com")
    assert found.roles == ("admin",)
    assert found.may(Permission.DELETE, "shop")
    [event] = scene.audited("session.begun")
    assert (event.actor, event.verified, event.detail) == (found.name, True, "groups: dba")


def test_every_cookie_is_for_this_host_alone_and_no_script_reads_it(scene: Scene) -> None:
    answers = [scene.gate.login(request(path="/login"), NOW), scene.gate.logout(request("POST", "/logout"), NOW)]
    location, cookies = begin(scene)
    answers.append(come_back(scene, scene.issuer.authorize(location, AT), cookies))
    written = [one for answer in answers if isinstance(answer, Response) for one in answer.cookies]
    assert len(written) == 4
    for one in written:
        assert one.startswith("__Host-")
        assert one.split("; ")[2:] == ["Path=/", "Secure", "HttpOnly", "SameSite=Lax"]
    assert "Max-Age=600;" in written[0]
    assert "Max-Age=28800;" in written[2]


def test_no_secret_of_a_session_is_in_the_catalog_nor_in_the_cookie_of_a_token(scene: Scene) -> None:
    cookies = sign_in(scene)
    found = caller(scene, cookies)
    assert isinstance(found, Caller)
    stored = scene.stored()
    assert cookies[SESSION_COOKIE] not in stored
    assert found.form_token not in stored
    assert "eyJ" not in stored, "no token is kept"
    assert len(cookies[SESSION_COOKIE]) == 43


def test_a_client_with_a_secret_sends_it_to_the_issuer_alone(scene: Scene) -> None:
    scene.issuer.secret = "s3cret:/"
    scene.configure(client_secret="coffre/console/client")
    for ways in (None, ["client_secret_basic"], ["client_secret_post"]):
        scene.issuer.discovery = {"token_endpoint_auth_methods_supported": ways} if ways else {}
        scene.gate._issuers._known.clear()
        location, _ = begin(scene)
        assert "s3cret" not in location
        sign_in(scene)


@pytest.mark.parametrize(
    "place",
    [
        *("//evil.example", "https://evil.example", "/\\evil.example", "\\\\evil", "/\t/evil.example", "javascript:x"),
        *("", "backups", "/%s" % ("a" * 2001), "/a\r\nSet-Cookie: x=1", "/é"),
    ],
)
def test_nobody_is_sent_to_another_site_after_signing_in(scene: Scene, place: str) -> None:
    location, cookies = begin(scene, next=place)
    answer = come_back(scene, scene.issuer.authorize(location, AT), cookies)
    assert isinstance(answer, Response)
    assert answer.headers["location"] == "/"


def test_a_cookie_with_another_place_is_looked_at_again(scene: Scene) -> None:
    location, cookies = begin(scene)
    kept = json.loads(base64.urlsafe_b64decode(cookies[LOGIN_COOKIE] + "=="))
    forged = base64.urlsafe_b64encode(json.dumps({**kept, "next": "//evil.example"}).encode()).decode()
    answer = come_back(scene, scene.issuer.authorize(location, AT), {LOGIN_COOKIE: forged})
    assert isinstance(answer, Response)
    assert answer.headers["location"] == "/"


def test_the_console_works_below_a_prefix(scene: Scene) -> None:
    answer = scene.gate.login(request(path="/login", prefix="/prod"), NOW)
    assert isinstance(answer, Response)
    location = answer.headers["location"]
    assert dict(parse_qsl(urlsplit(location).query))["redirect_uri"] == f"{BASE}/prod/callback"
    done = come_back(scene, scene.issuer.authorize(location, AT), cookies_of(answer), prefix="/prod")
    assert isinstance(done, Response)
    assert done.headers["location"] == "/prod/"


# --- a sign-in that is disturbed ---


def refused(found: object) -> tuple[int, str]:
    assert isinstance(found, Refused)
    return found.status, found.code


def test_a_callback_without_its_cookie_is_refused_and_asks_the_issuer_nothing(scene: Scene) -> None:
    location, cookies = begin(scene)
    query = scene.issuer.authorize(location, AT)
    asked = len(scene.issuer.asked)
    assert refused(come_back(scene, query, {})) == (400, "SIGN_IN_LOST")
    for value in ("", "x", "e30", "bnVsbA", cookies[LOGIN_COOKIE][:-8], "A" * 5000):
        assert refused(come_back(scene, query, {LOGIN_COOKIE: value})) == (400, "SIGN_IN_LOST")
    assert len(scene.issuer.asked) == asked


def test_the_code_of_another_persons_sign_in_is_refused(scene: Scene) -> None:
    theirs, _ = begin(scene)
    _, mine = begin(scene)
    answer = scene.issuer.authorize(theirs, AT)
    assert refused(come_back(scene, answer, mine)) == (400, "SIGN_IN_LOST")
    # Even with the state of mine, the issuer refuses the verifier that is not of that code.
    state = json.loads(base64.urlsafe_b64decode(mine[LOGIN_COOKIE] + "=="))["state"]
    assert refused(come_back(scene, {**answer, "state": state}, mine)) == (503, "ISSUER_UNAVAILABLE")


def test_a_code_works_once(scene: Scene) -> None:
    location, cookies = begin(scene)
    query = scene.issuer.authorize(location, AT)
    assert isinstance(come_back(scene, query, cookies), Response)
    assert isinstance(come_back(scene, query, cookies), Refused)


@pytest.mark.parametrize(
    ("claims", "code"),
    [
        ({"nonce": "another"}, "SIGN_IN_FAILED"),
        ({"aud": "other"}, "SIGN_IN_FAILED"),
        ({"iss": "https://evil.example"}, "SIGN_IN_FAILED"),
        ({"exp": AT - 3600}, "SIGN_IN_FAILED"),
        ({"token_use": "access"}, "SIGN_IN_FAILED"),
        ({"sub": None}, "SIGN_IN_FAILED"),
        ({"sub": "a\u202eb"}, "SIGN_IN_FAILED"),
        ({"sub": "a b"}, "SIGN_IN_FAILED"),
        ({"groups": {"dba": True}}, "SIGN_IN_FAILED"),
        ({"groups": ["dba"] * 1001}, "SIGN_IN_FAILED"),
        ({"groups": []}, "NO_ROLE"),
        ({"groups": ["DBA", "dba ", 7, None]}, "NO_ROLE"),
        ({"groups": None}, "SIGN_IN_FAILED"),
    ],
    ids=str,
)
def test_a_token_that_proves_too_little_begins_no_session(scene: Scene, claims: dict[str, Any], code: str) -> None:
    location, cookies = begin(scene)
    found = come_back(scene, scene.issuer.authorize(location, AT, **claims), cookies)
    assert refused(found)[1] == code
    assert list(scene.catalog.sessions.all()) == []
    [event] = scene.audited("console.used")
    assert event.result == "refused"


def test_the_answer_of_another_issuer_is_refused(scene: Scene) -> None:
    location, cookies = begin(scene)
    query = scene.issuer.authorize(location, AT)
    assert refused(come_back(scene, {**query, "iss": "https://evil.example"}, cookies)) == (401, "SIGN_IN_FAILED")
    assert isinstance(come_back(scene, {**query, "iss": scene.issuer.url}, cookies), Response)


def test_what_the_issuer_refuses_is_said(scene: Scene) -> None:
    location, cookies = begin(scene)
    state = scene.issuer.authorize(location, AT)["state"]
    query = {"state": state, "error": "access_denied<script>"}
    found = come_back(scene, query, cookies)
    assert refused(found) == (403, "SIGN_IN_DENIED")
    assert isinstance(found, Refused)
    assert "script" not in found.message
    assert refused(come_back(scene, {"state": state}, cookies)) == (400, "SIGN_IN_LOST")


def test_an_issuer_that_does_not_answer_is_an_error_of_its_own(scene: Scene) -> None:
    scene.issuer.overrides[scene.issuer.discovery_url] = unavailable("https://login.example.com", "TimeoutError")
    assert refused(scene.gate.login(request(path="/login"), NOW)) == (503, "ISSUER_UNAVAILABLE")
    assert scene.alerts == []
    assert scene.audited("console.used") == []


@pytest.mark.parametrize("answer", [{}, {"id_token": 7}, {"id_token": "a.b.c"}, {"error": "invalid_grant"}], ids=str)
def test_an_answer_without_a_token_begins_no_session(scene: Scene, answer: dict[str, Any]) -> None:
    location, cookies = begin(scene)
    query = scene.issuer.authorize(location, AT)
    scene.issuer.overrides[scene.issuer.token_url] = answer
    assert refused(come_back(scene, query, cookies)) == (401, "SIGN_IN_FAILED")


def test_a_console_that_is_not_configured_lets_no_one_in(scene: Scene) -> None:
    cookies = sign_in(scene)
    scene.current = scene.current.model_copy(update={"console": None})
    assert refused(scene.gate.login(request(path="/login"), NOW)) == (503, "CONSOLE_NOT_CONFIGURED")
    assert refused(come_back(scene, {}, {})) == (503, "CONSOLE_NOT_CONFIGURED")
    assert refused(caller(scene, cookies)) == (401, "SESSION_OVER")


# --- sessions ---


def test_a_new_sign_in_has_a_new_session_and_ends_the_old_one(scene: Scene) -> None:
    old = sign_in(scene)
    location, cookies = begin(scene)
    answer = come_back(scene, scene.issuer.authorize(location, AT), {**cookies, **old})
    assert isinstance(answer, Response)
    assert cookies_of(answer)[SESSION_COOKIE] != old[SESSION_COOKIE]
    assert isinstance(caller(scene, old), Refused)
    assert len(list(scene.catalog.sessions.all())) == 1


def test_a_session_that_a_browser_was_given_by_another_is_none(scene: Scene) -> None:
    for value in ("a" * 43, "x", "../..", "a" * 10_000):
        found = caller(scene, {SESSION_COOKIE: value})
        assert isinstance(found, Refused)
        assert (found.status, found.code) == (401, "SESSION_OVER")


def test_a_session_ends_when_it_is_idle_and_after_its_time(scene: Scene) -> None:
    cookies = sign_in(scene)
    assert isinstance(caller(scene, cookies, NOW + IDLE - timedelta(seconds=1)), Caller)
    at = NOW + IDLE - timedelta(seconds=1)
    while at < NOW + LIFETIME - timedelta(minutes=20):
        at += timedelta(minutes=20)
        assert isinstance(caller(scene, cookies, at), Caller), at
    assert isinstance(caller(scene, cookies, NOW + LIFETIME), Refused)
    assert list(scene.catalog.sessions.all()) == []

    other = sign_in(scene)
    assert isinstance(caller(scene, other, NOW + IDLE), Refused)
    assert isinstance(caller(scene, other), Refused), "it does not begin again"


@pytest.mark.parametrize("changed", [{"issuer": "https://other.example.com"}, {"client_id": "other"}], ids=str)
def test_a_session_ends_when_people_sign_in_elsewhere(scene: Scene, changed: dict[str, str]) -> None:
    """Its groups are those of another provider; so are those of a session that does not say of which it is."""
    cookies = sign_in(scene)
    [one] = scene.catalog.sessions.all()
    scene.configure(**changed)
    assert refused(caller(scene, cookies)) == (401, "SESSION_OVER")
    assert list(scene.catalog.sessions.all()) == []
    console = scene.current.console
    assert console is not None
    here = one.model_copy(update={"issuer": console.issuer, "client_id": console.client_id})
    assert not is_over(here, console, NOW)
    assert is_over(one.model_copy(update={"issuer": "", "client_id": ""}), console, NOW)
    assert is_over(here, None, NOW)


def test_a_role_that_is_taken_away_ends_with_the_next_request(scene: Scene) -> None:
    cookies = sign_in(scene, groups=["shop", "dev"])
    before = caller(scene, cookies)
    assert isinstance(before, Caller)
    assert before.may(Permission.RESTORE, "shop")
    assert not before.may(Permission.RESTORE, "billing")
    assert before.may(Permission.READ, "billing")

    scene.configure(roles=[{"group": "dba", "role": "admin"}])
    after = caller(scene, cookies)
    assert isinstance(after, Caller)
    assert after.grants == ()
    found = scene.gate.enter(after, "GET", "/", request(), NOW)
    assert found is not None
    assert (found.status, found.message) == (403, "Your role does not allow backup:read.")


def test_signing_out_ends_the_session_here_and_at_the_issuer(scene: Scene) -> None:
    scene.issuer.discovery = {"end_session_endpoint": f"{scene.issuer.url}/logout?x=1"}
    cookies = sign_in(scene)
    found = caller(scene, cookies)
    assert isinstance(found, Caller)
    without = scene.gate.logout(request("POST", "/logout", cookies=cookies, headers=FORM), NOW)
    assert refused(without) == (403, "CROSS_SITE")

    body = f"{TOKEN_FIELD}={found.form_token}"
    answer = scene.gate.logout(request("POST", "/logout", cookies=cookies, headers=FORM, body=body), NOW)
    assert isinstance(answer, Response)
    place, _, query = answer.headers["location"].partition("?")
    assert place == f"{scene.issuer.url}/logout"
    assert dict(parse_qsl(query)) == {"x": "1", "client_id": "coffre", "post_logout_redirect_uri": f"{BASE}/"}
    assert cookies_of(answer) == {SESSION_COOKIE: ""}
    assert isinstance(caller(scene, cookies), Refused)
    assert [one.actor for one in scene.audited("session.ended")] == [found.name]


def test_cognito_has_its_own_name_for_the_way_back(scene: Scene) -> None:
    """Its place to sign out refuses a request without `logout_uri`."""
    pool = "https://cognito-idp.eu-west-3.amazonaws.com/eu-west-3_abc"
    scene.configure(issuer=pool, groups_claim="cognito:groups")
    scene.issuer.url = pool
    scene.issuer.discovery = {"end_session_endpoint": "https://x.auth.eu-west-3.amazoncognito.com/logout"}

    answer = scene.gate.logout(request("POST", "/logout"), NOW)

    assert isinstance(answer, Response)
    query = answer.headers["location"].partition("?")[2]
    assert dict(parse_qsl(query)) == {"client_id": "coffre", "logout_uri": f"{BASE}/"}


def test_signing_out_twice_or_without_an_issuer_is_no_error(scene: Scene) -> None:
    scene.issuer.overrides[scene.issuer.discovery_url] = unavailable("https://login.example.com", "status 500")
    answer = scene.gate.logout(request("POST", "/logout", cookies={SESSION_COOKIE: "a" * 43}), NOW)
    assert isinstance(answer, Response)
    assert answer.headers["location"] == "/"


# --- other sites ---


@pytest.mark.parametrize(
    ("headers", "passes"),
    [
        ({"sec-fetch-site": "same-origin"}, True),
        ({"sec-fetch-site": "same-origin", "origin": BASE}, True),
        ({"origin": BASE}, True),
        ({"sec-fetch-site": "same-origin", "origin": "https://evil.example"}, False),
        ({"sec-fetch-site": "same-site", "origin": BASE}, False),
        ({"sec-fetch-site": "cross-site"}, False),
        ({"sec-fetch-site": "none"}, False),
        ({"sec-fetch-site": ""}, False),
        ({"origin": "null"}, False),
        ({"origin": f"{BASE}.evil.example"}, False),
        ({"origin": "http://backups.example.com"}, False),
        ({}, False),
    ],
    ids=str,
)
def test_what_changes_something_comes_from_a_page_of_the_console(headers: dict[str, str], passes: bool) -> None:
    person = Caller("person", "1234", "ada", (), form_token="f" * 64, session="s")
    for method in ("POST", "PUT", "PATCH", "DELETE"):
        sent = request(method, headers={**headers, "x-csrf-token": person.form_token})
        found = refuse_cross_site(sent, person)
        assert (found is None) == passes
        if found is not None:
            assert (found.status, found.code, found.name) == (403, "CROSS_SITE", "1234")


def test_a_link_elsewhere_has_no_address_of_a_download_signed(scene: Scene) -> None:
    admin = Caller("person", "1234", "ada", (Grant.of_role("admin"),), form_token="f" * 64, session="s")

    def code(headers: dict[str, str], who: Caller = admin, route: str = "/api/v1/backups/<backup_id>/download") -> str:
        found = scene.gate.enter(who, "GET", route, request(headers=headers), NOW)
        return found.code if found is not None else ""

    links: tuple[dict[str, str], ...] = (
        {},
        {"sec-fetch-site": "none"},
        {"sec-fetch-site": "cross-site"},
        {"x-csrf-token": "e" * 64},
    )
    own = ({"sec-fetch-site": "same-origin"}, {"x-csrf-token": "f" * 64})
    assert [code(one) for one in (*links, *own)] == ["CROSS_SITE"] * 4 + [""] * 2
    assert code({}, replace(admin, session="", form_token="")) == "", "no browser sends a key or a token by itself"
    assert code({}, route="/backups/<backup_id>/download") == "", "the page signs nothing before its form is sent"


def test_a_form_needs_the_token_of_its_own_session(scene: Scene) -> None:
    mine, theirs = sign_in(scene), sign_in(scene)
    me, they = caller(scene, mine), caller(scene, theirs)
    assert isinstance(me, Caller)
    assert isinstance(they, Caller)
    good = f"{TOKEN_FIELD}={me.form_token}"
    json_body = {**FORM, "content-type": "application/json"}
    for headers, body, passes in (
        (FORM, good, True),
        (FORM, f"{TOKEN_FIELD}={they.form_token}", False),
        (FORM, "", False),
        (FORM, f"{good}&{good}", False),
        (json_body, good, False),
        ({**json_body, "x-csrf-token": me.form_token}, "{}", True),
        ({**json_body, "x-csrf-token": "é"}, "{}", False),
    ):
        found = caller(scene, mine, method="POST", headers=headers, body=body)
        assert isinstance(found, Caller) == passes, (headers, body)


def test_reading_is_open_to_links_of_other_sites(scene: Scene) -> None:
    cookies = sign_in(scene)
    assert isinstance(caller(scene, cookies, headers={"sec-fetch-site": "cross-site"}), Caller)


def test_another_key_than_the_issuers_begins_no_session(scene: Scene) -> None:
    location, cookies = begin(scene)
    query = scene.issuer.authorize(location, AT)
    forged = scene.issuer.sign(scene.issuer.person(AT), key=rsa_key("two"))
    scene.issuer.overrides[scene.issuer.token_url] = {"id_token": forged}
    assert refused(come_back(scene, query, cookies)) == (401, "SIGN_IN_FAILED")
