"""The bytes of manifests and lists of entries, each checked against the SHA-256 that points at it."""

from __future__ import annotations

import hashlib
from typing import Final

from pydantic import ValidationError

from coffre.model.errors import IntegrityError, ObjectMissingError, StoreError
from coffre.model.manifest import EntriesFile, Manifest
from coffre.stores.store import Store
from coffre.vault.layout import is_pack

MANIFEST_LIMIT_BYTES: Final = 64 * 1024 * 1024


def manifest_at(store: Store, key: str, sha256: str) -> bytes:
    """Return the bytes of a manifest, which must have this SHA-256."""
    try:
        body = store.get(key, limit_bytes=MANIFEST_LIMIT_BYTES)
    except ObjectMissingError as error:
        raise lost("MANIFEST_MISSING", f"The manifest {key} is not in the vault.") from error
    if hashlib.sha256(body).hexdigest() != sha256:
        raise lost("MANIFEST_SWAPPED", f"The manifest {key} is not the one that the catalog recorded.")
    return body


def entries_at(store: Store, file: EntriesFile) -> bytes:
    """Return the bytes of a list of entries, which must be as its manifest recorded it."""
    pack = file.key if is_pack(file.key) else None
    try:
        body = store.get(file.key, limit_bytes=MANIFEST_LIMIT_BYTES)
    except ObjectMissingError as error:
        raise lost("ENTRIES_MISSING", f"The list of entries {file.key} is not in the vault.", pack) from error
    if hashlib.sha256(body).hexdigest() != file.sha256:
        text = f"The list of entries {file.key} is not the one that the manifest recorded."
        raise lost("ENTRIES_SWAPPED", text, pack)
    return body


def manifest_body(manifest: Manifest) -> bytes:
    """Return the bytes of a manifest; raises `MANIFEST_TOO_LARGE` when no reader would take it."""
    body = manifest.model_dump_json(indent=1).encode()
    if len(body) <= MANIFEST_LIMIT_BYTES:
        return body
    raise StoreError(
        f"The manifest of the backup {manifest.backup_id} has {len(body):,} bytes, more than the "
        f"{MANIFEST_LIMIT_BYTES:,} that a manifest may have; nothing was published.",
        code="MANIFEST_TOO_LARGE",
        detail=f"it names {len(manifest.packs):,} packs and {len(manifest.entries):,} lists of entries",
        hint=f'Older backups are untouched. Divide "{manifest.target}" into several targets, each of fewer tables or '
        "objects: docs/large-databases.md#limits.",
    )


def parse_manifest(body: bytes, key: str) -> Manifest:
    """Return what the bytes of a manifest say."""
    try:
        return Manifest.model_validate_json(body)
    except ValidationError as error:
        raise lost("MANIFEST_DAMAGED", f"The manifest {key} cannot be read.") from error


def lost(code: str, message: str, pack: str | None = None) -> IntegrityError:
    """Return the error of what the vault cannot give as it was recorded."""
    return IntegrityError(
        message,
        code=code,
        pack=pack,
        hint="This backup cannot be trusted. Restore an older one (`coffre list`) and keep the vault as it is.",
    )
