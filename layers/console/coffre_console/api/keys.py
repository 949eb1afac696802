"""Keys of the API: made, rotated and revoked by people; each is shown once."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime, timedelta
from typing import Annotated

from aws_lambda_powertools.event_handler.openapi.params import Path
from pydantic import Field, field_validator

from coffre.model.api_key import LONGEST_LIFE, MOST_SCOPES, ApiKey, checked_scopes, hash_of, new_key, renewed
from coffre.model.errors import IntegrityError
from coffre.operations.admin.api_keys import KeyAdmin, SecretOfKey
from coffre_console.access.permissions import Permission
from coffre_console.api.answers import Body, Listed, Shown
from coffre_console.api.routes import ApiRoutes
from coffre_console.reading.damaged import unread_of
from coffre_console.routing import Visit

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


class KeyList(Listed):
    """All keys, whatever their state."""

    keys: tuple[KeyShown, ...]


class NewSecret(Shown):
    """A key with what opens it, which is shown this once. After a rotation the one before works for 24 h more."""

    key: KeyShown
    secret: str


def register(routes: ApiRoutes) -> None:
    """Register the routes."""

    @routes.add("GET", _KEYS, summary="List keys", tag=_TAG)
    def list_them() -> KeyList:
        visit = routes.visit
        found, unread = all_keys(visit)
        return KeyList(keys=tuple(_shown(key, visit.now) for key in found), unread=unread)

    @routes.add("POST", _KEYS, summary="Make a key; its secret is shown once", tag=_TAG)
    def create(body: KeyWanted) -> NewSecret:
        return create_key(routes.visit, body)

    @routes.add("POST", f"{_KEYS}/<key_id>/rotate", summary="Give a key another secret", tag=_TAG)
    def rotate(key_id: KeyId, body: Rotation) -> NewSecret:
        return rotate_key(routes.visit, key_id, body)

    @routes.add("DELETE", f"{_KEYS}/<key_id>", summary="Revoke a key", tag=_TAG)
    def revoke(key_id: KeyId) -> KeyShown:
        return revoke_key(routes.visit, key_id)


def all_keys(visit: Visit) -> tuple[Sequence[ApiKey], tuple[str, ...]]:
    """Return every key, and which records cannot be read."""
    damaged: list[IntegrityError] = []
    return list(visit.source.catalog.api_keys.all(damaged)), unread_of(damaged, visit.may(Permission.KEYS))


def create_key(visit: Visit, wanted: KeyWanted) -> NewSecret:
    """Make a key."""
    text, key_id = new_key()
    secret = _secret(text, wanted.days)
    key = _admin(visit).create(key_id, wanted.label, wanted.scopes, secret, visit.source.configuration())
    return NewSecret(key=_shown(key, visit.now), secret=text)


def rotate_key(visit: Visit, key_id: str, wanted: Rotation) -> NewSecret:
    """Give a key another secret."""
    text = renewed(key_id)
    key = _admin(visit).rotate(key_id, _secret(text, wanted.days))
    return NewSecret(key=_shown(key, visit.now), secret=text)


def revoke_key(visit: Visit, key_id: str) -> KeyShown:
    """End a key."""
    return _shown(_admin(visit).revoke(key_id), visit.now)


def _admin(visit: Visit) -> KeyAdmin:
    return KeyAdmin(visit.source.catalog, visit.actor, visit.now)


def _secret(text: str, days: int) -> SecretOfKey:
    return SecretOfKey(hash_of(text), timedelta(days=days))


def _shown(key: ApiKey, now: datetime) -> KeyShown:
    fields = {name: getattr(key, name) for name in KeyShown.model_fields if name != "state"}
    return KeyShown(**fields, state=key.state(now))
