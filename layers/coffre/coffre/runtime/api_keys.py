"""Keys of the API in the function `rotate`: the answer to a person. No policy for people writes them."""

from __future__ import annotations

from typing import Any

from coffre.model.api_key import ApiKey
from coffre.model.backup import Failure
from coffre.model.errors import CoffreError
from coffre.model.times import parse_span
from coffre.operations.admin.api_keys import KeyAdmin, SecretOfKey
from coffre.runtime.bootstrap import Services
from coffre.runtime.events.rotate import ApiKeyEvent
from coffre.runtime.function import utc_now
from coffre.runtime.observability import log_failure


def answer_api_key(services: Services, event: ApiKeyEvent) -> dict[str, Any]:
    """Make, rotate or revoke a key. A refusal is an answer: it stops nothing that others rely on."""
    key_id = event.api_key.id
    try:
        key = _changed(services, event)
    except CoffreError as error:
        log_failure(services.edge.logger, error, key=key_id)
        return {"failure": Failure.of(error).model_dump(mode="json")}
    services.edge.logger.info("key of the API changed", extra={"key": key_id, "act": event.api_key.act})
    return {"key": shown(key)}


def shown(key: ApiKey) -> dict[str, Any]:
    """Return what people and machines may see of a key: nothing of its secrets."""
    return key.model_dump(mode="json", exclude={"sha256", "previous_sha256"})


def _changed(services: Services, event: ApiKeyEvent) -> ApiKey:
    wanted = event.api_key
    admin = KeyAdmin(services.catalog, services.actor(event), utc_now())
    if wanted.sha256 is None or wanted.expires_in is None:
        return admin.revoke(wanted.id)
    secret = SecretOfKey(wanted.sha256, parse_span(wanted.expires_in))
    if wanted.label is None:
        return admin.rotate(wanted.id, secret)
    return admin.create(wanted.id, wanted.label, wanted.scopes, secret, services.configuration())
