"""What a page is asked: its route, the records of its path, and its fields, which are refused where they are wrong."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from datetime import UTC, datetime
from enum import StrEnum
from functools import partial
from typing import Any, Final

from coffre.model.errors import BackupStateError
from coffre.runtime.events.approval import LONGEST_REASON
from coffre_console.access.csrf import TOKEN_FIELD
from coffre_console.access.permissions import Permission, needed_for
from coffre_console.fields import ULID_PATTERN, within_calendar
from coffre_console.pages.show import Html, show
from coffre_console.problems import NOT_FOUND, ProblemError, WrongField
from coffre_console.routing import Routes, Visit

type Page = Callable[..., Html]
"""A page gets the visit, then what its path names: the backup, the restore, or the text of another part.

The caller may do to that backup or restore what the table of permissions has for the route.
"""
_ID: Final = re.compile(ULID_PATTERN)


def register(routes: Routes, pages: Mapping[str, Page]) -> None:
    """Register pages by their routes: `GET /backups/<backup_id>`."""
    for route, page in pages.items():
        method, path = route.split(" ")
        routes.add(method, path, partial(_answer, page, needed_for(method, path)))


def _answer(page: Page, needed: Permission | None, visit: Visit, parts: Mapping[str, str]) -> dict[str, Any]:
    try:
        found = [_of_path(visit, name, text, needed) for name, text in parts.items()]
    except BackupStateError:
        if visit.request.query.get("done") != "start":
            raise
        return show(visit, "starting", command=f"coffre show {next(iter(parts.values()))}").as_event()
    return page(visit, *found).as_event()


def _of_path(visit: Visit, name: str, text: str, needed: Permission | None) -> object:
    if name.removesuffix("_id") in ("backup", "restore", "drill", "point") and not _ID.match(text):
        raise NOT_FOUND
    if needed is not None and name == "backup_id":
        return visit.backup(text, needed)
    return visit.restore(text, needed) if needed is not None and name == "restore_id" else text


def sent_of(visit: Visit, *names: str) -> dict[str, str]:
    """Return the fields of the query, or of the form, stripped; one that is not known is refused.

    A filter that is misspelt would show everything.
    """
    request = visit.request
    sent = request.form if request.method == "POST" else request.query
    wrong_ones = [name for name in sent if name not in (*names, TOKEN_FIELD)]
    if wrong_ones:
        raise wrong(wrong_ones[0], "this field is not known")
    return {name: sent.get(name, "").strip() for name in names}


def one_of[E: StrEnum](values: type[E], where: str, text: str) -> E | None:
    """Return one of the values; None for an empty field."""
    if text and text not in values:
        raise wrong(where, f"expected one of {', '.join(values)}")
    return values(text) if text else None


def time_of(where: str, text: str) -> datetime | None:
    """Return a time, or the begin of a day, UTC; None for an empty field."""
    try:
        found = within_calendar(datetime.fromisoformat(text)) if text else None
    except ValueError:
        raise wrong(where, "expected a day or time (UTC) from 1900 to 9000, as 2026-11-17 14:29") from None
    return found.replace(tzinfo=found.tzinfo or UTC) if found else None


def id_of(where: str, text: str) -> str | None:
    """Return an id, or the place in a list; None for an empty field."""
    if text and not _ID.fullmatch(text):
        raise wrong(where, "expected an id")
    return text or None


def reason_of(sent: Mapping[str, str]) -> str:
    """Return the field `reason`, which is needed."""
    if not (0 < len(sent["reason"]) <= LONGEST_REASON and sent["reason"].isprintable()):
        raise wrong("reason", f"expected 1 to {LONGEST_REASON} printable characters")
    return sent["reason"]


def wrong(where: str, what: str) -> ProblemError:
    """Return the error about one field."""
    hint = "Nothing was changed. Go back, and choose it again."
    errors = (WrongField(where=where, what=what),)
    return ProblemError(422, "REQUEST_INVALID", "A field of the page is wrong.", hint, errors=errors)
