"""The console's two cookies: of a session, and of a sign-in that is not finished."""

from __future__ import annotations

from typing import Final

SESSION_COOKIE: Final = "__Host-session"
LOGIN_COOKIE: Final = "__Host-login"
# __Host-: a browser takes it over TLS alone (or from this machine), for this host alone, whatever other hosts set.
# Lax: the identity provider sends people back from another site, and Strict cookies would not come with them.
_ATTRIBUTES: Final = "Path=/; Secure; HttpOnly; SameSite=Lax"


def set_cookie(name: str, value: str, *, seconds: int) -> str:
    """Return the value of Set-Cookie for a cookie that lives this long."""
    return f"{name}={value}; Max-Age={seconds}; {_ATTRIBUTES}"


def remove_cookie(name: str) -> str:
    """Return the value of Set-Cookie that removes a cookie."""
    return set_cookie(name, "", seconds=0)
