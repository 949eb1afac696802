"""The one way in: who calls, may they, and the three routes of signing in. Every refusal is noted here."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime
from functools import cached_property
from typing import TYPE_CHECKING

from coffre.catalog.catalog import Catalog
from coffre.model.audit import Actor
from coffre.model.configuration import Configuration
from coffre_console.access.caller import Caller
from coffre_console.access.csrf import refuse_cross_site, refuse_link
from coffre_console.access.identify import Refused, identify
from coffre_console.access.keys import KeyDoor, bearer_of
from coffre_console.access.permissions import ACTS, Permission, needed_for
from coffre_console.access.refusals import Refusals, Reporter
from coffre_console.access.request import Request, Response
from coffre_console.access.sessions import SessionDoor
from coffre_console.access.web import Fetch, fetch

if TYPE_CHECKING:
    from coffre_console.access.bearers import Issuers, TokenDoor
    from coffre_console.access.login import Login


@dataclass(frozen=True)
class Gate:
    """Everything that decides about requests; it lives as long as the function's process.

    Parameters
    ----------
    configuration
        The configuration that is in effect. It is asked several times a request.
    secret
        Returns the value of a secret by its name: the client's, if the configuration names one.
    """

    catalog: Catalog
    reporter: Reporter
    configuration: Callable[[], Configuration]
    secret: Callable[[str], str]
    fetch: Fetch = fetch

    def caller(self, request: Request, now: datetime) -> Caller | Refused:
        """Return who sent a request, which no other site made a browser send; or the answer to it."""
        found = identify(request, now, (self._sessions.caller, self._keys.caller, self._of_token))
        if isinstance(found, Refused):
            return self._refusals.note(found, request, now)
        crossed = refuse_cross_site(request, found)
        return found if crossed is None else self._refusals.note(crossed, request, now, found)

    def enter(self, caller: Caller, method: str, route: str, request: Request, now: datetime) -> Refused | None:
        """Refuse a caller who may do for no target what a route does, or whom a link led there; None: it may be called.

        Parameters
        ----------
        method, route
            As in `permissions.ROUTES`; raises RouteUnknownError for others.
        """
        needed = needed_for(method, route)
        crossed = refuse_link(request, caller) if f"{method} {route}" in ACTS else None
        if crossed is not None:
            return self._refusals.note(crossed, request, now, caller)
        if needed is None or caller.may_somewhere(needed):
            return None
        return self._forbidden(caller, needed, None, request, now)

    def demand(
        self, caller: Caller, needed: Permission, target: str | None, request: Request, now: datetime
    ) -> Refused | None:
        """Refuse a caller who may not do something to this target (None: to all of them); None: it may be done."""
        if caller.may(needed, target):
            return None
        return self._forbidden(caller, needed, target, request, now)

    def login(self, request: Request, now: datetime) -> Response | Refused:
        """Answer GET /login."""
        found = self._login.login(request, now)
        return self._refusals.note(found, request, now) if isinstance(found, Refused) else found

    def callback(self, request: Request, now: datetime) -> Response | Refused:
        """Answer GET /callback; a session that begins is in the audit."""
        found = self._login.callback(request, now)
        if isinstance(found, Refused):
            return self._refusals.note(found, request, now)
        answer, person = found
        actor = Actor(person.name, verified=True)
        self.reporter.audit(actor, "session.begun", detail=f"groups: {', '.join(person.groups)}")
        return answer

    def logout(self, request: Request, now: datetime) -> Response | Refused:
        """Answer POST /logout. A session that is over already is signed out too."""
        found = self._sessions.caller(request, now)
        if isinstance(found, Caller):
            crossed = refuse_cross_site(request, found)
            if crossed is not None:
                return self._refusals.note(crossed, request, now, found)
            self.reporter.audit(found.actor, "session.ended")
        return self._login.logout(request, now)

    def _forbidden(
        self, caller: Caller, needed: Permission, target: str | None, request: Request, now: datetime
    ) -> Refused:
        about = f"{needed} of {target}" if target is not None else str(needed)
        whose = "Your role does" if caller.kind == "person" else "Its scopes do"
        # Who has come by an id learns no name of a target from it.
        refused = Refused(
            403, f"{whose} not allow {needed}.", "NOT_ALLOWED", why=f"{about} is not allowed", name=caller.name
        )
        return self._refusals.note(refused, request, now, caller)

    @cached_property
    def _sessions(self) -> SessionDoor:
        return SessionDoor(self.catalog.sessions, self.configuration)

    @cached_property
    def _keys(self) -> KeyDoor:
        return KeyDoor(self.catalog.api_keys, self.configuration)

    def _of_token(self, request: Request, now: datetime) -> Caller | Refused | None:
        return self._tokens.caller(request, now) if bearer_of(request) is not None else None

    # Here, for who has a session needs none of it, and most of a first page's time is imports.

    @cached_property
    def _issuers(self) -> Issuers:
        from coffre_console.access.bearers import Issuers

        return Issuers(self.fetch)

    @cached_property
    def _tokens(self) -> TokenDoor:
        from coffre_console.access.bearers import TokenDoor

        return TokenDoor(self._issuers, self.configuration)

    @cached_property
    def _login(self) -> Login:
        from coffre_console.access.login import Login

        return Login(self._issuers, self._sessions, self.configuration, self.secret)

    @cached_property
    def _refusals(self) -> Refusals:
        return Refusals(self.catalog.attempts, self.reporter)
