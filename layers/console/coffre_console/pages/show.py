"""Makes a page of a template, in the reader's language and with what every page has."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from datetime import UTC, datetime
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, NamedTuple
from urllib.parse import urlencode

from aws_lambda_powertools.event_handler import Response as Answer

from coffre.model.backup import Backup, Restore
from coffre.model.names import visible
from coffre_console.access.caller import Caller
from coffre_console.access.csrf import TOKEN_FIELD
from coffre_console.access.permissions import Permission
from coffre_console.access.request import Request
from coffre_console.api.answers import ULID_PATTERN
from coffre_console.pages.files import files
from coffre_console.pages.texts import words_of
from coffre_console.problems import NOT_FOUND, ProblemError, WrongField
from coffre_console.routing import Visit

if TYPE_CHECKING:
    from jinja2 import Environment

HTML: Final = "text/html; charset=utf-8"
_TEMPLATES: Final = Path(__file__).parent / "templates"
_ID: Final = re.compile(ULID_PATTERN)


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
    Link("alerts", "/alerts", Permission.READ),
    Link("report", "/report", Permission.READ, of_all=True),
    Link("audit", "/audit", Permission.AUDIT),
    Link("keys", "/keys", Permission.KEYS),
    Link("settings", "/settings", Permission.READ, of_all=True),
)


def show(visit: Visit, template: str, *, command: str, status: int = 200, **values: Any) -> Answer[str]:
    """Return a page.

    Parameters
    ----------
    template
        `dashboard` is `templates/dashboard.html.jinja`.
    command
        The command that shows, or does, the same in a terminal.
    """
    links = [one for one in NAVIGATION if one.is_for(visit.caller)]
    text = rendered(
        visit.request,
        template,
        **values,
        caller=visit.caller,
        form_token=visit.caller.form_token,
        links=links,
        command=command,
        now=visit.now,
    )
    return Answer(status, HTML, text)


def rendered(request: Request | None, template: str, **values: Any) -> str:
    """Return the HTML of a template; a page about an error may not know who asks, nor what."""
    words = words_of(request)
    prefix = request.prefix if request is not None else ""
    here = address(request.path, request.query) if request is not None and request.method == "GET" else "/"
    known = {"caller": None, "form_token": "", "links": (), "command": "", "path": request.path if request else ""}
    return (
        environment()
        .get_template(f"{template}.html.jinja")
        .render({**known, "t": words, "prefix": prefix, "here": here, "token_field": TOKEN_FIELD, **values})
    )


def address(path: str, query: Mapping[str, object]) -> str:
    """Return a path with a query, without the fields that are empty."""
    kept = {name: value for name, value in query.items() if value not in (None, "")}
    return f"{path}?{urlencode(kept)}" if kept else path


def see_other(visit: Visit, path: str, **query: object) -> Answer[str]:
    """Lead a browser to a page after a form: to load that page again repeats nothing."""
    return Answer(303, HTML, "", headers={"location": f"{visit.request.prefix}{address(path, query)}"})


def known_fields(sent: Mapping[str, str], names: Iterable[str]) -> dict[str, str]:
    """Return the fields of a query or a form, stripped; one that is not known is refused.

    A filter that is misspelt would show everything.
    """
    known = (*names, TOKEN_FIELD)
    wrong = tuple(WrongField(where=name, what="this field is not known") for name in sent if name not in known)
    if wrong:
        raise ProblemError(422, "REQUEST_INVALID", "The page has no such field.", errors=wrong)
    return {name: sent.get(name, "").strip() for name in known if name != TOKEN_FIELD}


def checked_id(text: str) -> str:
    """Return an id of a path; what is none is no page."""
    if not _ID.match(text):
        raise NOT_FOUND
    return text


def backup_of(visit: Visit, backup_id: str, permission: Permission) -> Backup:
    """Return a backup of a path."""
    return visit.backup(checked_id(backup_id), permission)


def restore_of(visit: Visit, restore_id: str, permission: Permission) -> Restore:
    """Return a restore of a path."""
    return visit.restore(checked_id(restore_id), permission)


@cache
def environment() -> Environment:
    """Return the templates. What is not trusted is escaped, and invisible characters are written out."""
    # Here, for a function's start that answers the API does not need it.
    from jinja2 import Environment, FileSystemLoader, StrictUndefined
    from markupsafe import Markup

    made = Environment(
        loader=FileSystemLoader(_TEMPLATES),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        auto_reload=False,
        finalize=lambda value: visible(value) if isinstance(value, str) and not hasattr(value, "__html__") else value,
    )
    made.filters |= {
        "iso": lambda at: f"{at.astimezone(UTC):%Y-%m-%dT%H:%M:%SZ}",
        "utc": lambda at: f"{at.astimezone(UTC):%Y-%m-%d %H:%M} UTC",
        "seconds_since": _seconds_since,
        "address": address,
        "lines": lambda text: Markup("\n").join(visible(line) for line in text.split("\n")),
    }
    made.globals["file"] = lambda name: f"/assets/{files()[name].name}"
    return made


def _seconds_since(at: datetime, now: datetime) -> float:
    return max(0.0, (now - at).total_seconds())
