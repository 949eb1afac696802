"""Tokens: only those count that this issuer has signed, with these algorithms, for this audience, now."""

from __future__ import annotations

import base64
import hashlib
import hmac
import json
from datetime import timedelta
from typing import Any

import pytest
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec
from hypothesis import given
from hypothesis import strategies as st
from tests.unit.console.access.conftest import NOW
from tests.unit.console.access.issuer import PlayedIssuer, ec_key, public_jwk, rsa_key

from coffre_console.access.issuers import Issuer
from coffre_console.access.tokens import (
    TokenError,
    expect_access_token,
    expect_audience,
    expect_id_token,
    issuer_of,
    read_token,
)
from coffre_console.access.web import IssuerError, unavailable

AT = int(NOW.timestamp())
MINUTE = timedelta(minutes=1)


@pytest.fixture
def played() -> PlayedIssuer:
    return PlayedIssuer()


def issuer_with(played: PlayedIssuer) -> Issuer:
    return Issuer(played.url, played)


def encoded(value: Any) -> str:
    return base64.urlsafe_b64encode(json.dumps(value).encode()).decode().rstrip("=")


def refused(played: PlayedIssuer, text: str) -> str:
    with pytest.raises(TokenError) as caught:
        read_token(text, issuer_with(played), NOW)
    return str(caught.value)


def test_a_token_is_read(played: PlayedIssuer) -> None:
    claims = played.person(AT)
    assert read_token(played.sign(claims), issuer_with(played), NOW) == claims


def test_a_token_of_an_elliptic_curve_is_read(played: PlayedIssuer) -> None:
    played.keys.append(public_jwk(ec_key(), "k2"))
    text = played.sign(played.person(AT), key=ec_key(), algorithm="ES256", kid="k2")
    assert read_token(text, issuer_with(played), NOW)["sub"] == "1234"


def test_a_token_without_a_signature_is_refused(played: PlayedIssuer) -> None:
    for name in ("none", "None", "NONE"):
        text = f"{encoded({'alg': name, 'kid': 'k1'})}.{encoded(played.person(AT))}."
        assert "kind that does not count" in refused(played, text)


def test_a_token_that_is_signed_with_the_public_key_as_a_secret_is_refused(played: PlayedIssuer) -> None:
    pem = (
        rsa_key().public_key().public_bytes(serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo)
    )
    head = f"{encoded({'alg': 'HS256', 'kid': 'k1'})}.{encoded(played.person(AT))}"
    signature = base64.urlsafe_b64encode(hmac.new(pem, head.encode(), hashlib.sha256).digest()).decode().rstrip("=")
    assert "kind that does not count" in refused(played, f"{head}.{signature}")


def test_another_key_under_the_same_name_is_refused(played: PlayedIssuer) -> None:
    assert "signature is wrong" in refused(played, played.sign(played.person(AT), key=rsa_key("two")))


def test_a_key_of_another_kind_than_the_algorithm_is_refused(played: PlayedIssuer) -> None:
    text = played.sign(played.person(AT), key=ec_key(), algorithm="ES256", kid="k1")
    assert "no key" in refused(played, text)


def test_another_issuer_with_the_same_key_is_refused(played: PlayedIssuer) -> None:
    assert "another issuer" in refused(played, played.sign(played.person(AT, iss=f"{played.url}/")))


@pytest.mark.parametrize(
    ("claims", "why"),
    [
        ({"exp": AT - 60}, "expired"),
        ({"exp": None}, "exp is no time"),
        ({"exp": "tomorrow"}, "exp is no time"),
        ({"exp": True}, "exp is no time"),
        ({"nbf": AT + 61}, "not valid yet"),
        ({"iat": AT + 61}, "not valid yet"),
    ],
)
def test_a_token_of_another_time_is_refused(played: PlayedIssuer, claims: dict[str, Any], why: str) -> None:
    assert why in refused(played, played.sign(played.person(AT, **claims)))


