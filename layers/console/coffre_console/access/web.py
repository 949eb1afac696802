"""Requests to an identity provider: few, short, and of an answer only what can be one."""

from __future__ import annotations

import json
import time
from collections.abc import Mapping
from functools import cache
from typing import Any, Final, Protocol
from urllib.parse import urlencode, urlsplit

import urllib3
from urllib3.exceptions import HTTPError

from coffre.model.document import parse_json
from coffre.model.errors import TransientError

_TIMEOUT: Final = urllib3.Timeout(connect=3, read=5)
_WHOLE_SECONDS: Final = 8
# Discovery documents have about 3 KB, key sets 2 to 20 KB.
_LONGEST_ANSWER: Final = 256 * 1024
_BLOCK: Final = 16 * 1024
_LOOPBACK: Final = frozenset({"127.0.0.1", "localhost", "::1"})


class IssuerError(TransientError):
    """An identity provider does not answer, or not as one; the detail says how."""

    default_code = "ISSUER_UNAVAILABLE"


class Fetch(Protocol):
    """Sends one request and returns the JSON object in the answer; `fetch` is the one of a deployed console."""

    def __call__(
        self, url: str, *, form: Mapping[str, str] | None = None, headers: Mapping[str, str] | None = None
    ) -> Mapping[str, Any]: ...


def fetch(
    url: str, *, form: Mapping[str, str] | None = None, headers: Mapping[str, str] | None = None
) -> Mapping[str, Any]:
    """Send a GET, or a POST with a form, and return the JSON object in the answer.

    No redirect is followed, an answer has 256 KB at most, and all of it takes 8 seconds at most.

    Raises
    ------
    IssuerError
        `ISSUER_UNAVAILABLE`, also for an address without TLS that is not this machine's.
    """
    if not is_protected(url):
        raise unavailable(url, "it is no https:// address")
    try:
        response = _pool().request(
            "GET" if form is None else "POST",
            url,
            body=None if form is None else urlencode(form),
            headers={
                "accept": "application/json",
                "accept-encoding": "identity",
                "user-agent": "coffre",
                **({} if form is None else {"content-type": "application/x-www-form-urlencoded"}),
                **(headers or {}),
            },
            preload_content=False,
        )
        body = _read(url, response)
    except (HTTPError, OSError) as error:
        raise unavailable(url, type(error).__name__) from error
    if response.status != 200:
        raise unavailable(url, f"status {response.status}")
    try:
        answer = parse_json(body)
    except json.JSONDecodeError as error:
        raise unavailable(url, "no JSON") from error
    if not isinstance(answer, dict):
        raise unavailable(url, "no JSON object")
    return answer


def is_protected(url: str) -> bool:
    """Return whether an address is one of TLS without a user name, or of this machine."""
    try:
        parts = urlsplit(url)
        host = parts.hostname
    except ValueError:
        return False
    if not url.isascii() or not url.isprintable() or not host or "@" in parts.netloc or parts.fragment:
        return False
    return parts.scheme == "https" or (parts.scheme == "http" and host in _LOOPBACK)


def unavailable(url: str, why: str) -> IssuerError:
    """Return the error for an answer that cannot be used. It has nothing of the answer."""
    return IssuerError(
        "The identity provider does not answer as it should.",
        detail=f"{url[:200]}: {why}",
        hint="Check that the issuer in the section console of the configuration is right, and that the function "
        "reaches it.",
    )


def _read(url: str, response: urllib3.BaseHTTPResponse) -> bytes:
    end = time.monotonic() + _WHOLE_SECONDS
    body = b""
    try:
        while block := response.read1(_BLOCK):
            body += block
            if len(body) > _LONGEST_ANSWER:
                raise unavailable(url, "its answer is too long")
            if time.monotonic() > end:
                raise unavailable(url, "its answer takes too long")
    finally:
        response.close()
    return body


@cache
def _pool() -> urllib3.PoolManager:
    return urllib3.PoolManager(timeout=_TIMEOUT, retries=False, num_pools=8)
