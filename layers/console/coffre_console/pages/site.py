"""All pages together, and the pages about errors."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

from coffre_console.access.csrf import TOKEN_FIELD
from coffre_console.access.request import BadRequestError, Request, Response
from coffre_console.pages import asked, dashboard, files
from coffre_console.pages.show import HTML, address, rendered
from coffre_console.problems import ProblemError
from coffre_console.routing import Routes

# What a form sends and an address must not have: they open something, or are of one session.
_NOT_KEPT: Final = (TOKEN_FIELD, "token")


@dataclass(frozen=True)
class Site:
    """The pages of the console."""

    def register(self, routes: Routes) -> None:
        """Register the dashboard and its files, and the other pages when one is first asked for."""
        for page in (files, dashboard):
            asked.register(routes, page.PAGES)
        routes.later("/", _register_others)

    def error(self, problem: ProblemError, request: Request | None) -> Response:
        """Return the answer that shows an error as a page.

        What a form has sent is not lost: the page leads back to the form with its fields, by way of the sign-in if the
        session is over.
        """
        template = "sign_in" if problem.status == 401 else "error"
        known = problem.status if problem.status in (400, 403, 404, 409, 422, 429, 503) else 500
        body = rendered(request, template, problem=problem, kind=known, back=_back(request))
        return Response(problem.status, body, {"content-type": HTML, **problem.headers})

    def signed_out(self, request: Request, place: str) -> str:
        """Return the page after a sign-out; `place` is where the identity provider ends its own session."""
        is_elsewhere = place.startswith(("https://", "http://"))
        return rendered(request, "signed_out", place=place if is_elsewhere else "")


def _register_others(routes: Routes) -> None:
    from coffre_console.pages import (
        acts,
        approvals,
        backups,
        contents,
        deletion,
        downloads,
        keys,
        records,
        running,
        wizard,
    )

    for page in (backups, contents, acts, downloads, wizard, deletion, approvals, running, records, keys):
        asked.register(routes, page.PAGES)


def _back(request: Request | None) -> str:
    """Return the page that a request came from, or would show again; a sign-in begins again, as its code is used."""
    if request is None or request.path in ("/logout", "/callback"):
        return "/"
    fields: Mapping[str, str] = request.query
    if request.method == "POST":
        try:
            fields = {**request.query, **request.form}
        except BadRequestError:
            fields = {}
    return address(request.path, {name: value for name, value in fields.items() if name not in _NOT_KEPT})
