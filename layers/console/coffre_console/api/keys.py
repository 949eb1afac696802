"""Keys of the API: made, rotated and revoked by people; each is shown once."""

from __future__ import annotations

import hashlib
from datetime import datetime, timedelta
from typing import Annotated

from aws_lambda_powertools.event_handler.openapi.params import Path
from pydantic import Field, field_validator

from coffre.model.api_key import LONGEST_LIFE, MOST_SCOPES, ApiKey, checked_scopes, new_key, read_key, renewed
from coffre_console.api.answers import Body, Shown
from coffre_console.problems import ProblemError
from coffre_console.routing import Routes, Visit

_TAG = "keys"
_KEYS = "/api/v1/keys"
_DAYS = LONGEST_LIFE.days
KeyId = Annotated[str, Path(pattern=r"^[0-9a-f]{16}$", description="The id of a key.")]


class KeyWanted(Body):
    """A key to be made: for what, and for how long. Scopes are written `backup:run`, or `backup:run:shop`."""

    label: str = Field(min_length=1, max_length=100, pattern=r"^[^\x00-\x1f\x7f-\x9f]+$")
    scopes: tuple[str, ...] = Field(min_length=1, max_length=MOST_SCOPES)
    days: int = Field(default=90, ge=1, le=_DAYS)

    @field_validator("scopes")
    @classmethod
    def _are_known(cls, scopes: tuple[str, ...]) -> tuple[str, ...]:
        return checked_scopes(scopes)


class Rotation(Body):
    """For how long the key's new secret is valid."""

    days: int = Field(default=90, ge=1, le=_DAYS)


class KeyShown(Shown):
    """A key, without anything that opens it."""

    id: str
    label: str
    scopes: tuple[str, ...]
    state: str
    made_by: str
    made_at: datetime
    expires_at: datetime
    rotated_at: datetime | None = None
    last_used_at: datetime | None = None
    revoked_at: datetime | None = None
    revoked_by: str | None = None


class KeyList(Shown):
    """All keys, whatever their state."""

    keys: tuple[KeyShown, ...]


class NewSecret(Shown):
    """A key with what opens it, which is shown this once. After a rotation the one before works for 24 h more."""

    key: KeyShown
    secret: str


def register(routes: Routes) -> None:
    """Register the routes."""

    @routes.add("GET", _KEYS, summary="List keys", tag=_TAG)
    def list_them() -> KeyList:
        visit = routes.visit
        return KeyList(keys=tuple(_shown(key, visit.now) for key in visit.source.catalog.api_keys.all()))

    @routes.add("POST", _KEYS, summary="Make a key; its secret is shown once", tag=_TAG)
    def create(body: KeyWanted) -> NewSecret:
        visit = routes.visit
        secret, key_id = new_key()
        key = ApiKey(
            id=key_id,
            label=body.label,
            scopes=body.scopes,
            made_by=visit.actor.name,
            made_at=visit.now,
            expires_at=visit.now + timedelta(days=body.days),
            sha256=_hash(secret),
        )
        _record(visit, "key.made", key, f"{body.label}: {', '.join(body.scopes)}")
        if not visit.source.catalog.api_keys.create(key):
            raise _changed(key_id)
        return NewSecret(key=_shown(key, visit.now), secret=secret)

    @routes.add("POST", f"{_KEYS}/<key_id>/rotate", summary="Give a key another secret", tag=_TAG)
    def rotate(key_id: KeyId, body: Rotation) -> NewSecret:
        visit = routes.visit
        seen, secret = _find(visit, key_id), renewed(key_id)
        if seen.state(visit.now) == "revoked":
            raise _changed(key_id)
        _record(visit, "key.rotated", seen)
        until = visit.now + timedelta(days=body.days)
        changed = visit.source.catalog.api_keys.rotate(seen, _hash(secret), visit.now, until)
        if changed is None:
            raise _changed(key_id)
        return NewSecret(key=_shown(changed, visit.now), secret=secret)

    @routes.add("DELETE", f"{_KEYS}/<key_id>", summary="Revoke a key", tag=_TAG)
    def revoke(key_id: KeyId) -> KeyShown:
        visit = routes.visit
        seen = _find(visit, key_id)
        if seen.revoked_at is not None:
            return _shown(seen, visit.now)
        _record(visit, "key.revoked", seen)
        changed = visit.source.catalog.api_keys.revoke(seen, visit.actor.name, visit.now)
        if changed is None:
            raise _changed(key_id)
        return _shown(changed, visit.now)


def _find(visit: Visit, key_id: str) -> ApiKey:
    found = visit.source.catalog.api_keys.find(key_id)
    if found is None:
        raise ProblemError(404, "KEY_UNKNOWN", "No key has this id.", f"GET {_KEYS} lists them.")
    return found


def _changed(key_id: str) -> ProblemError:
    return ProblemError(409, "KEY_CHANGED", f"The key {key_id} was changed or revoked.", f"Look at GET {_KEYS}.")


def _record(visit: Visit, action: str, key: ApiKey, detail: str | None = None) -> None:
    visit.source.catalog.audit.record(visit.now, visit.actor, action, None, key.id, detail)


def _hash(secret: str) -> str:
    found = read_key(secret)
    return found[1] if found is not None else hashlib.sha256(secret.encode()).hexdigest()


def _shown(key: ApiKey, now: datetime) -> KeyShown:
    fields = {name: getattr(key, name) for name in KeyShown.model_fields if name != "state"}
    return KeyShown(**fields, state=key.state(now))
