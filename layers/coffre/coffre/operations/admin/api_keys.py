"""An operator's decisions about keys of the API. Each leaves an audit event, and is not done without."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from datetime import datetime, timedelta

from coffre.catalog.catalog import Catalog
from coffre.model.api_key import LONGEST_LIFE, ApiKey, KeyScope
from coffre.model.audit import Actor
from coffre.model.configuration import Configuration
from coffre.model.errors import ApiKeyError, TargetUnknownError


@dataclass(frozen=True)
class SecretOfKey:
    """What is known of a key's new secret: its SHA-256, and how long it opens."""

    sha256: str
    expires_in: timedelta


@dataclass(frozen=True)
class KeyAdmin:
    """Makes, rotates and ends keys in the name of `actor`, `now`."""

    catalog: Catalog
    actor: Actor
    now: datetime

    def create(
        self, key_id: str, label: str, scopes: Sequence[str], secret: SecretOfKey, configuration: Configuration
    ) -> ApiKey:
        """Make a key.

        Raises
        ------
        ApiKeyError
            `API_KEY_EXISTS`, `API_KEY_LIFETIME`
        TargetUnknownError
            A scope names a target that is not configured.
        """
        for scope in scopes:
            if (target := KeyScope.parse(scope).target) is not None:
                _refuse_unknown(configuration, target)
        key = ApiKey(
            id=key_id,
            label=label,
            scopes=tuple(scopes),
            made_by=self.actor.name,
            made_at=self.now,
            expires_at=self._end(secret),
            sha256=secret.sha256,
        )
        if self.catalog.api_keys.find(key_id) is not None:
            raise _taken(key_id)
        with self._recorded("api_key.created", key, f"{label}: {', '.join(scopes)}"):
            if not self.catalog.api_keys.create(key):
                raise _taken(key_id)
        return key

    def rotate(self, key_id: str, secret: SecretOfKey) -> ApiKey:
        """Give a key another secret; the one before opens it for 24 h more.

        Raises
        ------
        ApiKeyError
            `API_KEY_UNKNOWN`, `API_KEY_REVOKED`, `API_KEY_LIFETIME`, `API_KEY_CHANGED`
        """
        key = self._usable(key_id)
        ends = self._end(secret)
        with self._recorded("api_key.rotated", key, key.label):
            return _as_seen(self.catalog.api_keys.rotate(key, secret.sha256, self.now, ends), key)

    def revoke(self, key_id: str) -> ApiKey:
        """End a key immediately, with both its secrets; raises as `rotate` does."""
        key = self._usable(key_id)
        with self._recorded("api_key.revoked", key, key.label):
            return _as_seen(self.catalog.api_keys.revoke(key, self.actor.name, self.now), key)

    def _usable(self, key_id: str) -> ApiKey:
        key = self.catalog.api_keys.find(key_id)
        if key is None:
            raise ApiKeyError(f"No key of the API has the id {key_id}.", hint="coffre api-keys list shows all of them.")
        if key.revoked_at is not None:
            raise ApiKeyError(
                f"The key {key_id} was revoked by {key.revoked_by}, and stays so.",
                code="API_KEY_REVOKED",
                hint="Make a new one: coffre api-keys create",
            )
        return key

    def _end(self, secret: SecretOfKey) -> datetime:
        if secret.expires_in > LONGEST_LIFE:
            raise ApiKeyError(
                f"A key of the API works for at most {LONGEST_LIFE.days} days.",
                code="API_KEY_LIFETIME",
                hint="Give a shorter time, and rotate the key before it is over: coffre api-keys rotate",
            )
        return self.now + secret.expires_in

    def _recorded(self, action: str, key: ApiKey, detail: str) -> AbstractContextManager[None]:
        return self.catalog.audit.recorded(self.now, self.actor, action, None, key.id, detail)


def _refuse_unknown(configuration: Configuration, target: str) -> None:
    try:
        configuration.named(target)
    except TargetUnknownError as error:
        error.hint = "A scope for a target that does not exist would open nothing. coffre status names the targets."
        raise


def _taken(key_id: str) -> ApiKeyError:
    return ApiKeyError(f"A key with the id {key_id} exists.", code="API_KEY_EXISTS", hint="Make another one.")


def _as_seen(changed: ApiKey | None, key: ApiKey) -> ApiKey:
    if changed is None:
        raise ApiKeyError(
            f"The key {key.id} was changed at the same time by another person. It is as they left it.",
            code="API_KEY_CHANGED",
            hint="coffre api-keys list shows how it is now.",
        )
    return changed
