"""The newest backup in a vault directory: what a benchmark's job imports without all that the other job needs."""

from __future__ import annotations

import hashlib
from pathlib import Path

from coffre.model.backup import Backup, Status
from coffre.model.manifest import Manifest


def newest(directory: Path) -> Backup | None:
    """Return the newest backup in a vault directory, as the catalog would know it."""
    manifests = sorted(directory.glob("v1/backups/bench/*/manifest.json"))
    if not manifests:
        return None
    body = manifests[-1].read_bytes()
    manifest = Manifest.model_validate_json(body)
    return Backup(
        id=manifest.backup_id,
        target="bench",
        tiers=manifest.tiers,
        status=Status.COMPLETED,
        created_at=manifest.created_at,
        manifest_key=str(manifests[-1].relative_to(directory)),
        manifest_sha256=hashlib.sha256(body).hexdigest(),
    )
