"""Errors as problem documents (RFC 9457): what happened, where, and what to do."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any, Final

from pydantic import BaseModel, ValidationError

from coffre.model.document import FrozenModel
from coffre.model.errors import (
    ApiKeyError,
    BackupStateError,
    CatalogError,
    CoffreError,
    ConfirmationError,
    CopyUnknownError,
    EventError,
    ObjectMissingError,
    TargetUnknownError,
    TransientError,
)
from coffre_console.access.identify import Refused

CONTENT_TYPE: Final = "application/problem+json"
_UNKNOWN: Final = ("BACKUP_UNKNOWN", "RESTORE_UNKNOWN", "RUN_UNKNOWN", "API_KEY_UNKNOWN", "NOT_FOUND", "PLAN_UNKNOWN")
_FORBIDDEN: Final = ("APPROVAL_REFUSED", "ACTOR_UNVERIFIED")


class WrongField(FrozenModel):
    """One field of a request: where it is (`body.target`), and what is wrong with it."""

    where: str
    what: str


class Problem(FrozenModel):
    """An error: `title` says what happened, `detail` the other side's words, `hint` what to do. `code` is stable."""

    type: str
    title: str
    status: int
    code: str
    detail: str | None = None
    hint: str | None = None
    errors: tuple[WrongField, ...] = ()


@dataclass(frozen=True)
class ProblemError(Exception):
    """Ends a request with a problem document."""

    status: int
    code: str
    title: str
    hint: str | None = None
    detail: str | None = None
    errors: tuple[WrongField, ...] = ()
    headers: Mapping[str, str] = field(default_factory=dict)

    @property
    def document(self) -> Problem:
        """The document."""
        return Problem(
            type=f"urn:coffre:error:{self.code}",
            title=self.title,
            status=self.status,
            code=self.code,
            detail=self.detail,
            hint=self.hint,
            errors=self.errors,
        )

    @property
    def body(self) -> str:
        """The document as JSON."""
        return json.dumps(self.document.model_dump(mode="json", exclude_none=True, exclude_defaults=True))


def of_refused(refused: Refused) -> ProblemError:
    """Return the answer to a request that was refused before it reached its route."""
    hint = "GET /login begins a session; docs/api.md shows keys." if refused.status == 401 else None
    return ProblemError(refused.status, refused.code, refused.message, hint, headers=refused.headers)


def of_error(error: CoffreError) -> ProblemError:
    """Return the answer for an error of Coffre's; the catalog's own words stay in the log."""
    status = _status(error)
    detail = None if isinstance(error, CatalogError) else error.detail
    headers = {"retry-after": "30"} if status == 503 else {}
    return ProblemError(status, error.code, error.message, error.hint, detail, headers=headers)


def of_wrong_fields(errors: Iterable[Mapping[str, Any]]) -> ProblemError:
    """Return the answer for fields that are wrong. What was sent is not repeated."""
    found = tuple(
        WrongField(where=".".join(str(part) for part in one["loc"]) or "body", what=_words(one)) for one in errors
    )
    return ProblemError(
        422,
        "REQUEST_INVALID",
        "The request has wrong fields.",
        "docs/api.md and /api/v1/openapi.json say which fields exist. Nothing was changed.",
        errors=found,
    )


def checked[M: BaseModel](model: type[M], fields: Mapping[str, Any]) -> M:
    """Return what a form's fields say; raises ProblemError, naming each that is wrong."""
    try:
        return model.model_validate(fields)
    except ValidationError as error:
        raise of_wrong_fields(error.errors()) from None


def _words(one: Mapping[str, Any]) -> str:
    return "this field is not known" if one["type"] == "extra_forbidden" else str(one["msg"])[:300]


def _status(error: CoffreError) -> int:
    if error.code in _UNKNOWN or isinstance(error, TargetUnknownError | CopyUnknownError | ObjectMissingError):
        return 404
    if error.code in _FORBIDDEN:
        return 403
    if isinstance(error, ConfirmationError | BackupStateError | ApiKeyError):
        return 409
    if isinstance(error, EventError):
        return 422
    return 503 if isinstance(error, TransientError) else 500


NOT_FOUND: Final = ProblemError(404, "NOT_FOUND", "No such page.", "docs/api.md lists the routes.")
DEFECT: Final = ProblemError(
    500, "UNEXPECTED", "The console failed.", "Its log has the traceback under the request id. Please report it."
)
