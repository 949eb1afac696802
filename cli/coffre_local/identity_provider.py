"""An identity provider for the local stack: OpenID Connect's code flow with PKCE, for test users without passwords.

It listens on 127.0.0.1 alone, and sends people back to addresses of this machine alone. `python -m
coffre_local.identity_provider PORT` runs it until it is ended; its keys and its users exist only while it does.
"""

import base64
import hashlib
import hmac
import html
import json
import secrets
import sys
import threading
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any, Final
from urllib.parse import parse_qsl, urlencode, urlsplit

import jwt
from cryptography.hazmat.primitives.asymmetric import ec
from jwt.algorithms import ECAlgorithm

from coffre_local.issuer import CLIENT_ID, PEOPLE

CODE_SECONDS: Final = 60
_TOKEN_SECONDS: Final = 300
_LONGEST_FORM: Final = 16 * 1024
_KEY_ID: Final = "local"
_ASKED: Final = ("client_id", "redirect_uri", "response_type", "state", "nonce", "code_challenge")
_HEADERS: Final = {
    "cache-control": "no-store",
    "content-security-policy": "default-src 'none'; style-src 'unsafe-inline'; frame-ancestors 'none'",
    "referrer-policy": "no-referrer",
    "x-content-type-options": "nosniff",
}
_PAGE: Final = """<!doctype html>
<html lang="en"><head><meta charset="utf-8"><meta name="viewport" content="width=device-width">
<title>Sign in to the local stack</title>
<style>
:root {{ color-scheme: light dark }}
body {{ font: 1.1em system-ui; margin: 3em auto; max-width: 30em; padding: 0 1em }}
button {{ display: block; font: inherit; margin: .5em 0; padding: .6em 1em; text-align: left; width: 100% }}
</style></head>
<body><main><h1>Sign in to the local stack</h1><p>Test users, without passwords. Choose who you are:</p>
<form method="post">{buttons}</form></main></body></html>
"""


@dataclass(frozen=True)
class Answer:
    """One answer to a browser or to the console."""

    status: int
    body: str = ""
    kind: str = "application/json"
    location: str | None = None

    @classmethod
    def of(cls, document: Mapping[str, Any], status: int = 200) -> "Answer":
        """Return a JSON document."""
        return cls(status, json.dumps(document))

    @classmethod
    def refused(cls, error: str, why: str) -> "Answer":
        """Return an error by its name in OAuth (RFC 6749), with a sentence."""
        return cls.of({"error": error, "error_description": why}, 400)


@dataclass
class Provider:
    """What the provider answers; it keeps codes that were given out, in memory."""

    url: str
    now: Callable[[], float] = time.time
    _key: ec.EllipticCurvePrivateKey = field(default_factory=lambda: ec.generate_private_key(ec.SECP256R1()))
    _codes: dict[str, tuple[float, str, Mapping[str, str]]] = field(default_factory=dict)
    _lock: threading.Lock = field(default_factory=threading.Lock)

    def answer(self, method: str, path: str, query: Mapping[str, str], form: Mapping[str, str]) -> Answer:
        """Answer one request."""
        match method, path:
            case "GET", "/.well-known/openid-configuration":
                return Answer.of(self._discovery())
            case "GET", "/keys":
                return Answer.of({"keys": [self._public_key()]})
            case (("GET" | "POST"), "/authorize"):
                return self._authorize(query, form.get("user"))
            case "POST", "/token":
                return self._exchange(form)
            case "GET", "/sign-out":
                place = query.get("post_logout_redirect_uri", "")
                return Answer(303, location=place) if _is_here(place) else _ELSEWHERE
        return Answer.of({"error": "not_found"}, 404)

    def _discovery(self) -> dict[str, Any]:
        return {
            "issuer": self.url,
            "authorization_endpoint": f"{self.url}/authorize",
            "token_endpoint": f"{self.url}/token",
            "jwks_uri": f"{self.url}/keys",
            "end_session_endpoint": f"{self.url}/sign-out",
            "response_types_supported": ["code"],
            "subject_types_supported": ["public"],
            "id_token_signing_alg_values_supported": ["ES256"],
            "code_challenge_methods_supported": ["S256"],
            "token_endpoint_auth_methods_supported": ["none"],
            "authorization_response_iss_parameter_supported": True,
        }

    def _public_key(self) -> dict[str, Any]:
        shown = ECAlgorithm.to_jwk(self._key.public_key(), as_dict=True)
        return {**shown, "kid": _KEY_ID, "use": "sig", "alg": "ES256"}

    def _authorize(self, asked: Mapping[str, str], user: str | None) -> Answer:
        """Show who can sign in; or, with a user, send that person back with a code."""
        missing = [name for name in _ASKED if not asked.get(name)]
        if missing:
            return Answer.refused("invalid_request", f"Missing: {', '.join(missing)}.")
        if asked["client_id"] != CLIENT_ID or not _is_here(asked["redirect_uri"]):
            return _ELSEWHERE
        if asked["response_type"] != "code" or asked.get("code_challenge_method") != "S256":
            return Answer.refused("invalid_request", "Only the code flow with PKCE (S256) is known here.")
        if user is None:
            return Answer(200, _page(), "text/html; charset=utf-8")
        if user not in PEOPLE:
            return Answer.refused("invalid_request", "There is no such test user.")
        code = secrets.token_urlsafe(32)
        with self._lock:
            self._codes[code] = (self.now() + CODE_SECONDS, user, dict(asked))
        back = urlencode({"code": code, "state": asked["state"], "iss": self.url})
        return Answer(303, location=f"{asked['redirect_uri']}?{back}")

    def _exchange(self, form: Mapping[str, str]) -> Answer:
        """Give an ID token for a code, once, to who can show the verifier that belongs to it."""
        with self._lock:
            until, user, asked = self._codes.pop(form.get("code", ""), (0.0, "", {}))
        digest = hashlib.sha256(form.get("code_verifier", "").encode()).digest()
        challenge = base64.urlsafe_b64encode(digest).decode().rstrip("=")
        is_its = self.now() <= until and all(form.get(name) == asked[name] for name in ("client_id", "redirect_uri"))
        if not is_its or not hmac.compare_digest(challenge.encode(), asked["code_challenge"].encode()):
            return Answer.refused("invalid_grant", "The code is unknown, used, expired, or of another sign-in.")
        now, person = int(self.now()), PEOPLE[user]
        claims = {
            "iss": self.url,
            "aud": CLIENT_ID,
            "sub": user,
            "nonce": asked["nonce"],
            "iat": now,
            "exp": now + _TOKEN_SECONDS,
            "name": person.name,
            "email": f"{user}@example.com",
            "groups": list(person.groups),
        }
        token = jwt.encode(claims, self._key, algorithm="ES256", headers={"kid": _KEY_ID})
        return Answer.of({"token_type": "Bearer", "access_token": secrets.token_urlsafe(32), "id_token": token})


