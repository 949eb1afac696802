"""The headers of every answer, from one table: only the console's own files run, and no other site frames it."""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType
from typing import Final, Literal
from urllib.parse import urlsplit

type AnswerKind = Literal["page", "api", "asset", "redirect"]

# Two years, as browsers' preload lists ask (hstspreload.org); without subdomains, which are not the console's.
_EVERYWHERE: Final[Mapping[str, str]] = MappingProxyType(
    {
        "strict-transport-security": "max-age=63072000",
        "x-content-type-options": "nosniff",
        "x-frame-options": "DENY",
        "referrer-policy": "same-origin",
        "cross-origin-opener-policy": "same-origin",
        "cross-origin-resource-policy": "same-origin",
        "permissions-policy": "camera=(), geolocation=(), microphone=(), payment=(), usb=()",
        "x-robots-tag": "noindex",
    }
)
_NOTHING_RUNS: Final = "default-src 'none'; frame-ancestors 'none'; base-uri 'none'; form-action 'none'"
_NOT_STORED: Final = "no-store"
_FOR_EVER: Final = "public, max-age=31536000, immutable"


def headers_of(kind: AnswerKind, *, issuer: str | None = None) -> dict[str, str]:
    """Return the headers of an answer.

    Parameters
    ----------
    kind
        `asset`: a file under a name that has its hash, which is kept for ever; no other answer is stored by anyone.
    issuer
        The URL of the identity provider: a form of a page may lead there.
    """
    policy = _page_policy(issuer) if kind == "page" else _NOTHING_RUNS
    cached = _FOR_EVER if kind == "asset" else _NOT_STORED
    return {**_EVERYWHERE, "content-security-policy": policy, "cache-control": cached}


def _page_policy(issuer: str | None) -> str:
    forms = "'self'"
    if issuer:
        parts = urlsplit(issuer)
        forms += f" {parts.scheme}://{parts.netloc}"
    return (
        "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data:; connect-src 'self'; "
        f"form-action {forms}; frame-ancestors 'none'; base-uri 'none'"
    )
