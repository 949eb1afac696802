"""Makes a page of a template, in the reader's language and with what every page has."""

from __future__ import annotations

import shlex
from collections.abc import Callable, Mapping
from datetime import UTC
from functools import cache
from typing import TYPE_CHECKING, Any, Final, NamedTuple
from urllib.parse import urlencode

from coffre.model.names import visible
from coffre_console.access.caller import Caller
from coffre_console.access.csrf import TOKEN_FIELD
from coffre_console.access.permissions import Permission
from coffre_console.access.request import Request, Response
from coffre_console.pages.files import files
from coffre_console.pages.texts import words_of
from coffre_console.routing import Visit

if TYPE_CHECKING:
    from datetime import datetime

    from jinja2 import Environment

    from coffre.model.backup import Backup, Restore
    from coffre_console.reading.runs import Running

HTML: Final = "text/html; charset=utf-8"
type Html = Response


class Link(NamedTuple):
    """An entry of the navigation; its text is `nav.NAME`. `of_all`: its page is about all targets together."""

    name: str
    path: str
    permission: Permission
    of_all: bool = False

    def is_for(self, caller: Caller) -> bool:
        """Return whether the page lets a caller in."""
        return caller.may(self.permission, None) if self.of_all else caller.may_somewhere(self.permission)


NAVIGATION: Final = (
    Link("dashboard", "/", Permission.READ),
    Link("backups", "/backups", Permission.READ),
    Link("targets", "/targets", Permission.READ),
    Link("running", "/running", Permission.READ),
    Link("restores", "/restores", Permission.READ),
    Link("approvals", "/approvals", Permission.RESTORE),
    Link("alerts", "/alerts", Permission.READ),
    Link("report", "/report", Permission.READ, of_all=True),
    Link("audit", "/audit", Permission.AUDIT),
    Link("keys", "/keys", Permission.KEYS),
    Link("settings", "/settings", Permission.READ, of_all=True),
)


def show(visit: Visit, template: str, *, command: str, **values: Any) -> Html:
    """Return a page: of a file of `templates`, with the command that shows, or does, the same in a terminal."""
    links = [one for one in NAVIGATION if one.is_for(visit.caller)]
    text = rendered(
        visit.request,
        template,
        **values,
        person=visit.caller,
        form_token=visit.caller.form_token,
        links=links,
        command=command,
        now=visit.now,
    )
    return Response(200, text, {"content-type": HTML})


def rendered(request: Request | None, template: str, **values: Any) -> str:
    """Return the HTML of a template; a page about an error may not know who asks, nor what."""
    words = words_of(request)
    prefix = request.prefix if request is not None else ""
    # What a form did, and the end of a sign-in, whose code is used, cannot be shown again.
    is_shown_again = request is not None and request.method == "GET" and request.path != "/callback"
    here = address(request.path, request.query) if request is not None and is_shown_again else "/"
    path = request.path if request is not None else ""
    known = {"person": None, "form_token": "", "links": (), "command": "", "path": path, "here": here, **values}
    known |= {"t": words, "prefix": prefix, "token_field": TOKEN_FIELD}
    known = {**vars(environment().get_template("parts.html.jinja").make_module(known)), **known}
    page = environment().get_template(f"{template}.html.jinja").make_module(known)
    known |= {**vars(page), "main": page}
    return environment().get_template("layout.html.jinja").render(known)


def address(path: str, query: Mapping[str, object]) -> str:
    """Return a path with a query, without the fields that are empty."""
    kept = {name: value for name, value in query.items() if value not in (None, "")}
    return f"{path}?{urlencode(kept)}" if kept else path


def command(*words: str, **options: str) -> str:
    """Return a command of `coffre`, without words and options that are empty; `where_column` is `--where-column`."""
    said = [word for name, value in options.items() if value for word in (f"--{name.replace('_', '-')}", value)]
    return shlex.join(["coffre", *filter(None, words), *said])


def see_other(visit: Visit, path: str, **query: object) -> Html:
    """Lead a browser to a page after a form: to load that page again repeats nothing."""
    return Response(303, headers={"location": f"{visit.request.prefix}{address(path, query)}"})


@cache
def environment() -> Environment:
    """Return the templates."""
    # Here, for a function's start that answers the API does not need it.
    from markupsafe import Markup, escape

    from coffre_console.templates import make_environment

    filters: dict[str, Callable[..., Any]] = {
        "running": lambda one, now: None if one is None or one.status.is_final else _running(one, now),
        "iso": lambda at: f"{at.astimezone(UTC):%Y-%m-%dT%H:%M:%SZ}",
        "utc": lambda at: f"{at.astimezone(UTC):%Y-%m-%d %H:%M} UTC",
        "seconds_since": lambda at, now: max(0.0, (now - at).total_seconds()),
        "address": address,
        "exact": escape,  # what a form sends back is what was sent
        "lines": lambda text: Markup("\n").join(visible(line) for line in text.split("\n")),
    }
    made = make_environment(
        filters, lambda value: visible(value) if isinstance(value, str) and not hasattr(value, "__html__") else value
    )
    made.globals["file"] = lambda name: f"/assets/{files()[name].name}"
    return made


def _running(one: Backup | Restore, now: datetime) -> Running:
    from coffre_console.reading.runs import running

    return running(one, now)
