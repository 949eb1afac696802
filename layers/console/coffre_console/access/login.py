"""Signing in and out: the authorization code flow with PKCE, done here, so that no token ever reaches the browser.

https://openid.net/specs/openid-connect-core-1_0.html, RFC 7636 (PKCE), RFC 9207 (`iss` in the answer).
"""

from __future__ import annotations

import base64
import hashlib
import hmac
import json
import re
import secrets
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Final
from urllib.parse import quote_plus, urlencode, urlsplit

from coffre.model.configuration import Configuration
from coffre.model.console import Console
from coffre_console.access.bearers import UNAVAILABLE, Issuers, Person, person_of
from coffre_console.access.cookies import LOGIN_COOKIE, SESSION_COOKIE, remove_cookie, set_cookie
from coffre_console.access.headers import headers_of
from coffre_console.access.identify import Refused
from coffre_console.access.request import Request, Response, local_path
from coffre_console.access.sessions import SessionDoor
from coffre_console.access.tokens import TokenError, expect_id_token, read_token
from coffre_console.access.web import IssuerError

LOGIN_SECONDS: Final = 600
_SCOPES: Final = "openid profile email"
_CODE: Final = re.compile(r"[!-~]{1,2048}")
_FIELDS: Final = frozenset({"state", "nonce", "verifier", "next"})

NOT_CONFIGURED: Final = Refused(
    503, "The console lets no one in yet: the configuration has no section console.", "CONSOLE_NOT_CONFIGURED"
)
_AGAIN: Final = Refused(400, "This sign-in cannot be finished. Begin it again.", "SIGN_IN_LOST")
_DENIED: Final = Refused(403, "The identity provider did not sign you in.", "SIGN_IN_DENIED")
_FAILED: Final = Refused(401, "You could not be signed in. Begin again.", "SIGN_IN_FAILED")
_NO_ROLE: Final = Refused(
    403, "You are signed in at the identity provider, but none of your groups has a role here.", "NO_ROLE"
)


