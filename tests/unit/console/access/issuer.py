"""A played identity provider: its keys are made in the test, and it checks what a real one checks."""

from __future__ import annotations

import base64
import hashlib
import json
import secrets
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cache
from typing import Any
from urllib.parse import parse_qsl, unquote_plus, urlsplit

import jwt
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from jwt.algorithms import ECAlgorithm, RSAAlgorithm

from coffre_console.access.web import unavailable

type Private = rsa.RSAPrivateKey | ec.EllipticCurvePrivateKey


@cache
def rsa_key(name: str = "one", bits: int = 2048) -> rsa.RSAPrivateKey:
    """Return a key, the same for each name: making one takes long."""
    del name
    return rsa.generate_private_key(65537, bits)


@cache
def ec_key(name: str = "one") -> ec.EllipticCurvePrivateKey:
    del name
    return ec.generate_private_key(ec.SECP256R1())


def public_jwk(key: Private, kid: str | None, **more: Any) -> dict[str, Any]:
    """Return a public key as a set of keys has it."""
    if isinstance(key, rsa.RSAPrivateKey):
        said = json.loads(RSAAlgorithm.to_jwk(key.public_key()))
    else:
        said = json.loads(ECAlgorithm.to_jwk(key.public_key()))
    said.pop("key_ops", None)
    return {**said, **({"kid": kid} if kid is not None else {}), **more}


@dataclass
class PlayedIssuer:
    """An identity provider as `Fetch`: it answers discovery, keys and the token endpoint.

    `overrides` are other answers by address; an exception among them is raised.
    """

    url: str = "https://login.example.com/realms/acme"
    client_id: str = "coffre"
    secret: str | None = None
    keys: list[dict[str, Any]] = field(default_factory=lambda: [public_jwk(rsa_key(), "k1", use="sig", alg="RS256")])
    overrides: dict[str, Any] = field(default_factory=dict)
    asked: list[str] = field(default_factory=list)
    codes: dict[str, dict[str, str]] = field(default_factory=dict)
    claims: dict[str, Any] = field(default_factory=dict)
    discovery: dict[str, Any] = field(default_factory=dict)

    def __call__(
        self, url: str, *, form: Mapping[str, str] | None = None, headers: Mapping[str, str] | None = None
    ) -> Mapping[str, Any]:
        self.asked.append(url)
        answer = self.overrides.get(url, self._answer(url, form or {}, headers or {}))
        if isinstance(answer, Exception):
            raise answer
        return dict(answer)

    @property
    def discovery_url(self) -> str:
        return f"{self.url.rstrip('/')}/.well-known/openid-configuration"

    @property
    def keys_url(self) -> str:
        return f"{self.url}/keys"

    @property
    def token_url(self) -> str:
        return f"{self.url}/token"

    def sign(
        self,
        claims: Mapping[str, Any],
        *,
        key: Any = None,
        algorithm: str = "RS256",
        kid: str | None = "k1",
        **header: Any,
    ) -> str:
        """Return a token; by default as this issuer signs it."""
        headers = {**({"kid": kid} if kid is not None else {}), **header}
        return jwt.encode(dict(claims), key or rsa_key(), algorithm=algorithm, headers=headers)

    def person(self, now: float, **changes: Any) -> dict[str, Any]:
        """Return the claims of an ID token."""
        return {
            "iss": self.url,
            "aud": self.client_id,
            "sub": "1234",
            "email": "ada@example.com",
            "groups": ["dba"],
            "iat": now,
            "exp": now + 300,
            **self.claims,
            **changes,
        }

    def authorize(self, location: str, now: float, **claims: Any) -> dict[str, str]:
        """Sign a person in who was sent to `location`; return the query with which they come back."""
        asked = dict(parse_qsl(urlsplit(location).query))
        code = secrets.token_urlsafe(16)
        self.codes[code] = {**asked, "claims": json.dumps({**self.person(now), **claims})}
        return {"code": code, "state": asked["state"]}

    def _answer(self, url: str, form: Mapping[str, str], headers: Mapping[str, str]) -> Mapping[str, Any]:
        if url == self.discovery_url:
            return {
                "issuer": self.url,
                "authorization_endpoint": f"{self.url}/authorize",
                "token_endpoint": self.token_url,
                "jwks_uri": self.keys_url,
                **self.discovery,
            }
        if url == self.keys_url:
            return {"keys": self.keys}
        if url == self.token_url:
            return self._exchange(form, headers)
        raise unavailable(url, "status 404")

    def _exchange(self, form: Mapping[str, str], headers: Mapping[str, str]) -> Mapping[str, Any]:
        begun = self.codes.pop(form.get("code", ""), None)
        if begun is None:
            raise unavailable(self.token_url, "status 400")
        if form["redirect_uri"] != begun["redirect_uri"] or not self._is_client(form, headers):
            raise unavailable(self.token_url, "status 400")
        digest = hashlib.sha256(form["code_verifier"].encode()).digest()
        if base64.urlsafe_b64encode(digest).decode().rstrip("=") != begun["code_challenge"]:
            raise unavailable(self.token_url, "status 400")
        claims = json.loads(begun["claims"])
        return {"token_type": "Bearer", "id_token": self.sign({"nonce": begun["nonce"], **claims})}

    def _is_client(self, form: Mapping[str, str], headers: Mapping[str, str]) -> bool:
        if self.secret is None:
            return form["client_id"] == self.client_id and "authorization" not in headers
        if "authorization" in headers:
            both = base64.b64decode(headers["authorization"].removeprefix("Basic ")).decode()
            return [unquote_plus(one) for one in both.split(":")] == [self.client_id, self.secret]
        return form.get("client_secret") == self.secret