_ELSEWHERE: Final = Answer.refused("invalid_request", "This provider serves the console of this machine alone.")


def _is_here(place: str) -> bool:
    """Return whether an address is one of this machine: nothing else gets a code."""
    try:
        parts = urlsplit(place)
        host = parts.hostname or ""
    except ValueError:
        return False
    return parts.scheme == "http" and (host in {"127.0.0.1", "localhost"} or host.endswith(".localhost"))


def _page() -> str:
    buttons = "".join(
        f'<button name="user" value="{html.escape(user)}">{html.escape(f"{person.name}: {person.about}")}</button>'
        for user, person in PEOPLE.items()
    )
    return _PAGE.format(buttons=buttons)


class _Handler(BaseHTTPRequestHandler):
    """Reads requests for a `Provider`."""

    provider: Provider

    def do_GET(self) -> None:
        self._answer({})

    def do_POST(self) -> None:
        length = self.headers.get("content-length", "")
        if not length.isdecimal() or int(length) > _LONGEST_FORM:
            self._send(Answer.refused("invalid_request", "The form has no length, or is too long."))
            return
        self._answer(dict(parse_qsl(self.rfile.read(int(length)).decode(errors="replace"))))

    def _answer(self, form: Mapping[str, str]) -> None:
        # A page of elsewhere whose name was made to lead here has another host.
        if self.headers.get("host") != urlsplit(self.provider.url).netloc:
            self._send(_ELSEWHERE)
            return
        parts = urlsplit(self.path)
        self._send(self.provider.answer(self.command, parts.path, dict(parse_qsl(parts.query)), form))

    def _send(self, answer: Answer) -> None:
        body = answer.body.encode()
        headers = {**_HEADERS, "content-type": answer.kind, "content-length": str(len(body))}
        if answer.location is not None:
            headers["location"] = answer.location
        self.send_response(answer.status)
        for name, value in headers.items():
            self.send_header(name, value)
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, format: str, *arguments: object) -> None:  # noqa: A002 - the name that the library calls
        """Log nothing: the lines would have codes."""


def server_of(port: int) -> ThreadingHTTPServer:
    """Return the provider's server on a port of 127.0.0.1 (0: a free one), which listens and does not answer yet."""

    class Handler(_Handler):
        """Of this server."""

    server = ThreadingHTTPServer(("127.0.0.1", port), Handler)
    Handler.provider = Provider(f"http://127.0.0.1:{server.server_port}")
    return server


if __name__ == "__main__":
    server_of(int(sys.argv[1])).serve_forever()
