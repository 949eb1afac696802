"""Copies of the configuration document in the vault, for a stack that is set up again when the old one is lost.

They are written once each, and no function reads them: the catalog alone decides what is in effect.
"""

from __future__ import annotations

from pydantic import ValidationError

from coffre.model.configuration_version import ConfigurationVersion, sha256_of
from coffre.model.document import describe_validation
from coffre.model.errors import IntegrityError, StoreError
from coffre.stores.body import sha256_of as sha256_of_bytes
from coffre.stores.store import Store
from coffre.vault.layout import CONFIGURATIONS, configuration_key, is_configuration

_LIMIT_BYTES = 4 * 1024 * 1024


def keep_copy(store: Store, version: ConfigurationVersion) -> bool:
    """Store a copy of a version, unless the vault has it; return whether it was stored now."""
    key = configuration_key(version.at, version.sha256)
    if any(info.key == key for info in store.list(key)):
        return False
    body = version.model_dump_json(indent=1).encode()
    try:
        store.put(key, body, sha256=sha256_of_bytes(body), if_absent=True)
    except StoreError as error:
        if error.code != "OBJECT_EXISTS":
            raise
    return True


def newest_copy(store: Store) -> ConfigurationVersion | None:
    """Return the copy of what was in effect last, or None.

    Raises
    ------
    IntegrityError
        `COPY_DAMAGED`
    """
    keys = sorted(info.key for info in store.list(CONFIGURATIONS) if is_configuration(info.key))
    return _read(store, keys[-1]) if keys else None


def _read(store: Store, key: str) -> ConfigurationVersion:
    try:
        version = ConfigurationVersion.model_validate_json(store.get(key, limit_bytes=_LIMIT_BYTES))
    except ValidationError as error:
        raise _damaged(key, "; ".join(describe_validation(error))) from error
    if sha256_of(version.document) != version.sha256 or configuration_key(version.at, version.sha256) != key:
        raise _damaged(key, "Its document is not the one of its SHA-256, or it was renamed.")
    return version


def _damaged(key: str, detail: str) -> IntegrityError:
    return IntegrityError(
        f"The copy of the configuration {key} is not as it was written.",
        code="COPY_DAMAGED",
        detail=detail,
        hint="Look at the object's older versions, or take the document from the copy before it.",
    )
