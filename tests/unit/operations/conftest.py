"""A vault in a directory, a catalog in a played AWS, and backups as they are left behind: no database is needed."""

from __future__ import annotations

import hashlib
import itertools
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from moto import mock_aws
from tests.catalog_table import create
from tests.played_account import empty_table
from ulid import ULID

from coffre.catalog.catalog import Catalog
from coffre.model.backup import Backup, Failure, Status, Tier
from coffre.model.configuration import Configuration
from coffre.model.kinds import TargetKind
from coffre.model.manifest import DatabaseContent, EntriesFile, Manifest, PackReference
from coffre.model.points import ManifestPoint
from coffre.model.rotation import RotationReport
from coffre.operations.rotate.rotate import RotateJob, rotate
from coffre.operations.stored_backup.catalog_record import completed
from coffre.stores.directory import DirectoryStore
from coffre.vault.layout import backup_prefix, manifest_key
from coffre.vault.locks import VaultLocks
from coffre.vault.vault import Committed, Vault

NOW = datetime(2026, 11, 22, 5, 0, tzinfo=UTC)
CONTENT = DatabaseContent(
    database="shop",
    encoding="UTF8",
    server_version="18.0",
    server_version_number=180000,
    client_version="18.0",
    snapshot="1",
    tables=(),
)
BODY = b"x" * 100
SHA256 = hashlib.sha256(BODY).hexdigest()
_numbers = itertools.count(1)


