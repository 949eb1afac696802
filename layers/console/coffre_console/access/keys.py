"""Requests with a key of the API: one answer, in one way and time, whatever is wrong with the key."""

from __future__ import annotations

import hmac
from collections.abc import Callable
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Final

from coffre.catalog.api_keys import ApiKeys
from coffre.model.api_key import read_key
from coffre.model.configuration import Configuration
from coffre.model.errors import IntegrityError
from coffre_console.access import grants
from coffre_console.access.caller import Caller
from coffre_console.access.identify import NOT_SIGNED_IN, Refused
from coffre_console.access.request import Request

PER_MINUTE: Final = 60
_TOO_MANY: Final = Refused(
    429, f"This key may send {PER_MINUTE} requests a minute.", "TOO_MANY_REQUESTS", headers={"retry-after": "60"}
)
_NO_HASH: Final = "-" * 64


@dataclass(frozen=True, slots=True)
class KeyDoor:
    """Finds whose key a request has."""

    keys: ApiKeys
    configuration: Callable[[], Configuration]

    def caller(self, request: Request, now: datetime) -> Caller | Refused | None:
        """Return which key a request brings; None: it brings none."""
        text = bearer_of(request)
        if text is None or not text.startswith("coffre_"):
            return None
        key_id, sha256 = read_key(text) or ("0" * 16, _NO_HASH)
        try:
            key = self.keys.find(key_id)
        except IntegrityError as error:
            return replace(NOT_SIGNED_IN, why=error.message, name=f"key {key_id}")
        if key is None:
            hmac.compare_digest(_NO_HASH, sha256)
            return replace(NOT_SIGNED_IN, why="a key that does not exist")
        if not key.is_opened_by(sha256, now):
            state = key.state(now)
            why = f"the key {key.id} is {state}" if state != "valid" else f"a wrong secret for the key {key.id}"
            return replace(NOT_SIGNED_IN, why=why, name=f"key {key.id}")
        if not self.keys.use(key.id, now, per_minute=PER_MINUTE):
            return replace(_TOO_MANY, name=f"key {key.id}")
        return Caller(
            kind="key",
            name=f"key {key.id} ({key.label})",
            shown=key.label,
            grants=grants.of_scopes(self.configuration(), key.scopes),
            key=key.id,
        )


def bearer_of(request: Request) -> str | None:
    """Return what a request has as `Authorization: Bearer`; None: nothing."""
    scheme, _, text = request.headers.get("authorization", "").partition(" ")
    return text.strip() if scheme.lower() == "bearer" else None
