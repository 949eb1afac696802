"""Who sent a request: each way to prove it is asked, and a request proves it in one way only."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Final

from coffre_console.access.caller import Caller
from coffre_console.access.request import Request


@dataclass(frozen=True, slots=True)
class Refused:
    """A request that is answered with an error, and with nothing else.

    Attributes
    ----------
    status
        400, 401, 403 or 429.
    message
        A sentence for who sent it: the same for every cause that an attacker could learn something from.
    code
        Stable, upper case: for scripts.
    why
        The true cause, for the log and the audit; never shown to the caller.
    name
        Who it seems to be (a key's id, a repository), for the audit; empty: not known.
    """

    status: int
    message: str
    code: str
    why: str = ""
    name: str = ""
    headers: Mapping[str, str] = field(default_factory=dict)


type Way = Callable[[Request, datetime], Caller | Refused | None]
"""One way to prove who calls. None: the request does not use it."""

NOT_SIGNED_IN: Final = Refused(
    401, "Sign in, or send a valid key.", "NOT_SIGNED_IN", headers={"www-authenticate": "Bearer"}
)
"""The one answer to a request without a credential, and with one that is unknown, disabled, expired or wrong."""
_TWO_CREDENTIALS: Final = Refused(400, "Send a session cookie or an Authorization header, not both.", "TWO_CREDENTIALS")


def identify(request: Request, now: datetime, ways: Sequence[Way]) -> Caller | Refused:
    """Return who sent a request, or why that is not known."""
    if "authorization" in request.headers and any("session" in name for name in request.cookies):
        return _TWO_CREDENTIALS
    for way in ways:
        found = way(request, now)
        if found is not None:
            return found
    return NOT_SIGNED_IN
