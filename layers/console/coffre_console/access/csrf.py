"""Requests that another site makes a browser send: refused by what browsers say of them, and by the form's token."""

from __future__ import annotations

import hmac
import json
from collections.abc import Sequence
from typing import Final

from coffre_console.access.caller import Caller
from coffre_console.access.identify import Refused
from coffre_console.access.request import UNSAFE_METHODS, BadRequestError, Request

TOKEN_FIELD: Final = "csrf_token"  # noqa: S105 - the name of a form's field
TOKEN_HEADER: Final = "x-csrf-token"  # noqa: S105 - the name of a header
_FORM: Final = "application/x-www-form-urlencoded"


def refuse_link(request: Request, caller: Caller) -> Refused | None:
    """Refuse a request with a session's cookie that a link elsewhere can send, to a route of `permissions.ACTS`.

    Its browser says that it comes from a page of this console; or its header has the token of the session.
    """
    is_own = request.headers.get("sec-fetch-site") == "same-origin"
    token = request.headers.get(TOKEN_HEADER, "")
    if not caller.session or is_own or hmac.compare_digest(token.encode(), caller.form_token.encode()):
        return None
    return _refused("a link elsewhere, or without the session's token", caller)


def refuse_cross_site(request: Request, caller: Caller) -> Refused | None:
    """Refuse a request that changes something and was not sent by a page of this console; None: it was.

    Only what has a cookie is looked at: no browser sends a key or a token by itself. Fetch Metadata decides; where a
    browser does not send it, `Origin`; and the token of the session has to come too, in the form or in the header.
    """
    if request.method not in UNSAFE_METHODS or not caller.session:
        return None
    site = request.headers.get("sec-fetch-site")
    if site is not None and site != "same-origin":
        return _refused(f"Sec-Fetch-Site is {site[:40]!r}", caller)
    origin = request.headers.get("origin")
    if (site is None or origin is not None) and origin != request.origin:
        return _refused("Origin is another one, or missing", caller)
    if not hmac.compare_digest(_token_of(request).encode(), caller.form_token.encode()):
        return _refused("the form's token is missing, or of another session", caller)
    return None


def proof_of(caller: Caller, said: Sequence[str]) -> str:
    """Return what shows in an address that this session has put its parts together. No one else can make it.

    An address that another person has made up could show one thing and start another.
    """
    return hmac.digest(caller.form_token.encode(), json.dumps(said).encode(), "sha256").hex()[:32]


def _token_of(request: Request) -> str:
    if TOKEN_HEADER in request.headers:
        return request.headers[TOKEN_HEADER]
    if not request.headers.get("content-type", "").lower().startswith(_FORM):
        return ""
    try:
        return request.form.get(TOKEN_FIELD, "")
    except BadRequestError:
        return ""


def _refused(why: str, caller: Caller) -> Refused:
    message = "This form is not of your session: load the page again, and repeat it."
    return Refused(403, message, "CROSS_SITE", why=why, name=caller.name)