def test_clocks_may_differ_by_a_minute(played: PlayedIssuer) -> None:
    text = played.sign(played.person(AT, exp=AT - 59, nbf=AT + 60, iat=AT + 60))
    assert read_token(text, issuer_with(played), NOW)["sub"] == "1234"


def test_headers_that_are_not_understood_are_refused(played: PlayedIssuer) -> None:
    for header in ({"crit": ["x"], "x": 1}, {"b64": True}):
        text = f"{encoded({'alg': 'RS256', 'kid': 'k1', **header})}.{encoded(played.person(AT))}.c2ln"
        assert "not understood" in refused(played, text)
    assert "not understood" in refused(played, f"{encoded({'alg': 'RS256', 'kid': 7})}.{encoded({})}.c2ln")


@pytest.mark.parametrize("text", ["", "a.b", "a.b.c.d", "é.é.é", f"{'a' * 16_400}.b.c", f"{encoded([1])}.b.c", "!.!.!"])
def test_what_is_no_token_is_refused(played: PlayedIssuer, text: str) -> None:
    assert refused(played, text) == "it is no token"
    assert issuer_of(text) is None
    assert played.asked == [], "nothing is asked for what is no token"


@given(st.binary(max_size=60), st.binary(max_size=60), st.binary(max_size=60))
def test_no_bytes_are_an_error_of_another_kind(header: bytes, payload: bytes, signature: bytes) -> None:
    parts = (base64.urlsafe_b64encode(one).decode().rstrip("=") for one in (header, payload, signature))
    text = ".".join(parts)
    issuer_of(text)
    with pytest.raises(TokenError):
        read_token(text, issuer_with(PlayedIssuer()), NOW)


# --- keys ---


def test_keys_are_kept_and_asked_again_once_a_minute_for_unknown_ones(played: PlayedIssuer) -> None:
    issuer = issuer_with(played)
    assert issuer.key("k1", "RS256", NOW) is not None
    for second in range(60):
        assert issuer.key(f"unknown-{second}", "RS256", NOW + timedelta(seconds=second)) is None
    assert played.asked.count(played.keys_url) == 1, "they were read within the minute"

    played.keys = [public_jwk(rsa_key("two"), "k2")]
    assert issuer.key("k2", "RS256", NOW + MINUTE) is not None, "a rotated key is found"
    assert issuer.key("k3", "RS256", NOW + MINUTE) is None
    assert issuer.key("k1", "RS256", NOW + MINUTE) is None, "a key that was withdrawn no longer counts"
    assert played.asked.count(played.keys_url) == 2
    assert played.asked.count(played.discovery_url) == 1


def test_known_keys_count_for_their_hour_when_the_issuer_is_silent(played: PlayedIssuer) -> None:
    issuer = issuer_with(played)
    issuer.key("k1", "RS256", NOW)
    played.overrides = {played.keys_url: unavailable(played.keys_url, "status 500")}
    assert issuer.key("unknown", "RS256", NOW + 2 * MINUTE) is None
    assert issuer.key("k1", "RS256", NOW + 3 * MINUTE) is not None
    with pytest.raises(IssuerError):
        issuer.key("k1", "RS256", NOW + timedelta(hours=3))


def test_weak_keys_and_other_curves_do_not_count(played: PlayedIssuer) -> None:
    played.keys = [
        public_jwk(rsa_key("weak", 1024), "weak"),
        public_jwk(ec.generate_private_key(ec.SECP384R1()), "curve"),
        public_jwk(rsa_key(), "cipher", use="enc"),
        public_jwk(rsa_key(), "other", alg="RS512"),
        {"kty": "RSA", "kid": "broken", "n": "!", "e": []},
        {"kty": "oct", "kid": "shared", "k": "c2VjcmV0"},
        public_jwk(rsa_key(), "twice"),
        public_jwk(rsa_key("two"), "twice"),
    ]
    issuer = issuer_with(played)
    for kid in ("weak", "cipher", "other", "broken", "shared", "twice"):
        assert issuer.key(kid, "RS256", NOW) is None, kid
    assert issuer.key("curve", "ES256", NOW) is None


