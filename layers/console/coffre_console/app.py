"""The console's application: from an event of the HTTP API to the answer."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Final, Protocol

from coffre.model.errors import CoffreError
from coffre.runtime.failed_answer import FunctionFailedError
from coffre.runtime.function import utc_now
from coffre.runtime.observability import log_failure
from coffre_console.access.headers import AnswerKind, headers_of
from coffre_console.access.identify import Refused
from coffre_console.access.permissions import needed_for
from coffre_console.access.request import BadRequestError, Request, Response
from coffre_console.console import Console
from coffre_console.problems import (
    CONTENT_TYPE,
    DEFECT,
    ProblemError,
    of_error,
    of_refused,
)
from coffre_console.routing import API, Gate, Routes, Visit

_SIGNING_IN: Final = {("GET", "/login"): "login", ("GET", "/callback"): "callback", ("POST", "/logout"): "logout"}
"""Routes whose answers are the gate's own, by its method."""


class Pages(Protocol):
    """What shows the console to people."""

    def register(self, routes: Routes) -> None:
        """Register the routes of pages."""

    def error(self, problem: ProblemError, request: Request | None) -> Response:
        """Return the answer that shows an error as a page."""

    def signed_out(self, request: Request, place: str) -> str:
        """Return the page that ends a session; `place` is where the identity provider ends its own."""


@dataclass(frozen=True)
class App:
    """One process's application.

    Parameters
    ----------
    pages
        None: only the API is served.
    """

    console: Console
    gate: Gate
    routes: Routes
    pages: Pages | None = None
    now: Callable[[], datetime] = utc_now

    @classmethod
    def make(
        cls, console: Console, gate: Gate, pages: Pages | None = None, now: Callable[[], datetime] = utc_now
    ) -> App:
        """Register the routes, those of the API when it is first used."""
        routes = Routes()
        routes.later(API, _register_api)
        if pages is not None:
            pages.register(routes)
        return cls(console, gate, routes, pages, now)

    def handle(self, event: Mapping[str, Any]) -> dict[str, Any]:
        """Answer an event of an HTTP API (payload format 2.0)."""
        now = self.now()
        path = str(event.get("rawPath") or "/")
        request: Request | None = None
        try:
            request = Request.of_event(event, base=self.console.address(now))
            path = request.path
            _refuse_forms(request)
            if (request.method, path) in _SIGNING_IN:
                return self._sign_in(request, now)
            answer = self.routes.resolve(Visit(self.console, self.gate, request, now))
        except Exception as error:  # noqa: BLE001 - what is no refusal is logged with its traceback
            problem = problem_of(error)
            if problem.status >= 500:
                self._log(error)
            answer = self._failed(problem, path, request)
        return _with_headers(answer, path)

    def _sign_in(self, request: Request, now: datetime) -> dict[str, Any]:
        act = _SIGNING_IN[request.method, request.path]
        needed_for(request.method, request.path)
        found: Response | Refused = getattr(self.gate, act)(request, now)
        if isinstance(found, Refused):
            raise of_refused(found)
        if act == "logout" and self.pages is not None:
            # No redirect: browsers let a form lead to the console alone (`form-action`), also by way of a redirect.
            headers = {name: value for name, value in found.headers.items() if name != "location"}
            page = self.pages.signed_out(request, found.headers.get("location", ""))
            html = {"content-type": "text/html; charset=utf-8"}
            return {**Response(200, page, {**headers, **headers_of("page"), **html}, found.cookies).as_event()}
        kind: AnswerKind = "redirect" if 300 <= found.status < 400 else "page"
        return {**found.as_event(), "headers": {**headers_of(kind), **found.headers}}

    def _failed(self, problem: ProblemError, path: str, request: Request | None) -> dict[str, Any]:
        if self.pages is not None and not path.startswith(API):
            return self.pages.error(problem, request).as_event()
        return Response(problem.status, problem.body, {"content-type": CONTENT_TYPE, **problem.headers}).as_event()

    def _log(self, error: Exception) -> None:
        log_failure(self.console.services.edge.logger, error)


def _register_api(routes: Routes) -> None:
    from coffre_console.api import register_api

    register_api(routes)


def problem_of(error: Exception) -> ProblemError:
    """Return the answer for anything that a request raised."""
    if isinstance(error, ProblemError):
        return error
    if isinstance(error, BadRequestError):
        return ProblemError(400, "REQUEST_UNREADABLE", str(error))
    if isinstance(error, FunctionFailedError):
        return of_function(error)
    return of_error(error) if isinstance(error, CoffreError) else DEFECT


def of_function(error: FunctionFailedError) -> ProblemError:
    """Return the answer for an error that a function has answered with."""
    known = of_error(error)
    if known.status != 500 or error.code == FunctionFailedError.default_code:
        return known
    # A function that answers with a code refuses what was asked: the state of a backup, a plan, a name.
    return ProblemError(409, error.code, error.message, error.hint, error.detail)


def _refuse_forms(request: Request) -> None:
    """Refuse a body in parts, which no route takes: powertools raises what no one expects at one without a boundary."""
    if request.headers.get("content-type", "").strip().lower().startswith("multipart/"):
        raise ProblemError(415, "MEDIA_TYPE", "The body has to be JSON.", "Send content-type: application/json.")


def _with_headers(answer: dict[str, Any], path: str) -> dict[str, Any]:
    kind: AnswerKind = "api" if path.startswith(API) else "page"
    own = {name.lower(): value for name, value in (answer.get("headers") or {}).items()}
    return {**answer, "headers": {**headers_of(kind), **own}}
