"""A copy of a scene's vault in another directory, as the copier leaves it; no database is needed."""

from __future__ import annotations

import os
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from tests.locking_store import LockingDirectory
from tests.unit.operations.conftest import Scene
from ulid import ULID

from coffre.model.backup import Backup
from coffre.model.configuration import Configuration
from coffre.model.copies import Copy, CopyStatus, Destination
from coffre.model.locks import LockMode
from coffre.model.rotation import RotationReport
from coffre.operations.rotate.rotate import RotateJob
from coffre.operations.rotate.rotate_copy import rotate_copy
from coffre.vault.locks import VaultLocks
from coffre.vault.vault import Vault


@dataclass
class CopyScene:
    """The destination `off` of a deployment."""

    scene: Scene
    root: Path
    store: LockingDirectory
    retention: dict[str, Any] | None = None
    locked: bool = False
    more: dict[str, Any] = field(default_factory=dict)

    @classmethod
    def of(cls, scene: Scene, root: Path) -> CopyScene:
        """Make an empty copy in this new directory."""
        root.mkdir()
        return cls(scene, root, LockingDirectory(root, now=lambda: scene.now))

    @property
    def vault(self) -> Vault:
        return Vault(self.store, VaultLocks(self.store, LockMode.GOVERNANCE, 400) if self.locked else None)

    @property
    def destination(self) -> Destination:
        fields = {"name": "off", "store": {"type": "directory", "path": str(self.root)}, "retention": self.retention}
        return Destination.model_validate(fields | self.more)

    def copy(self, *backups: Backup, age_days: float = 2, **fields: Any) -> None:
        """Copy what these backups need, so long ago; each is verified in the copy unless the fields say otherwise."""
        then = self.scene.now.timestamp() - age_days * 86_400
        for backup in backups:
            manifest = self.scene.vault.find_manifest(backup.target, backup.id)
            assert manifest is not None
            keys = [pack.key for pack in manifest[0].packs]
            keys += [info.key for info in self.scene.store.list(f"v1/backups/{backup.target}/{backup.id}/")]
            for key in keys:
                path = self.root / key
                path.parent.mkdir(parents=True, exist_ok=True)
                path.write_bytes((self.scene.root / key).read_bytes())
                os.utime(path, (then, then))
            self.record(backup, **fields)

    def record(self, backup: Backup, status: CopyStatus = CopyStatus.COMPLETED, **fields: Any) -> None:
        """Leave the record of a copy."""
        known = {
            "started_at": self.scene.now,
            "completed_at": self.scene.now,
            "manifest_sha256": backup.manifest_sha256,
            "verified_at": self.scene.now,
            "level": "inventory",
        }
        names = {"destination": "off", "backup_id": backup.id, "target": backup.target, "status": status}
        self.scene.catalog.copies.keep(Copy.model_validate(names | known | fields))

    def status(self, backup: Backup) -> CopyStatus | None:
        found = self.scene.catalog.copies.find("off", backup.id)
        return found.status if found else None

    def objects(self, prefix: str = "") -> set[str]:
        return {info.key for info in self.store.list(prefix)}

    def objects_of(self, backup: Backup) -> set[str]:
        """Every object in the copy that a backup wrote."""
        return {key for key in self.objects() if f"/{backup.id}/" in key}

    def is_whole(self, backup: Backup) -> bool:
        """Whether the copy has all that a backup needs."""
        found = self.vault.find_manifest(backup.target, backup.id)
        return found is not None and {pack.key for pack in found[0].packs} <= self.objects("v1/packs/")

    @property
    def configuration(self) -> Configuration:
        scene = self.scene
        targets = [{"name": name, "secret": "s", "retention": scene.retention} for name in scene.targets]
        copies = [self.destination.model_dump(mode="json")]
        return Configuration.model_validate({"encryption": "none", "targets": targets, "copies": copies})

    def rotate(self, **options: Any) -> RotationReport:
        scene = self.scene
        job = RotateJob(
            id=str(ULID()),
            catalog=scene.catalog,
            vault=self.vault,
            configuration=self.configuration,
            scratch=scene.scratch,
            now=lambda: scene.now,
            remaining_seconds=scene.remaining_seconds,
            report_died=scene.died.append,
        )
        return rotate_copy(job, self.destination, scene.vault, **options)
