"""Sessions of people in the console: seen and ended, one's own by everyone, those of others by an admin."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from typing import Annotated

from aws_lambda_powertools.event_handler.openapi.params import Path

from coffre.model.errors import IntegrityError
from coffre.model.session import Session
from coffre_console.access.permissions import Permission
from coffre_console.access.sessions import is_of, running_sessions, sessions_for
from coffre_console.api.answers import Listed, Shown
from coffre_console.api.routes import ApiRoutes
from coffre_console.problems import ProblemError
from coffre_console.reading.damaged import unread_of
from coffre_console.routing import Visit

_TAG = "sessions"
_SESSIONS = "/api/v1/sessions"
SessionId = Annotated[str, Path(pattern=r"^[0-9a-f]{64}$", description="The id of a session.")]


class SessionShown(Shown):
    """A session that runs. The id opens nothing; `is_this` marks the one that the request came with."""

    id: str
    name: str
    shown: str
    browser: str
    began_at: datetime
    seen_at: datetime
    expires_at: datetime
    is_this: bool = False


class SessionList(Listed):
    """The caller's sessions, then (for an admin) those of others."""

    sessions: tuple[SessionShown, ...]


def register(routes: ApiRoutes) -> None:
    """Register the routes."""

    @routes.add("GET", _SESSIONS, summary="Where people are signed in", tag=_TAG)
    def list_them() -> SessionList:
        visit = routes.visit
        found, unread = seen_sessions(visit)
        return SessionList(sessions=tuple(_shown(visit, one) for one in found), unread=unread)

    @routes.add("DELETE", f"{_SESSIONS}/<session_id>", summary="End a session", tag=_TAG)
    def end(session_id: SessionId) -> SessionShown:
        visit = routes.visit
        found = end_sessions(visit, session_id)
        if not found:
            raise ProblemError(404, "SESSION_UNKNOWN", "No such session runs.", f"GET {_SESSIONS} lists them.")
        return _shown(visit, found[0])


def seen_sessions(visit: Visit) -> tuple[Sequence[Session], tuple[str, ...]]:
    """Return the sessions that the caller may see, and which records cannot be read."""
    damaged: list[IntegrityError] = []
    found = sessions_for(_running(visit, damaged), visit.caller)
    return found, unread_of(damaged, visit.may(Permission.SESSIONS))


def end_sessions(visit: Visit, wanted: str) -> Sequence[Session]:
    """End one session, or `all` of the caller's; each is in the audit before it ends. Return those that were ended.

    Those of others need the permission: without it they are like none, and the refusal is in the audit.
    """
    catalog = visit.source.catalog

    def may_end(one: Session) -> bool:
        if is_of(one, visit.caller):
            return wanted in (one.id, "all")
        return one.id == wanted and visit.allows(Permission.SESSIONS, None)

    chosen = [one for one in _running(visit, []) if may_end(one)]
    for one in chosen:
        whose = f"{one.name} ({one.shown}), {one.browser}"
        catalog.audit.record(visit.now, visit.actor, "session.ended", detail=whose[:200])
        catalog.sessions.end(one.id)
    return chosen


def _running(visit: Visit, damaged: list[IntegrityError]) -> Sequence[Session]:
    return running_sessions(visit.source.catalog.sessions.all(damaged), visit.source.configuration().console, visit.now)


def _shown(visit: Visit, one: Session) -> SessionShown:
    known = {name: getattr(one, name) for name in SessionShown.model_fields if name != "is_this"}
    return SessionShown(**known, is_this=one.id == visit.caller.session)