@dataclass(frozen=True, slots=True)
class Login:
    """The routes /login, /callback and /logout, as functions of a request."""

    issuers: Issuers
    sessions: SessionDoor
    configuration: Callable[[], Configuration]
    secret: Callable[[str], str]

    def login(self, request: Request, now: datetime) -> Response | Refused:
        """Send a person to the identity provider; the field `next` is the path to which they come back."""
        console = self.configuration().console
        if console is None:
            return NOT_CONFIGURED
        try:
            endpoints = self.issuers.of(console.issuer).endpoints(now)
        except IssuerError as error:
            return _unavailable(error)
        begun = {name: secrets.token_urlsafe(32) for name in ("state", "nonce", "verifier")}
        challenge = hashlib.sha256(begun["verifier"].encode()).digest()
        query = {
            "response_type": "code",
            "client_id": console.client_id,
            "redirect_uri": _callback_of(request),
            "scope": _SCOPES,
            "state": begun["state"],
            "nonce": begun["nonce"],
            "code_challenge": base64.urlsafe_b64encode(challenge).decode().rstrip("="),
            "code_challenge_method": "S256",
        }
        kept = json.dumps({**begun, "next": local_path(request.query.get("next", "/"))})
        cookie = base64.urlsafe_b64encode(kept.encode()).decode().rstrip("=")
        return _redirect(
            _with_query(endpoints.authorization, query), set_cookie(LOGIN_COOKIE, cookie, seconds=LOGIN_SECONDS)
        )

    def callback(self, request: Request, now: datetime) -> tuple[Response, Person] | Refused:
        """Take a person back: the code becomes a token, and the token a session with an id of its own.

        A browser that did not begin this sign-in has no cookie of it: nothing is asked of the issuer then.
        """
        console = self.configuration().console
        if console is None:
            return NOT_CONFIGURED
        begun = _begun(request.cookies.get(LOGIN_COOKIE, ""))
        state = request.query.get("state", "")
        if begun is None or not hmac.compare_digest(state.encode(), begun["state"].encode()):
            return _with_why(_AGAIN, "state is another one, or the cookie of the sign-in is missing")
        if request.query.get("iss", console.issuer) != console.issuer:
            return _with_why(_FAILED, "the answer is of another issuer")
        if "error" in request.query:
            return _with_why(_DENIED, f"the issuer said {request.query['error'][:100]!r}")
        code = request.query.get("code", "")
        if not _CODE.fullmatch(code):
            return _with_why(_AGAIN, "the answer has no code")
        try:
            person = self._person(console, request, begun, code, now)
        except TokenError as error:
            return _with_why(_FAILED, f"the issuer's token is refused: {error}")
        except IssuerError as error:
            return _unavailable(error)
        if not person.groups:
            return _with_why(_NO_ROLE, "no group of this person has a role", name=person.name)
        self.sessions.end(request)
        agent = request.headers.get("user-agent", "")
        cookie = self.sessions.begin(console, person, now, agent)
        answer = _redirect(f"{request.prefix}{local_path(begun['next'])}", cookie, remove_cookie(LOGIN_COOKIE))
        return answer, person

    def logout(self, request: Request, now: datetime) -> Response:
        """End the session here, then at the identity provider if it has a place for that."""
        self.sessions.end(request)
        place = f"{request.prefix}/"
        console = self.configuration().console
        if console is not None:
            try:
                place = _sign_out_at(self.issuers.of(console.issuer).endpoints(now).end_session, console, request)
            except IssuerError:
                place = f"{request.prefix}/"
        return _redirect(place, remove_cookie(SESSION_COOKIE))

    def _person(self, console: Console, request: Request, begun: Mapping[str, str], code: str, now: datetime) -> Person:
        issuer = self.issuers.of(console.issuer)
        endpoints = issuer.endpoints(now)
        form = {
            "grant_type": "authorization_code",
            "code": code,
            "redirect_uri": _callback_of(request),
            "client_id": console.client_id,
            "code_verifier": begun["verifier"],
        }
        headers = {}
        if console.client_secret is not None:
            secret = self.secret(console.client_secret)
            if endpoints.basic:
                both = f"{quote_plus(console.client_id)}:{quote_plus(secret)}"
                headers["authorization"] = f"Basic {base64.b64encode(both.encode()).decode()}"
            else:
                form["client_secret"] = secret
        token = issuer.fetch(endpoints.token, form=form, headers=headers).get("id_token")
        if not isinstance(token, str):
            raise TokenError("the answer has none")
        claims = read_token(token, issuer, now)
        expect_id_token(claims, console.client_id, begun["nonce"])
        return person_of(claims, console)


def _begun(cookie: str) -> dict[str, str] | None:
    """Return what a sign-in began with; None: the cookie is missing, or not one of these."""
    try:
        found = json.loads(base64.urlsafe_b64decode(cookie + "=" * (-len(cookie) % 4)))
    except (ValueError, RecursionError):
        return None
    if not isinstance(found, dict) or set(found) != _FIELDS or not all(isinstance(one, str) for one in found.values()):
        return None
    return found if len(found["state"]) >= 43 else None


def _callback_of(request: Request) -> str:
    return f"{request.base}/callback"


def _sign_out_at(place: str | None, console: Console, request: Request) -> str:
    if place is None:
        return f"{request.prefix}/"
    # Cognito's place to sign out is older than OpenID Connect's rule, and has its own name for the way back.
    is_cognito = (urlsplit(console.issuer).hostname or "").startswith("cognito-idp.")
    name = "logout_uri" if is_cognito else "post_logout_redirect_uri"
    query = {"client_id": console.client_id, name: f"{request.base}/"}
    return _with_query(place, query)


def _with_query(address: str, query: Mapping[str, str]) -> str:
    return f"{address}{'&' if urlsplit(address).query else '?'}{urlencode(query)}"


def _redirect(place: str, *cookies: str) -> Response:
    return Response(303, headers={**headers_of("redirect"), "location": place}, cookies=cookies)


def _with_why(refused: Refused, why: str, name: str = "") -> Refused:
    return Refused(refused.status, refused.message, refused.code, why, name, refused.headers)


def _unavailable(error: IssuerError) -> Refused:
    return _with_why(UNAVAILABLE, error.detail or error.message)
