"""Sessions of people: 256 random bits in the browser, their hash in the catalog, and roles asked at each request."""

from __future__ import annotations

import hashlib
import re
import secrets
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Final

from coffre.catalog.sessions import Sessions
from coffre.model.audit import Actor
from coffre.model.configuration import Configuration
from coffre.model.console import Console
from coffre.model.errors import IntegrityError
from coffre.model.session import Session
from coffre_console.access import grants
from coffre_console.access.caller import Caller
from coffre_console.access.cookies import SESSION_COOKIE, set_cookie
from coffre_console.access.identify import Refused
from coffre_console.access.permissions import Permission
from coffre_console.access.request import Request

if TYPE_CHECKING:
    from coffre_console.access.bearers import Person

LIFETIME: Final = timedelta(hours=8)
IDLE: Final = timedelta(minutes=30)
# A page with progress asks every few seconds: not each of them is worth a write.
_SEEN_EVERY: Final = timedelta(minutes=1)
_VALUE: Final = re.compile(r"[A-Za-z0-9_-]{43}")
# Browsers name those too that they want to be taken for: the first that fits is the one.
_BROWSERS: Final = (
    ("Edg", "Edge"),
    ("OPR/", "Opera"),
    ("Firefox/", "Firefox"),
    ("Chrome/", "Chrome"),
    ("Safari/", "Safari"),
)
_SYSTEMS: Final = (
    ("Android", "Android"),
    ("iPhone", "iPhone"),
    ("iPad", "iPad"),
    ("Windows", "Windows"),
    ("Mac OS X", "macOS"),
    ("CrOS", "ChromeOS"),
    ("Linux", "Linux"),
)
_OVER: Final = Refused(401, "Your session is over: sign in again.", "SESSION_OVER")


@dataclass(frozen=True, slots=True)
class SessionDoor:
    """Begins, finds and ends sessions."""

    sessions: Sessions
    configuration: Callable[[], Configuration]

    def begin(self, console: Console, person: Person, now: datetime, user_agent: str = "") -> str:
        """Begin a session for who has just signed in there, and return its cookie."""
        value = secrets.token_urlsafe(32)
        self.sessions.begin(
            Session(
                id=_hash(value),
                name=person.name,
                shown=person.shown,
                groups=tuple(sorted(set(person.groups))),
                issuer=console.issuer,
                client_id=console.client_id,
                began_at=now,
                seen_at=now,
                expires_at=now + LIFETIME,
                browser=browser_of(user_agent),
            )
        )
        return set_cookie(SESSION_COOKIE, value, seconds=int(LIFETIME.total_seconds()))

    def caller(self, request: Request, now: datetime) -> Caller | Refused | None:
        """Return whose session a request brings; None: it brings no cookie of one."""
        value = request.cookies.get(SESSION_COOKIE)
        if not value:
            return None
        if not _VALUE.fullmatch(value):
            return _OVER
        try:
            session = self.sessions.find(_hash(value))
        except IntegrityError as error:  # Who has it can sign in again, as with one that is over.
            return replace(_OVER, why=error.message)
        if session is None:
            return _OVER
        configuration = self.configuration()
        if is_over(session, configuration.console, now):
            self.sessions.end(session.id)
            return _OVER
        if not self.sessions.seen(session, now, every=_SEEN_EVERY):
            return _OVER
        return Caller(
            kind="person",
            name=session.name,
            shown=session.shown,
            grants=grants.of_groups(configuration, session.groups),
            form_token=form_token(value),
            session=session.id,
        )

    def end(self, request: Request) -> bool:
        """End the session that a request brings, if it brings one that runs."""
        value = request.cookies.get(SESSION_COOKIE, "")
        return bool(_VALUE.fullmatch(value)) and self.sessions.end(_hash(value))


def is_over(session: Session, console: Console | None, now: datetime) -> bool:
    """Return whether a session that was not ended is over: by its times, or as people sign in elsewhere now."""
    if console is None or (session.issuer, session.client_id) != (console.issuer, console.client_id):
        return True
    return now >= session.expires_at or now - session.seen_at >= IDLE


def running_sessions(sessions: Iterable[Session], console: Console | None, now: datetime) -> Sequence[Session]:
    """Return the sessions that run."""
    return [one for one in sessions if not is_over(one, console, now)]


def sessions_for(running: Sequence[Session], caller: Caller) -> Sequence[Session]:
    """Return those of the sessions that run that a caller may see: the caller's own first, then perhaps everyone's."""
    may_all = caller.may(Permission.SESSIONS)
    found = [one for one in running if may_all or is_of(one, caller)]
    return sorted(found, key=lambda one: (not is_of(one, caller), one.name, -one.began_at.timestamp()))


def is_of(session: Session, caller: Caller) -> bool:
    """Return whether a session is of who asks: the same person, whatever was shown of them when they signed in."""
    return Actor.in_console(session.name).person == Actor.in_console(caller.name).person


def browser_of(user_agent: str) -> str:
    """Return a browser's name and its system, as far as they are known: what a person knows a session by."""
    names = [next((name for mark, name in those if mark in user_agent), "") for those in (_BROWSERS, _SYSTEMS)]
    return ", ".join(filter(None, names))


def form_token(value: str) -> str:
    """Return what a form of a session sends back: no other site knows it, and it opens nothing by itself."""
    return hashlib.sha256(f"form {value}".encode()).hexdigest()


def _hash(value: str) -> str:
    return hashlib.sha256(value.encode()).hexdigest()
