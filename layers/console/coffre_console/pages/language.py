"""The switch between languages."""

from __future__ import annotations

from aws_lambda_powertools.event_handler import Response as Answer

from coffre_console.access.cookies import set_cookie
from coffre_console.access.login import local_path
from coffre_console.pages.show import HTML
from coffre_console.pages.texts import LANGUAGE_COOKIE, LANGUAGES
from coffre_console.routing import Routes

_YEAR_SECONDS = 365 * 24 * 3600


def register(routes: Routes) -> None:
    """Register the route."""

    @routes.add("GET", "/language")
    def choose() -> Answer[str]:
        request = routes.visit.request
        chosen = request.query.get("to", "")
        place = f"{request.prefix}{local_path(request.query.get('next', '/'))}"
        headers: dict[str, str | list[str]] = {"location": place}
        if chosen in LANGUAGES:
            headers["set-cookie"] = set_cookie(LANGUAGE_COOKIE, chosen, seconds=_YEAR_SECONDS)
        return Answer(303, HTML, "", headers=headers)
