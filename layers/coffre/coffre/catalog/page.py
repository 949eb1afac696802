"""One page of a listing, and the cursor that leads to the next one."""

from __future__ import annotations

import base64
import binascii
import json
from dataclasses import dataclass

from coffre.model.backup import Backup, Status
from coffre.model.errors import PermanentError


@dataclass(frozen=True, slots=True)
class Page:
    """Backups, newest first. `cursor` is what to ask the next page with, or None at the end."""

    items: tuple[Backup, ...]
    cursor: str | None


@dataclass(frozen=True, slots=True)
class Cursor:
    """Where a page ended, and of which listing: a cursor of one does not fit another."""

    after: str
    target: str | None
    status: Status | None

    def encode(self) -> str:
        """Return an opaque text that needs no quoting in a URL."""
        body = json.dumps([self.after, self.target, self.status], separators=(",", ":"))
        return base64.urlsafe_b64encode(body.encode()).decode().rstrip("=")

    @classmethod
    def decode(cls, text: str, *, target: str | None, status: Status | None) -> Cursor:
        """Return the cursor of a text that `encode` made for the same listing.

        Raises
        ------
        PermanentError
            `CURSOR_INVALID`
        """
        try:
            body = json.loads(base64.b64decode(text + "=" * (-len(text) % 4), altchars=b"-_", validate=True))
        except (binascii.Error, ValueError, RecursionError) as error:
            raise _invalid("The cursor is not one that a page gave.") from error
        match body:
            case [str(after), (str() | None) as its_target, (str() | None) as its_status] if after:
                if (its_target, its_status) == (target, status):
                    return cls(after, target, status)
                raise _invalid("The cursor was given by a listing with another target or status.")
            case _:
                raise _invalid("The cursor is not one that a page gave.")


def _invalid(message: str) -> PermanentError:
    return PermanentError(message, code="CURSOR_INVALID", hint="Begin again with the first page, without a cursor.")
