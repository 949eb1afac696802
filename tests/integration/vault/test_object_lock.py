"""Backups in a real store with Object Lock: what the store itself says about each object, and what it lets go."""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from botocore.exceptions import ClientError
from tests.contract.weed import OWNER, Weed
from tests.integration.capture_scene import Scene
from tests.memory_store import MemoryStore

from coffre.model.backup import Backup, Tier
from coffre.model.errors import StoreError
from coffre.model.locks import LockMode
from coffre.model.manifest import Manifest
from coffre.operations.backup_buckets import plan as storage_plan
from coffre.operations.runs import locked_backup
from coffre.operations.runs.run import Paused
from coffre.stores.s3 import S3Store
from coffre.stores.s3_client import make_client
from coffre.stores.s3_errors import Call
from coffre.vault.bucket_progress import read_progress
from coffre.vault.layout import manifest_key
from coffre.vault.locks import VaultLocks
from coffre.vault.vault import Vault

if TYPE_CHECKING:
    from mypy_boto3_s3.client import S3Client

_numbers = itertools.count(1)


@dataclass
class LockedScene(Scene):
    """Buckets in memory, and a vault in SeaweedFS with Object Lock."""

    client: S3Client | None = None
    bucket: str = ""
    tiers: tuple[Tier, ...] = (Tier.DAILY,)

    @property
    def own(self) -> S3Store:
        assert self.client is not None
        return S3Store(self.bucket, client=self.client)

    @property
    def vault(self) -> Vault:
        return Vault(self.own, VaultLocks(self.own, LockMode.COMPLIANCE, 400))

    def begin(self) -> Backup:
        return super().begin().model_copy(update={"tiers": self.tiers})

    def take(self, *tiers: Tier) -> Manifest:
        self.tiers = tiers
        return self.backup()

    def needs(self, manifest: Manifest) -> list[str]:
        key = manifest_key(manifest.target, manifest.backup_id)
        return [key, *(file.key for file in manifest.entries), *(pack.key for pack in manifest.packs)]

    def ends(self, manifest: Manifest) -> set[datetime | None]:
        states = [self.own.lock_of(key) for key in self.needs(manifest)]
        return {state.lock.until if state.lock else None for state in states}


@pytest.fixture(scope="module")
def client(weed: Weed) -> Iterator[S3Client]:
    client = make_client(region="us-east-1", endpoint_url=weed.endpoint_url, credentials=OWNER)
    yield client
    client.close()


@pytest.fixture
def scene(tmp_path: Path, client: S3Client) -> LockedScene:
    bucket = f"vault-locked-{next(_numbers)}"
    client.create_bucket(Bucket=bucket, ObjectLockEnabledForBucket=True)
    store = MemoryStore()
    for number in range(20):
        store.put("photos", f"{number:02}.jpg", b"%d " % number * 5000)
    return LockedScene(tmp_path, store, client=client, bucket=bucket)


def midnight_after(moment: datetime, **span: float) -> datetime:
    end = moment + timedelta(**span)
    day = end.replace(hour=0, minute=0, second=0, microsecond=0)
    return day if day == end else day + timedelta(days=1)


def test_a_backup_is_locked_in_the_store_and_read_back_whole(scene: LockedScene) -> None:
    manifest = scene.take(Tier.WEEKLY, Tier.DAILY)

    end = midnight_after(manifest.created_at, days=28)
    assert manifest.locked_until == end
    assert scene.ends(manifest) == {end}
    assert len(scene.bodies(manifest)) == 20


def test_what_the_next_backup_reuses_is_locked_for_longer_before_it_is_published(scene: LockedScene) -> None:
    daily = scene.take(Tier.DAILY)
    monthly = scene.take(Tier.MONTHLY)

    end = midnight_after(monthly.created_at, days=365)
    assert {pack.key for pack in daily.packs} <= {pack.key for pack in monthly.packs}
    assert scene.ends(monthly) == {end}
    assert midnight_after(daily.created_at, days=7) in scene.ends(daily)


def test_no_version_of_a_locked_backup_can_be_deleted_and_the_hidden_one_comes_to_light(scene: LockedScene) -> None:
    manifest = scene.take(Tier.DAILY)
    client = scene.client
    assert client is not None
    for key in scene.needs(manifest):
        version = client.head_object(Bucket=scene.bucket, Key=key)["VersionId"]
        with pytest.raises(ClientError, match="AccessDenied"):
            client.delete_object(Bucket=scene.bucket, Key=key, VersionId=version, BypassGovernanceRetention=True)
        marker = client.delete_object(Bucket=scene.bucket, Key=key)
        client.delete_object(Bucket=scene.bucket, Key=key, VersionId=marker["VersionId"])

    assert len(scene.bodies(manifest)) == 20


def test_a_backup_of_several_invocations_is_locked_as_a_whole(
    scene: LockedScene, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(storage_plan, "_READ_OBJECTS", 2)
    scene.tiers = (Tier.WEEKLY,)
    backup, store = scene.begin(), scene.store
    assert isinstance(store, MemoryStore)
    time_left = [900.0]
    scene.remaining = lambda: time_left[0]

    def shorten(operation: str, call: Call, number: int) -> None:
        time_left[0] = 100.0 if operation == "get" and number > 5 else time_left[0]

    store.before = shorten
    assert isinstance(scene.invoke(backup), Paused)
    store.before, time_left[0] = lambda *_: None, 900.0
    made = scene.invoke(backup, read_progress(scene.vault, "files", backup.id))

    assert not isinstance(made, Paused)
    manifest = made[0]
    assert manifest.storage.invocations == 2
    assert scene.ends(manifest) == {midnight_after(manifest.created_at, days=28)}


def test_locks_that_take_longer_than_the_time_left_are_set_by_the_next_invocation(
    scene: LockedScene, monkeypatch: pytest.MonkeyPatch
) -> None:
    scene.take(Tier.DAILY)
    monkeypatch.setattr(locked_backup, "_LOCKS_A_SECOND", 0.001)
    assert isinstance(scene.store, MemoryStore)
    scene.store.put("photos", "new.jpg", b"new")
    scene.tiers = (Tier.MONTHLY,)

    manifest = scene.backup_in_many()

    assert manifest.storage.invocations == 2
    assert len(scene.bodies(manifest)) == 21
    assert scene.ends(manifest) == {midnight_after(manifest.created_at, days=365)}


def test_a_bucket_without_object_lock_stops_the_run_before_it_stores_anything(scene: LockedScene) -> None:
    assert scene.client is not None
    scene.bucket = f"vault-plain-{next(_numbers)}"
    scene.client.create_bucket(Bucket=scene.bucket)

    with pytest.raises(StoreError) as refused:
        scene.take(Tier.DAILY)

    assert refused.value.code == "LOCKS_OFF"
    assert list(scene.own.list()) == []


def test_a_manifest_without_locks_reads_as_before(tmp_path: Path) -> None:
    store = MemoryStore()
    store.put("photos", "a.jpg", b"x")
    plain = Scene(tmp_path, store)

    made = plain.invoke(plain.begin())

    assert not isinstance(made, Paused)
    assert "lock" not in made[0].model_dump_json()