@dataclass
class Scene:
    """One deployment. Every object has a body of 100 bytes."""

    store: DirectoryStore
    root: Path
    catalog: Catalog
    scratch: Path
    now: datetime = NOW
    retention: dict[str, Any] = field(default_factory=dict)
    targets: tuple[str, ...] = ("shop",)
    journal: dict[str, Any] | None = field(default_factory=dict)
    remaining_seconds: Callable[[], float] = lambda: 900.0
    died: list[Backup] = field(default_factory=list)
    locks: VaultLocks | None = None

    @property
    def vault(self) -> Vault:
        return Vault(self.store, self.locks)

    def put(self, key: str, body: bytes = BODY) -> str:
        self.store.put(key, body, sha256=hashlib.sha256(body).hexdigest())
        return key

    def pack(self, backup_id: str) -> PackReference:
        """Store a pack that this backup wrote."""
        number = next(_numbers)
        key = self.put(f"v1/packs/{backup_id}/000001-{number:08x}-0000")
        return PackReference(key=key, length=100, sha256=SHA256, live_bytes=60)

    def begin(self, age_days: float, *tiers: Tier, target: str = "shop", **fields: Any) -> Backup:
        """Record a run that begins."""
        created_at = self.now - timedelta(days=age_days)
        backup = Backup(
            id=fields.pop("id", str(ULID.from_datetime(created_at))),
            target=target,
            tiers=tiers or (Tier.DAILY,),
            status=Status.IN_PROGRESS,
            created_at=created_at,
            started_at=created_at,
            heartbeat_at=created_at,
            **fields,
        )
        self.catalog.create_backup(backup)
        return backup

    def commit(
        self,
        backup: Backup,
        packs: tuple[PackReference, ...],
        content: DatabaseContent = CONTENT,
        point: ManifestPoint | None = None,
    ) -> tuple[Manifest, Committed]:
        """Write entries and manifest."""
        key = self.put(f"{backup_prefix(backup.target, backup.id)}/entries.jsonl.zst")
        manifest = Manifest(
            backup_id=backup.id,
            target=backup.target,
            kind=TargetKind.DATABASE,
            tiers=backup.tiers,
            created_at=backup.created_at,
            completed_at=backup.created_at,
            encryption="none",
            entries=(EntriesFile(key=key, sha256=SHA256, length=100, count=0),),
            packs=tuple(sorted(packs, key=lambda pack: pack.key)),
            plaintext_bytes=1000,
            stored_bytes=100,
            rows=0,
            content=content,
            point=point,
        )
        self.vault.store.delete(manifest_key(backup.target, backup.id))  # nothing is written over another object
        committed = self.vault.commit(
            manifest, lambda made: self.catalog.announce_manifest(backup.id, made.key, made.sha256)
        )
        return manifest, committed

    def backup(
        self,
        age_days: float,
        *tiers: Tier,
        shares: Backup | None = None,
        verified: bool = True,
        target: str = "shop",
        own: int = 1,
    ) -> Backup:
        """Leave a completed backup: its own packs, and those of the backup with which it `shares`."""
        backup = self.begin(age_days, *tiers, target=target)
        packs = tuple(self.pack(backup.id) for _ in range(own)) + (self.packs_of(shares) if shares else ())
        done = self.catalog.complete_backup(completed(backup, *self.commit(backup, packs)))
        return self.catalog.keeping.mark_verified(done.id, self.now) if verified else done

    def failed(self, age_days: float, **fields: Any) -> Backup:
        """Leave a run that failed after it had stored packs and its entries."""
        backup = self.begin(age_days, **fields)
        self.pack(backup.id)
        self.put(f"{backup_prefix(backup.target, backup.id)}/entries.jsonl.zst")
        failure = Failure(code="DUMP_FAILED", message="It broke.")
        return self.catalog.fail_backup(backup.id, failure, backup.created_at)

    def packs_of(self, backup: Backup) -> tuple[PackReference, ...]:
        found = self.vault.find_manifest(backup.target, backup.id)
        assert found is not None
        return found[0].packs

    def objects(self, prefix: str = "") -> set[str]:
        return {info.key for info in self.store.list(prefix)}

    def objects_of(self, backup: Backup) -> set[str]:
        """Every object that a backup wrote."""
        return {key for key in self.objects() if f"/{backup.id}/" in key}

    def is_whole(self, backup: Backup) -> bool:
        """Whether all that a backup needs is there."""
        found = self.vault.find_manifest(backup.target, backup.id)
        return found is not None and {pack.key for pack in found[0].packs} <= self.objects("v1/packs/")

    def status(self, backup: Backup) -> Status:
        return self.catalog.get_backup(backup.id).status

    def rotate(self, **options: Any) -> RotationReport:
        common = {"secret": "s", "retention": self.retention, "journal": self.journal}
        targets = [{"name": name, **common} for name in self.targets]
        rotation_id = options.pop("id", str(ULID()))
        return rotate(
            RotateJob(
                id=rotation_id,
                catalog=self.catalog,
                vault=self.vault,
                configuration=Configuration.model_validate({"encryption": "none", "targets": targets}),
                scratch=self.scratch,
                now=lambda: self.now,
                remaining_seconds=self.remaining_seconds,
                report_died=self.died.append,
            ),
            **options,
        )


@pytest.fixture
def aws(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    for name in ("AWS_ENDPOINT_URL", "AWS_ENDPOINT_URL_DYNAMODB", "AWS_PROFILE"):
        monkeypatch.delenv(name, raising=False)
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"):
        monkeypatch.setenv(name, "testing")
    monkeypatch.setenv("AWS_DEFAULT_REGION", "eu-west-3")
    with mock_aws():
        yield


@pytest.fixture
def new_scene(aws: None, tmp_path: Path) -> Callable[[], Scene]:
    """Make another deployment, with nothing in it; the one before is gone."""
    catalog = Catalog("catalog")
    create(catalog._table)

    def make() -> Scene:
        number = next(_numbers)
        root, scratch = tmp_path / f"vault-{number}", tmp_path / f"scratch-{number}"
        root.mkdir()
        scratch.mkdir()
        # Making a client for a table of its own takes longer than a whole rotation.
        empty_table("catalog", "eu-west-3")
        return Scene(DirectoryStore(root), root, catalog, scratch)

    return make


@pytest.fixture
def scene(new_scene: Callable[[], Scene]) -> Scene:
    return new_scene()
