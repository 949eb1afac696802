"""Backups in a vault with Object Lock, taken by the functions that runs use; no database is needed."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass, field
from datetime import timedelta
from typing import Any

from tests.locking_store import LockingDirectory
from tests.unit.operations.conftest import CONTENT, Scene

from coffre.model.audit import Actor
from coffre.model.backup import Backup, Tier
from coffre.model.database_target import DatabaseTarget
from coffre.model.kinds import TargetKind
from coffre.model.locks import LockMode
from coffre.model.manifest import EntriesFile, Manifest, PackReference
from coffre.model.retention import Retention
from coffre.model.rotation import Action, RotationReport
from coffre.operations.rotate.hold import HoldJob
from coffre.operations.runs.heartbeat import Watch
from coffre.operations.runs.locked_backup import locking_vault, secure
from coffre.operations.runs.progress import Meter
from coffre.operations.runs.run import Run
from coffre.operations.stored_backup.catalog_record import completed
from coffre.stores.store import put_small
from coffre.vault.codec import FrameEncoder
from coffre.vault.history import usable_packs
from coffre.vault.layout import entries_key
from coffre.vault.locks import VaultLocks


@dataclass
class LockedScene:
    """One deployment with Object Lock, at `scene.now`."""

    scene: Scene
    store: LockingDirectory
    max_days: int = 400
    mode: LockMode = LockMode.GOVERNANCE
    backups: list[Backup] = field(default_factory=list)

    @classmethod
    def of(cls, scene: Scene) -> LockedScene:
        """Turn Object Lock on in an empty deployment."""
        store = LockingDirectory(scene.root, now=lambda: scene.now)
        scene.store = store
        locked = cls(scene, store)
        locked.turn_on(LockMode.GOVERNANCE)
        return locked

    def turn_on(self, mode: LockMode) -> None:
        self.scene.locks = VaultLocks(self.store, mode, self.max_days)

    @property
    def target(self) -> DatabaseTarget:
        return DatabaseTarget(name="shop", secret="s", retention=Retention.model_validate(self.scene.retention))

    def later(self, **span: float) -> None:
        self.scene.now += timedelta(**span)

    def begin(self, *tiers: Tier, **fields: Any) -> Backup:
        return self.scene.begin(0, *tiers, **fields)

    def finish(self, backup: Backup, previous: Backup | None = None, *, own: int = 1) -> Backup:
        """Store what a run stores, and publish: its own packs, and those of the previous backup that it may reuse."""
        scene = self.scene
        vault = locking_vault(scene.vault, self.target, backup, scene.now)
        stored: list[PackReference] = []
        for part in range(1, own + 1):
            with vault.pack_writer(backup.id, part, FrameEncoder(())) as packs:
                body = f"{backup.id} {part}".encode()
                packs.append(body, hashlib.sha256(body).hexdigest())
            stored += packs.packs
        found = scene.vault.find_manifest(previous.target, previous.id) if previous else None
        reused = usable_packs(vault, found[0])[0].values() if found else ()
        key = entries_key(backup.target, backup.id)
        sha256 = put_small(vault.store_of_new, key, b"entries")
        entries = (EntriesFile(key=key, sha256=sha256, length=7, count=0),)
        run = self.run_of(backup)
        secured = secure(vault, self.target, run, entries, (*stored, *reused), scene.now)
        manifest = Manifest(
            backup_id=backup.id,
            target=backup.target,
            kind=TargetKind.DATABASE,
            tiers=secured.tiers,
            created_at=backup.created_at,
            completed_at=scene.now,
            encryption="none",
            entries=entries,
            packs=tuple(sorted(secured.packs, key=lambda pack: pack.key)),
            plaintext_bytes=1000,
            stored_bytes=100,
            rows=0,
            content=CONTENT,
            expires_at=backup.expires_at,
            locked_until=secured.locked_until,
        )
        committed = vault.commit(manifest, run.announce)
        done = scene.catalog.complete_backup(completed(backup, manifest, committed))
        self.backups.append(done)
        return done

    def take(self, *tiers: Tier, previous: Backup | None = None, own: int = 1, **fields: Any) -> Backup:
        """Take a backup that verification finds good."""
        done = self.finish(self.begin(*tiers, **fields), previous, own=own)
        return self.scene.catalog.keeping.mark_verified(done.id, self.scene.now)

    def run_of(self, backup: Backup) -> Run:
        catalog, meter = self.scene.catalog, Meter()
        watch = Watch(meter, beat=lambda _: None, remaining_seconds=lambda: 900.0, stop=lambda: None)
        return Run(
            backup,
            meter,
            watch,
            ready_to_commit=lambda: catalog.get_backup(backup.id).tiers,
            announce=lambda made: catalog.announce_manifest(backup.id, made.key, made.sha256),
        )

    def hold_job(self, remaining_seconds: float = 900.0) -> HoldJob:
        scene = self.scene
        return HoldJob(
            "job", scene.catalog, scene.vault, Actor("ada", verified=True), lambda: scene.now, lambda: remaining_seconds
        )

    def needs(self, backup: Backup) -> list[str]:
        """Return every object that a backup refers to."""
        found = self.scene.vault.find_manifest(backup.target, backup.id)
        assert found is not None, backup.id
        manifest, committed = found
        return [committed.key, *(file.key for file in manifest.entries), *(pack.key for pack in manifest.packs)]

    def record(self, backup: Backup) -> Backup:
        return self.scene.catalog.get_backup(backup.id)

    def deleted(self, report: RotationReport) -> set[str]:
        return {decision.backup_id for decision in report.decisions if decision.action is Action.DELETE}
