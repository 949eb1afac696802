"""Tokens of identity providers: what proves who signed one, for whom and for how long."""

from __future__ import annotations

import base64
import binascii
import json
from collections.abc import Mapping
from datetime import datetime, timedelta
from typing import Any, Final

from coffre.model.document import parse_json
from coffre_console.access.issuers import ALGORITHMS, Issuer

LEEWAY: Final = timedelta(seconds=60)
# API Gateway takes headers of 10 KB in all (AWS, 2026-11); an ID token of an answer may be longer.
_LONGEST_TOKEN: Final = 16 * 1024

type Claims = Mapping[str, Any]


class TokenError(Exception):
    """A token that proves nothing; the message says why, for the log, and has nothing of the token."""


def read_token(text: str, issuer: Issuer, now: datetime) -> Claims:
    """Return the claims of a token that this issuer has signed and that is valid now.

    For whom it is, is not looked at: `expect_audience` and `expect_client` do.

    Raises
    ------
    TokenError
        It is malformed, signed otherwise than `ALGORITHMS` or by another key, of another issuer, or not valid now.
    IssuerError
        The issuer's keys could not be read.
    """
    header = _part(text, 0)
    algorithm, kid = header.get("alg"), header.get("kid")
    if not isinstance(algorithm, str) or algorithm not in ALGORITHMS:
        raise TokenError("its signature is of a kind that does not count")
    if "crit" in header or "b64" in header or not isinstance(kid, str | None):
        raise TokenError("its header has fields that are not understood")
    key = issuer.key(kid, algorithm, now)
    if key is None:
        raise TokenError("no key of the issuer fits")
    import jwt  # Here, as in `issuers`.

    try:
        # The times are compared below, with the given clock.
        jwt.PyJWS().decode_complete(text, key, algorithms=[algorithm])
    except (jwt.PyJWTError, ValueError) as error:
        raise TokenError(f"its signature is wrong ({type(error).__name__})") from error
    claims = _part(text, 1)
    if claims.get("iss") != issuer.url:
        raise TokenError("it is of another issuer")
    _refuse_other_times(claims, now)
    return claims


def issuer_of(text: str) -> str | None:
    """Return which issuer a token says it is of. Nothing is proven by that; None: it is no token."""
    try:
        said = _part(text, 1).get("iss")
    except TokenError:
        return None
    return said if isinstance(said, str) else None


def expect_audience(claims: Claims, wanted: str) -> None:
    """Refuse a token that is not for `wanted` alone; raises TokenError."""
    if claims.get("aud") not in (wanted, [wanted]):
        raise TokenError("it is for another audience")


def expect_id_token(claims: Claims, client_id: str, nonce: str) -> None:
    """Refuse what is no ID token for this client and this sign-in; raises TokenError."""
    audiences = _audiences(claims)
    if client_id not in audiences:
        raise TokenError("it is for another client")
    if (len(audiences) > 1 or "azp" in claims) and claims.get("azp") != client_id:
        raise TokenError("it was given to another client")
    if claims.get("token_use", "id") != "id":
        raise TokenError("it is no ID token")
    if claims.get("nonce") != nonce:
        raise TokenError("it is of another sign-in")


def expect_access_token(claims: Claims, client_id: str, audience: str | None) -> None:
    """Refuse what is no access token for the API: an ID token, or a token of another client or for another API.

    Cognito's access tokens have no `aud`: they name the client, and say what they are
    (https://docs.aws.amazon.com/cognito/latest/developerguide/amazon-cognito-user-pools-using-the-access-token.html).

    Raises
    ------
    TokenError
        It is none.
    """
    use = claims.get("token_use")
    if use is not None:
        if use != "access":
            raise TokenError("it is no access token")
        if claims.get("client_id") != client_id:
            raise TokenError("it is of another client")
        return
    if audience is None:
        raise TokenError("the configuration names no audience for access tokens (console.api_audience)")
    if "nonce" in claims or "at_hash" in claims:
        raise TokenError("it is an ID token")
    audiences = claims.get("aud")
    if audience not in (
        [audiences] if isinstance(audiences, str) else audiences if isinstance(audiences, list) else []
    ):
        raise TokenError("it is for another audience")


def _audiences(claims: Claims) -> list[Any]:
    said = claims.get("aud")
    return said if isinstance(said, list) else [said]


def _refuse_other_times(claims: Claims, now: datetime) -> None:
    at = now.timestamp()
    leeway = LEEWAY.total_seconds()
    if _time(claims, "exp", needed=True) <= at - leeway:
        raise TokenError("it has expired")
    for name in ("nbf", "iat"):
        if _time(claims, name, needed=False) > at + leeway:
            raise TokenError("it is not valid yet")


def _time(claims: Claims, name: str, *, needed: bool) -> float:
    value = claims.get(name)
    if value is None and not needed:
        return 0
    if not isinstance(value, int | float) or isinstance(value, bool):
        raise TokenError(f"its {name} is no time")
    return value


def _part(text: str, index: int) -> dict[str, Any]:
    parts = text.split(".")
    if len(text) > _LONGEST_TOKEN or len(parts) != 3 or not text.isascii():
        raise TokenError("it is no token")
    try:
        raw = base64.b64decode(parts[index] + "=" * (-len(parts[index]) % 4), altchars=b"-_", validate=True)
        found = parse_json(raw)
    except (binascii.Error, json.JSONDecodeError) as error:
        raise TokenError("it is no token") from error
    if not isinstance(found, dict):
        raise TokenError("it is no token")
    return found