def test_a_token_without_a_name_of_its_key_needs_a_single_key(played: PlayedIssuer) -> None:
    assert issuer_with(played).key(None, "RS256", NOW) is not None
    played.keys.append(public_jwk(rsa_key("two"), "k2"))
    assert issuer_with(played).key(None, "RS256", NOW) is None


@pytest.mark.parametrize("keys", [None, "keys", [1], [{}] * 101], ids=["none", "text", "no objects", "too many"])
def test_what_is_no_set_of_keys_is_an_error_of_the_issuer(played: PlayedIssuer, keys: Any) -> None:
    played.overrides[played.keys_url] = {"keys": keys}
    with pytest.raises(IssuerError):
        issuer_with(played).key("k1", "RS256", NOW)


@pytest.mark.parametrize(
    "discovery",
    [
        {"issuer": "https://login.example.com/realms/other"},
        {"issuer": None},
        {"jwks_uri": "http://login.example.com/keys"},
        {"jwks_uri": "http://127.0.0.1/keys"},
        {"jwks_uri": "file:///etc/passwd"},
        {"jwks_uri": 7},
        {"token_endpoint": "https://user@login.example.com/"},
        {"authorization_endpoint": "javascript:alert(1)"},
        {"authorization_endpoint": "https://login.example.com/\r\nx: y"},
        {"end_session_endpoint": "http://login.example.com/"},
    ],
    ids=str,
)
def test_a_hostile_discovery_document_is_refused(played: PlayedIssuer, discovery: dict[str, Any]) -> None:
    played.discovery = discovery
    with pytest.raises(IssuerError):
        issuer_with(played).endpoints(NOW)


# --- for whom ---


def test_a_machines_token_is_for_this_console_alone() -> None:
    expect_audience({"aud": "https://a"}, "https://a")
    expect_audience({"aud": ["https://a"]}, "https://a")
    for audience in (None, "https://a/", "https://A", ["https://a", "https://b"], [], {"https://a": 1}):
        with pytest.raises(TokenError):
            expect_audience({"aud": audience}, "https://a")


def test_an_id_token_is_for_this_client_and_this_sign_in() -> None:
    good = {"aud": "coffre", "nonce": "n"}
    expect_id_token(good, "coffre", "n")
    expect_id_token({**good, "token_use": "id"}, "coffre", "n")
    expect_id_token({**good, "aud": ["coffre", "b"], "azp": "coffre"}, "coffre", "n")
    for bad in (
        {**good, "aud": "other"},
        {**good, "aud": ["coffre", "b"]},
        {**good, "azp": "other"},
        {**good, "token_use": "access"},
        {**good, "nonce": "m"},
        {"aud": "coffre"},
        {"nonce": "n", "client_id": "coffre"},
    ):
        with pytest.raises(TokenError):
            expect_id_token(bad, "coffre", "n")


def test_an_access_token_of_cognito_is_of_this_client() -> None:
    expect_access_token({"token_use": "access", "client_id": "coffre"}, "coffre", None)
    for bad in (
        {"token_use": "access", "client_id": "other"},
        {"token_use": "access", "aud": "coffre"},
        {"token_use": "id", "aud": "coffre", "client_id": "coffre"},
        {"token_use": "id", "aud": "https://api"},
        {"client_id": "coffre"},
    ):
        with pytest.raises(TokenError):
            expect_access_token(bad, "coffre", "https://api")


def test_an_access_token_of_another_issuer_is_for_the_api_and_no_id_token() -> None:
    expect_access_token({"aud": ["https://api", "https://userinfo"]}, "coffre", "https://api")
    for bad in ({"aud": "coffre"}, {"aud": "https://api", "nonce": "n"}, {"aud": "https://api", "at_hash": "x"}, {}):
        with pytest.raises(TokenError):
            expect_access_token(bad, "coffre", "https://api")
    with pytest.raises(TokenError, match=r"console\.api_audience"):
        expect_access_token({"aud": "coffre"}, "coffre", None)
